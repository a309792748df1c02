/* offset_map: the bytes under the base64, version 1.
 *
 *      1        version: 1
 *      1        bit 0: done offsets are a bitmap, else runs; bits 1 to 7: 0
 *      number   position, which must be the committed offset
 *      number   span
 *               bitmap: (span + 7) / 8 bytes; bit i % 8 of byte i / 8 set: position + i is done
 *               runs:   numbers that add up to span: so many not done, so many done, and so on
 *      number   suspects
 *      number   how many attempts follow, each:
 *      number       its offset's distance from the one before; the first from position
 *      1            count
 *      4        XXH32 with seed 0 of all before, little-endian
 *
 * A number is LEB128: seven bits a byte, lowest first, bit 7 set on all but the last byte. The
 * first offset is not done and the last one is, so there is an even number of runs, none of them
 * empty. The encoder takes what is shorter, runs or bitmap; so the worst case is that of the
 * bitmap.
 */
#include "worker/offset_map.h"

#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "schemas/base/check.h"

enum {
    VERSION = 1,
    FLAG_BITMAP = 1,
    CHECKSUM_BYTES = 4,
    POSITION_NUMBER_BYTES = 9, // 63 bits
    WINDOW_NUMBER_BYTES = 3,   // up to OFFSET_MAP_WINDOW_MAX
    DISTANCE_NUMBER_BYTES = 2, // less than OFFSET_MAP_WINDOW_MAX
    WORST_BYTES = 2 + POSITION_NUMBER_BYTES + 2 * WINDOW_NUMBER_BYTES + OFFSET_MAP_WINDOW_MAX / 8 +
                  1 + OFFSET_MAP_ATTEMPTS_MAX * (DISTANCE_NUMBER_BYTES + 1) + CHECKSUM_BYTES,
};
_Static_assert((int)WORST_BYTES <= (int)OFFSET_MAP_BYTES_MAX, "a full window must fit");
_Static_assert(OFFSET_MAP_TEXT_MAX <= 4096, "offset.metadata.max.bytes of a broker");
_Static_assert(OFFSET_MAP_WINDOW_MAX - 1 < 1 << 14, "a distance takes two bytes");
_Static_assert(OFFSET_MAP_ATTEMPTS_MAX < 1 << 7, "their number takes one byte");

static size_t number_bytes(uint64_t value)
{
    size_t bytes = 1;
    for (; value >= 0x80; value >>= 7) {
        bytes++;
    }
    return bytes;
}

size_t offset_map_bytes_max(uint32_t window)
{
    CHECK(window > 0 && window <= OFFSET_MAP_WINDOW_MAX);
    size_t attempts = window < OFFSET_MAP_ATTEMPTS_MAX ? window : OFFSET_MAP_ATTEMPTS_MAX;
    return 2 + POSITION_NUMBER_BYTES + 2 * number_bytes(window) + (window + 7) / 8 + 1 +
           attempts * (number_bytes(window - 1) + 1) + CHECKSUM_BYTES;
}

void offset_map_init(struct offset_map *map, int64_t position, uint32_t suspects)
{
    memset(map, 0, sizeof *map);
    map->position = position;
    map->suspects = suspects;
}

/* The first index from `from` on, at most `end`, whose bit differs from that of `from`. */
static uint32_t run_end(const struct offset_map *map, uint32_t from, uint32_t end)
{
    uint64_t same = offset_map_is_done(map, from) ? UINT64_MAX : 0;
    for (uint32_t i = from; i < end; i += 64 - i % 64) {
        uint64_t differing = (map->done[i / 64] ^ same) >> (i % 64);
        if (differing != 0) {
            uint32_t index = i + (uint32_t)__builtin_ctzll(differing);
            return index < end ? index : end;
        }
    }
    return end;
}

/* Base64 of RFC 4648, with padding. */

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

static size_t base64_encode(const uint8_t *bytes, size_t size, char *text_out)
{
    char *out = text_out;
    for (size_t i = 0; i < size; i += 3) {
        size_t left = size - i;
        uint32_t group = (uint32_t)bytes[i] << 16 | (uint32_t)(left > 1 ? bytes[i + 1] : 0) << 8 |
                         (left > 2 ? bytes[i + 2] : 0);
        *out++ = alphabet[group >> 18];
        *out++ = alphabet[group >> 12 & 63];
        *out++ = left > 1 ? alphabet[group >> 6 & 63] : '=';
        *out++ = left > 2 ? alphabet[group & 63] : '=';
    }
    *out = '\0';
    return (size_t)(out - text_out);
}

static int base64_value(char c)
{
    if (c >= 'A' && c <= 'Z') {
        return c - 'A';
    }
    if (c >= 'a' && c <= 'z') {
        return c - 'a' + 26;
    }
    if (c >= '0' && c <= '9') {
        return c - '0' + 52;
    }
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* Accepts what base64_encode writes and nothing else. `bytes_out` has room for size / 4 * 3. */
static bool base64_decode(struct bytes text, uint8_t *bytes_out, size_t *size_out)
{
    size_t padding = 0;
    while (padding < 2 && padding < text.size && text.data[text.size - 1 - padding] == '=') {
        padding++;
    }
    if (text.size == 0 || text.size % 4 != 0) {
        return false;
    }
    uint32_t group = 0;
    for (size_t i = 0; i < text.size; i++) {
        int value = i < text.size - padding ? base64_value(text.data[i]) : 0;
        if (value < 0) {
            return false;
        }
        group = group << 6 | (uint32_t)value;
        if (i % 4 == 3) {
            bytes_out[i / 4 * 3] = (uint8_t)(group >> 16);
            bytes_out[i / 4 * 3 + 1] = (uint8_t)(group >> 8);
            bytes_out[i / 4 * 3 + 2] = (uint8_t)group;
        }
    }
    *size_out = text.size / 4 * 3 - padding;
    return padding == 0 || (group & ((UINT32_C(1) << 8 * padding) - 1)) == 0;
}

/* The bytes on their way out; the worst case is known to fit. */
struct writer {
    size_t size;
    uint8_t bytes[OFFSET_MAP_BYTES_MAX];
};

static void put_byte(struct writer *writer, uint8_t byte)
{
    CHECK(writer->size < sizeof writer->bytes);
    writer->bytes[writer->size++] = byte;
}

static void put_number(struct writer *writer, uint64_t value)
{
    for (; value >= 0x80; value >>= 7) {
        put_byte(writer, (uint8_t)(value | 0x80));
    }
    put_byte(writer, (uint8_t)value);
}

static void put_bitmap(struct writer *writer, const struct offset_map *map)
{
    for (uint32_t i = 0; i < map->span; i += 8) {
        put_byte(writer, (uint8_t)(map->done[i / 64] >> (i % 64)));
    }
}

static void put_runs(struct writer *writer, const struct offset_map *map)
{
    for (uint32_t i = 0; i < map->span;) {
        uint32_t end = run_end(map, i, map->span);
        put_number(writer, end - i);
        i = end;
    }
}

/* Their bytes, counted no further than past `limit`. */
static size_t runs_bytes(const struct offset_map *map, size_t limit)
{
    size_t bytes = 0;
    for (uint32_t i = 0; i < map->span && bytes <= limit;) {
        uint32_t end = run_end(map, i, map->span);
        bytes += number_bytes(end - i);
        i = end;
    }
    return bytes;
}

static void put_attempts(struct writer *writer, const struct offset_map *map)
{
    int64_t before = map->position;
    put_number(writer, map->attempts_count);
    for (size_t i = 0; i < map->attempts_count; i++) {
        const struct offset_attempts *attempts = &map->attempts[i];
        CHECK(attempts->count > 0 && attempts->offset >= before + (i > 0 ? 1 : 0) &&
              attempts->offset < map->position + OFFSET_MAP_WINDOW_MAX);
        put_number(writer, (uint64_t)(attempts->offset - before));
        put_byte(writer, attempts->count);
        before = attempts->offset;
    }
}

static void put_checksum(struct writer *writer)
{
    uint32_t checksum = XXH32(writer->bytes, writer->size, 0);
    for (int i = 0; i < CHECKSUM_BYTES; i++) {
        put_byte(writer, (uint8_t)(checksum >> 8 * i));
    }
}

size_t offset_map_encode(const struct offset_map *map, char text_out[OFFSET_MAP_TEXT_MAX + 1])
{
    CHECK(map->position >= 0 && map->position <= OFFSET_MAP_POSITION_MAX);
    CHECK(map->span <= OFFSET_MAP_WINDOW_MAX && map->suspects <= OFFSET_MAP_WINDOW_MAX);
    CHECK(map->span == 0 ||
          (!offset_map_is_done(map, 0) && offset_map_is_done(map, map->span - 1)));
    CHECK(map->attempts_count <= OFFSET_MAP_ATTEMPTS_MAX);
    size_t bitmap_bytes = (map->span + 7) / 8;
    bool is_bitmap = bitmap_bytes < runs_bytes(map, bitmap_bytes);
    struct writer writer = {.size = 0};
    put_byte(&writer, VERSION);
    put_byte(&writer, is_bitmap ? FLAG_BITMAP : 0);
    put_number(&writer, (uint64_t)map->position);
    put_number(&writer, map->span);
    if (is_bitmap) {
        put_bitmap(&writer, map);
    } else {
        put_runs(&writer, map);
    }
    put_number(&writer, map->suspects);
    put_attempts(&writer, map);
    put_checksum(&writer);
    return base64_encode(writer.bytes, writer.size, text_out);
}

/* The bytes on their way in. */
struct reader {
    const uint8_t *at;
    const uint8_t *end;
};

static bool refuse(struct error *error, const char *what)
{
    return error_set(error, ERROR_INVALID, NULL, NULL,
                     "offset map: %s; unfinished records from the committed offset on run again",
                     what);
}

static bool take_byte(struct reader *reader, uint8_t *value_out, struct error *error)
{
    if (reader->at == reader->end) {
        return refuse(error, "it ends too early");
    }
    *value_out = *reader->at++;
    return true;
}

/* A number of at most `max`. */
static bool take_number(struct reader *reader, uint64_t max, uint64_t *value_out,
                        struct error *error)
{
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 63; shift += 7) {
        uint8_t byte = 0;
        if (!take_byte(reader, &byte, error)) {
            return false;
        }
        value |= (uint64_t)(byte & 0x7F) << shift;
        if (byte < 0x80) {
            *value_out = value;
            return value <= max || error_set(error, ERROR_INVALID, NULL, NULL,
                                             "offset map: %llu is over its limit of %llu",
                                             (unsigned long long)value, (unsigned long long)max);
        }
    }
    return refuse(error, "a number is over 63 bits");
}

static bool take_bitmap(struct reader *reader, struct offset_map *map, struct error *error)
{
    uint8_t byte = 0;
    for (uint32_t i = 0; i < map->span; i += 8) {
        if (!take_byte(reader, &byte, error)) {
            return false;
        }
        map->done[i / 64] |= (uint64_t)byte << (i % 64);
    }
    if (map->span % 8 != 0 && byte >> map->span % 8 != 0) {
        return refuse(error, "its bitmap goes on past its span");
    }
    return true;
}

static bool take_runs(struct reader *reader, struct offset_map *map, struct error *error)
{
    bool is_done = false;
    for (uint32_t i = 0; i < map->span; is_done = !is_done) {
        uint64_t length;
        if (!take_number(reader, map->span - i, &length, error)) {
            return false;
        }
        if (length == 0) {
            return refuse(error, "a run is empty");
        }
        uint32_t end = i + (uint32_t)length;
        for (; i < end; i++) {
            if (is_done) {
                offset_map_set_done(map, i);
            }
        }
    }
    return true;
}

static bool take_done(struct reader *reader, bool is_bitmap, struct offset_map *map,
                      struct error *error)
{
    uint64_t span;
    if (!take_number(reader, OFFSET_MAP_WINDOW_MAX, &span, error)) {
        return false;
    }
    map->span = (uint32_t)span;
    if (!(is_bitmap ? take_bitmap(reader, map, error) : take_runs(reader, map, error))) {
        return false;
    }
    if (span > 0 && (offset_map_is_done(map, 0) || !offset_map_is_done(map, map->span - 1))) {
        return refuse(error, "its first offset is done, or its last is not");
    }
    return true;
}

static bool take_attempts(struct reader *reader, struct offset_map *map, struct error *error)
{
    uint64_t count;
    if (!take_number(reader, OFFSET_MAP_ATTEMPTS_MAX, &count, error)) {
        return false;
    }
    uint32_t index = 0;
    for (map->attempts_count = 0; map->attempts_count < count; map->attempts_count++) {
        uint64_t distance;
        struct offset_attempts *attempts = &map->attempts[map->attempts_count];
        if (!take_number(reader, OFFSET_MAP_WINDOW_MAX - 1 - index, &distance, error) ||
            !take_byte(reader, &attempts->count, error)) {
            return false;
        }
        index += (uint32_t)distance;
        if ((distance == 0 && map->attempts_count > 0) || attempts->count == 0 ||
            offset_map_is_done(map, index)) {
            return refuse(error, "attempts of a record that has none");
        }
        attempts->offset = map->position + index;
    }
    return true;
}

/* The version, the checksum and the flags; leaves the reader at the position. */
static bool take_frame(struct reader *reader, bool *is_bitmap_out, struct error *error)
{
    uint8_t version = 0;
    uint8_t flags = 0;
    if (reader->end - reader->at < 2 + CHECKSUM_BYTES) {
        return refuse(error, "it ends too early");
    }
    reader->end -= CHECKSUM_BYTES;
    uint32_t checksum = 0;
    for (int i = 0; i < CHECKSUM_BYTES; i++) {
        checksum |= (uint32_t)reader->end[i] << 8 * i;
    }
    if (checksum != XXH32(reader->at, (size_t)(reader->end - reader->at), 0)) {
        return refuse(error, "its checksum is wrong");
    }
    if (!take_byte(reader, &version, error) || !take_byte(reader, &flags, error)) {
        return false;
    }
    if (version != VERSION || flags > FLAG_BITMAP) {
        return error_set(error, ERROR_INVALID, NULL, NULL,
                         "offset map: version %u with flags %u is not known, only version %d",
                         version, flags, VERSION);
    }
    *is_bitmap_out = flags == FLAG_BITMAP;
    return true;
}

static bool take_map(struct reader *reader, struct offset_map *map, struct error *error)
{
    bool is_bitmap = false;
    uint64_t position = 0;
    uint64_t suspects = 0;
    if (!take_frame(reader, &is_bitmap, error) ||
        !take_number(reader, OFFSET_MAP_POSITION_MAX, &position, error)) {
        return false;
    }
    if ((int64_t)position != map->position) {
        return error_set(error, ERROR_INVALID, NULL, NULL,
                         "offset map: made for offset %lld, but %lld is committed",
                         (long long)position, (long long)map->position);
    }
    if (!take_done(reader, is_bitmap, map, error) ||
        !take_number(reader, OFFSET_MAP_WINDOW_MAX, &suspects, error) ||
        !take_attempts(reader, map, error)) {
        return false;
    }
    map->suspects = (uint32_t)suspects;
    return reader->at == reader->end || refuse(error, "bytes follow its end");
}

static bool decode(struct bytes text, int64_t committed, struct offset_map *map,
                   struct error *error)
{
    if (map->position != committed) {
        return error_set(error, ERROR_INVALID, NULL, NULL,
                         "offset map: the committed offset is %lld, must be 0 to %lld",
                         (long long)committed, (long long)OFFSET_MAP_POSITION_MAX);
    }
    if (text.size == 0) {
        return true;
    }
    if (text.size > OFFSET_MAP_TEXT_MAX) {
        return error_set(error, ERROR_INVALID, NULL, NULL,
                         "offset map: %zu characters, the limit is %d", text.size,
                         OFFSET_MAP_TEXT_MAX);
    }
    uint8_t bytes[OFFSET_MAP_TEXT_MAX / 4 * 3];
    size_t size = 0;
    if (!base64_decode(text, bytes, &size)) {
        return refuse(error, "it is not base64");
    }
    struct reader reader = {bytes, bytes + size};
    return take_map(&reader, map, error);
}

bool offset_map_decode(struct bytes text, int64_t committed, struct offset_map *map_out,
                       struct error *error)
{
    int64_t position = committed < 0                         ? 0
                       : committed > OFFSET_MAP_POSITION_MAX ? OFFSET_MAP_POSITION_MAX
                                                             : committed;
    offset_map_init(map_out, position, 0);
    bool ok = decode(text, committed, map_out, error);
    if (!ok) {
        offset_map_init(map_out, position, OFFSET_MAP_WINDOW_MAX);
    }
    return ok;
}
