/* offset_map: what a group remembers of a partition beside its committed offset, as the text of the
 * commit's metadata: which records beyond that offset are done, which may have ended their owner,
 * and how often each of those was tried.
 *
 * The text is base64, at most OFFSET_MAP_TEXT_MAX characters whatever the map holds, because a map
 * spans at most OFFSET_MAP_WINDOW_MAX offsets: who stays within this window can always commit. Read
 * back, the text is untrusted. Pure: no Kafka, no clock, no memory of its own. Thread: any.
 */
#ifndef WORKER_OFFSET_MAP_H
#define WORKER_OFFSET_MAP_H

#include <stddef.h>
#include <stdint.h>

#include "schemas/base/bytes.h"
#include "schemas/base/error.h"

enum {
    OFFSET_MAP_WINDOW_MAX = 1 << 14, // offsets; as a bitmap 2,048 bytes
    OFFSET_MAP_ATTEMPTS_MAX = 64,    // records whose attempts are counted
    OFFSET_MAP_ATTEMPT_COUNT_MAX = 255,
    OFFSET_MAP_BYTES_MAX = 3000, // before base64; never reached: see offset_map_bytes_max
    OFFSET_MAP_TEXT_MAX = OFFSET_MAP_BYTES_MAX / 3 * 4, // brokers take 4,096 characters
};

/* The highest offset that leaves room for a window; no log comes near it. */
#define OFFSET_MAP_POSITION_MAX (INT64_MAX - OFFSET_MAP_WINDOW_MAX)

struct offset_attempts {
    int64_t offset;
    uint8_t count; // how often the record was begun and its owner not heard of again; 1 or more
};

struct offset_map {
    int64_t position;  // the committed offset, the lowest that is not done
    uint32_t span;     // done offsets lie below position + span; the last of these is one
    uint32_t suspects; // what is not done below position + suspects may have ended its owner
    size_t attempts_count;
    struct offset_attempts attempts[OFFSET_MAP_ATTEMPTS_MAX]; // ascending, none of them done
    uint64_t done[OFFSET_MAP_WINDOW_MAX / 64];                // bit i: position + i is done
};

/* What a committed offset alone says: nothing beyond it is done. */
void offset_map_init(struct offset_map *map, int64_t position, uint32_t suspects);

/* Writes the text and a NUL; returns its length. */
size_t offset_map_encode(const struct offset_map *map, char text_out[OFFSET_MAP_TEXT_MAX + 1]);
/* Reads the metadata of a commit at offset `committed`. No metadata is no error: the owner was not
 * one of ours. After a failure *map_out says what the committed offset alone says, with a whole
 * window of suspects: work is repeated, nothing is lost. A committed offset outside of 0 to
 * OFFSET_MAP_POSITION_MAX, which only a hand can have set, is a failure and becomes the nearest. */
MUST_CHECK bool offset_map_decode(struct bytes text, int64_t committed, struct offset_map *map_out,
                                  struct error *error);

static inline bool offset_map_is_done(const struct offset_map *map, uint32_t index)
{
    return (map->done[index / 64] >> (index % 64) & 1) != 0;
}
static inline void offset_map_set_done(struct offset_map *map, uint32_t index)
{
    map->done[index / 64] |= UINT64_C(1) << (index % 64);
}

/* The most bytes, before base64, that a map over `window` offsets can take. */
size_t offset_map_bytes_max(uint32_t window);

#endif
