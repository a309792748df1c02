/* fuzz_offset_map: the metadata of a commit. Input: one byte, the committed offset (8 bytes,
 * little- endian), then with an even first byte the text itself, else bytes that get a right
 * checksum. What is accepted must reach a worker's offsets and come back from them. */
#include "worker/offset_map.h"

#include "schemas/base/check.h"
#include "tests/fuzz/fuzz.h"
#include "tests/support/sealed_map.h"
#include "worker/offsets.h"

enum { HEAD_BYTES = 9, ATTEMPTS_LIMIT = 3 };

/* An assignment that delivers all that the map speaks of finishes what is not done, and no more. */
static void check_assignment(const struct offset_map *map)
{
    struct offsets *offsets = offsets_open(OFFSETS_WINDOW_MAX);
    CHECK(offsets != NULL);
    offsets_restore(offsets, 1, map);
    CHECK(offsets_position(offsets) == map->position);
    for (uint32_t i = 0; i < map->span; i++) {
        int64_t offset = map->position + i;
        CHECK(offsets_has_room(offsets, offset));
        CHECK(offsets_deliver(offsets, offset) != offset_map_is_done(map, i));
        if (!offset_map_is_done(map, i)) {
            CHECK(offsets_begin(offsets, 1, offset, ATTEMPTS_LIMIT) != OFFSETS_STALE);
            CHECK(offsets_include(offsets, 1, offset));
        }
    }
    struct offsets_commit commit;
    CHECK(offsets_snapshot(offsets, 1, false, &commit));
    CHECK(commit.position == map->position + map->span);
    CHECK(offsets_confirm(offsets, 1) && offsets_unfinished(offsets) == 0);
    offsets_close(offsets);
}

static void check_text(struct bytes text, int64_t committed)
{
    struct offset_map map;
    struct offset_map again;
    struct error error = {0};
    char written[OFFSET_MAP_TEXT_MAX + 1];
    if (!offset_map_decode(text, committed, &map, &error)) {
        CHECK(error.kind == ERROR_INVALID && map.span == 0 && map.attempts_count == 0);
        return;
    }
    size_t size = offset_map_encode(&map, written);
    CHECK(size <= 4 * (offset_map_bytes_max(OFFSET_MAP_WINDOW_MAX) + 2) / 3);
    CHECK(offset_map_decode((struct bytes){written, size}, committed, &again, &error));
    CHECK(memcmp(&map, &again, sizeof map) == 0);
    check_assignment(&map);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < HEAD_BYTES) {
        return 0;
    }
    uint64_t committed = 0;
    for (int i = 1; i < HEAD_BYTES; i++) {
        committed |= (uint64_t)data[i] << 8 * (i - 1);
    }
    committed &= INT64_MAX;
    bool is_text = data[0] % 2 == 0;
    data += HEAD_BYTES;
    size -= HEAD_BYTES;
    if (is_text) {
        check_text((struct bytes){(const char *)data, size}, (int64_t)committed);
    } else if (size <= SEALED_MAP_BYTES_MAX) {
        char text[SEALED_MAP_TEXT_MAX];
        check_text(sealed_map(data, size, text), (int64_t)committed);
    }
    return 0;
}
