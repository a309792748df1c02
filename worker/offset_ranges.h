/* offset_ranges: a set of offsets of one partition, as ranges. It grows up to a bound, and becomes
 * JSON: [[first, end], ...], ascending, ends excluded. Thread: one at a time. */
#ifndef WORKER_OFFSET_RANGES_H
#define WORKER_OFFSET_RANGES_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "schemas/base/error.h"

/* So many ranges are below a megabyte of JSON with any offsets. */
enum { OFFSET_RANGES_MAX = 20000 };

struct offset_range {
    int64_t first, end;
};

/* Zeroed: empty. */
struct offset_ranges {
    struct offset_range *items; // ascending, with gaps between them
    size_t count;
    size_t capacity;
};

void offset_ranges_close(struct offset_ranges *ranges);

bool offset_ranges_has(const struct offset_ranges *ranges, int64_t offset);
/* Adds [first, end), of which some may be there. False with *error when there are too many. */
MUST_CHECK bool offset_ranges_add(struct offset_ranges *ranges, int64_t first, int64_t end,
                                  struct error *error);
/* Forgets what is below an offset. */
void offset_ranges_prune(struct offset_ranges *ranges, int64_t offset);

/* NULL when out of memory. */
json_t *offset_ranges_json(const struct offset_ranges *ranges);
/* Adds what an untrusted value says. */
MUST_CHECK bool offset_ranges_parse(struct offset_ranges *ranges, const json_t *value,
                                    struct error *error);

#endif
