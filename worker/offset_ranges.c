/* offset_ranges: a sorted array. */
#include "worker/offset_ranges.h"

#include <stdlib.h>
#include <string.h>

enum { CAPACITY_FIRST = 16 };

void offset_ranges_close(struct offset_ranges *ranges)
{
    free(ranges->items);
    *ranges = (struct offset_ranges){0};
}

/* The first range that ends at `offset` or beyond. */
static size_t find(const struct offset_ranges *ranges, int64_t offset)
{
    size_t low = 0;
    size_t high = ranges->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (ranges->items[middle].end < offset) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

bool offset_ranges_has(const struct offset_ranges *ranges, int64_t offset)
{
    size_t i = find(ranges, offset + 1);
    return i < ranges->count && ranges->items[i].first <= offset;
}

static bool grow(struct offset_ranges *ranges, struct error *error)
{
    if (ranges->count >= OFFSET_RANGES_MAX) {
        return error_set(error, ERROR_TOO_LARGE, NULL, NULL,
                         "the offsets are in more than %d ranges", OFFSET_RANGES_MAX);
    }
    if (ranges->count < ranges->capacity) {
        return true;
    }
    size_t capacity = ranges->capacity == 0 ? CAPACITY_FIRST : ranges->capacity * 2;
    struct offset_range *items = realloc(ranges->items, capacity * sizeof items[0]);
    if (items == NULL) {
        return error_set(error, ERROR_FATAL, NULL, NULL, "out of memory for offsets");
    }
    ranges->items = items;
    ranges->capacity = capacity;
    return true;
}

static void remove_from(struct offset_ranges *ranges, size_t index, size_t count)
{
    size_t behind = ranges->count - index - count;
    if (behind > 0) {
        memmove(&ranges->items[index], &ranges->items[index + count],
                behind * sizeof ranges->items[0]);
    }
    ranges->count -= count;
}

bool offset_ranges_add(struct offset_ranges *ranges, int64_t first, int64_t end,
                       struct error *error)
{
    size_t index = find(ranges, first);
    size_t last = index; // behind the ranges that touch the new one
    while (last < ranges->count && ranges->items[last].first <= end) {
        first = ranges->items[last].first < first ? ranges->items[last].first : first;
        end = ranges->items[last].end > end ? ranges->items[last].end : end;
        last++;
    }
    if (last > index) {
        ranges->items[index] = (struct offset_range){first, end};
        remove_from(ranges, index + 1, last - index - 1);
        return true;
    }
    if (!grow(ranges, error)) {
        return false;
    }
    if (ranges->count > index) {
        memmove(&ranges->items[index + 1], &ranges->items[index],
                (ranges->count - index) * sizeof ranges->items[0]);
    }
    ranges->items[index] = (struct offset_range){first, end};
    ranges->count++;
    return true;
}

void offset_ranges_prune(struct offset_ranges *ranges, int64_t offset)
{
    size_t gone = 0;
    while (gone < ranges->count && ranges->items[gone].end <= offset) {
        gone++;
    }
    remove_from(ranges, 0, gone);
    if (ranges->count > 0 && ranges->items[0].first < offset) {
        ranges->items[0].first = offset;
    }
}

json_t *offset_ranges_json(const struct offset_ranges *ranges)
{
    json_t *array = json_array();
    for (size_t i = 0; i < ranges->count; i++) {
        (void)json_array_append_new(array, json_pack("[I, I]", (json_int_t)ranges->items[i].first,
                                                     (json_int_t)ranges->items[i].end));
    }
    return array;
}

bool offset_ranges_parse(struct offset_ranges *ranges, const json_t *value, struct error *error)
{
    bool ok = json_is_array(value) && json_array_size(value) <= OFFSET_RANGES_MAX;
    for (size_t i = 0; ok && i < json_array_size(value); i++) {
        const json_t *pair = json_array_get(value, i);
        json_int_t first = json_integer_value(json_array_get(pair, 0));
        json_int_t end = json_integer_value(json_array_get(pair, 1));
        ok = json_array_size(pair) == 2 && first >= 0 && end > first;
        if (ok && !offset_ranges_add(ranges, first, end, error)) {
            return false;
        }
    }
    return ok || error_set(error, ERROR_INVALID, NULL, NULL, "no ranges of offsets");
}
