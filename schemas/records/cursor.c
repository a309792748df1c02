/* cursor: Avro's binary primitives. */
#include "schemas/records/cursor.h"

#include <string.h>

bool cursor_long(struct cursor *cursor, int64_t *value_out)
{
    uint64_t bits = 0;
    for (unsigned shift = 0; shift < 70; shift += 7) {
        if (cursor->at == cursor->end) {
            return cursor_fail(cursor, "the value ends inside a number");
        }
        unsigned char byte = *cursor->at++;
        if (shift == 63 && byte > 1) {
            break;
        }
        bits |= (uint64_t)(byte & 0x7F) << shift;
        if ((byte & 0x80) == 0) {
            *value_out = (int64_t)((bits >> 1) ^ (0 - (bits & 1)));
            return true;
        }
    }
    return cursor_fail(cursor, "a number takes more than 64 bits");
}

bool cursor_bytes(struct cursor *cursor, struct bytes *value_out)
{
    int64_t size;
    if (!cursor_long(cursor, &size)) {
        return false;
    }
    if (size < 0) {
        return cursor_fail(cursor, "a length is negative");
    }
    if ((uint64_t)size > cursor_left(cursor)) {
        return cursor_fail(cursor, "a length is greater than what is left of the value");
    }
    *value_out = (struct bytes){(const char *)cursor->at, (size_t)size};
    cursor->at += size;
    return true;
}

/* The next `size` bytes as a little-endian number. */
static bool read_bits(struct cursor *cursor, unsigned size, uint64_t *bits_out)
{
    const unsigned char *at = cursor->at;
    if (!cursor_skip(cursor, size)) {
        return false;
    }
    uint64_t bits = 0;
    for (unsigned i = 0; i < size; i++) {
        bits |= (uint64_t)at[i] << (8 * i);
    }
    *bits_out = bits;
    return true;
}

bool cursor_float(struct cursor *cursor, double *value_out)
{
    uint64_t bits;
    if (!read_bits(cursor, 4, &bits)) {
        return false;
    }
    uint32_t half = (uint32_t)bits;
    float value;
    memcpy(&value, &half, sizeof value);
    *value_out = (double)value;
    return true;
}

bool cursor_double(struct cursor *cursor, double *value_out)
{
    uint64_t bits;
    if (!read_bits(cursor, 8, &bits)) {
        return false;
    }
    memcpy(value_out, &bits, sizeof *value_out);
    return true;
}

bool cursor_boolean(struct cursor *cursor, bool *value_out)
{
    const unsigned char *at = cursor->at;
    if (!cursor_skip(cursor, 1)) {
        return false;
    }
    if (*at > 1) {
        return cursor_fail(cursor, "a boolean is neither 0 nor 1");
    }
    *value_out = *at == 1;
    return true;
}

bool cursor_block(struct cursor *cursor, size_t *count_out)
{
    int64_t count;
    int64_t size = 0;
    if (!cursor_long(cursor, &count)) {
        return false;
    }
    if (count < 0) { // then the block's size in bytes follows
        if (count == INT64_MIN || !cursor_long(cursor, &size)) {
            return cursor_fail(cursor, "an array's block has no valid length");
        }
        count = -count;
    }
    if (size < 0 || (uint64_t)size > cursor_left(cursor)) {
        return cursor_fail(cursor, "an array's block is longer than what is left of the value");
    }
    *count_out = (size_t)count;
    return cursor_charge(cursor, (size_t)count);
}
