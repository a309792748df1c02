/* attempts: a short sorted list. */
#include "worker/attempts.h"

#include <string.h>

#include "schemas/base/check.h"

void attempts_restore(struct attempts *attempts, const struct offset_map *map)
{
    memset(attempts, 0, sizeof *attempts);
    for (size_t i = 0; i < map->attempts_count; i++) {
        attempts->items[i] = (struct attempt){.offset = map->attempts[i].offset,
                                              .count = map->attempts[i].count,
                                              .state = ATTEMPT_COUNTED};
    }
    attempts->count = map->attempts_count;
}

/* The first item whose offset is not below `offset`. */
static size_t place_of(const struct attempts *attempts, int64_t offset)
{
    size_t place = 0;
    while (place < attempts->count && attempts->items[place].offset < offset) {
        place++;
    }
    return place;
}

const struct attempt *attempts_find(const struct attempts *attempts, int64_t offset)
{
    size_t place = place_of(attempts, offset);
    bool is_there = place < attempts->count && attempts->items[place].offset == offset;
    return is_there ? &attempts->items[place] : NULL;
}

static void remove_items(struct attempts *attempts, size_t first, size_t end)
{
    memmove(&attempts->items[first], &attempts->items[end],
            (attempts->count - end) * sizeof attempts->items[0]);
    attempts->count -= end - first;
    memset(&attempts->items[attempts->count], 0, (end - first) * sizeof attempts->items[0]);
}

void attempts_drop(struct attempts *attempts, int64_t first, int64_t end)
{
    size_t place = place_of(attempts, first);
    size_t place_end = place_of(attempts, end);
    if (place < place_end) {
        remove_items(attempts, place, place_end);
    }
}

size_t attempts_running(const struct attempts *attempts)
{
    size_t running = 0;
    for (size_t i = 0; i < attempts->count; i++) {
        running += attempts->items[i].state == ATTEMPT_CONFIRMED ? 1 : 0;
    }
    return running;
}

bool attempts_has_alone(const struct attempts *attempts)
{
    for (size_t i = 0; i < attempts->count; i++) {
        if (attempts->items[i].group == 1) {
            return true;
        }
    }
    return false;
}

/* Whether a record of a group of at most `group` may begin beside those that have begun. */
static bool fits(const struct attempts *attempts, size_t group)
{
    size_t begun = 0;
    for (size_t i = 0; i < attempts->count; i++) {
        if (attempts->items[i].state != ATTEMPT_COUNTED) {
            begun++;
            group = group < attempts->items[i].group ? group : attempts->items[i].group;
        }
    }
    return begun < group;
}

/* A new item. Counted records come in order, so that what is in the way lies beyond and has not
 * begun; its count is forgotten rather than that a lower offset waits for ever. */
static void insert(struct attempts *attempts, int64_t offset)
{
    if (attempts->count == OFFSET_MAP_ATTEMPTS_MAX) {
        size_t last = attempts->count - 1;
        while (last > 0 && attempts->items[last].state != ATTEMPT_COUNTED) {
            last--;
        }
        CHECK(attempts->items[last].state == ATTEMPT_COUNTED); // groups are smaller than the list
        remove_items(attempts, last, last + 1);
    }
    size_t place = place_of(attempts, offset);
    memmove(&attempts->items[place + 1], &attempts->items[place],
            (attempts->count - place) * sizeof attempts->items[0]);
    attempts->count++;
    attempts->items[place] = (struct attempt){.offset = offset};
}

static size_t group_of(int count, int attempts_max)
{
    if (count + 1 >= attempts_max) {
        return 1;
    }
    return count == 0 ? ATTEMPTS_FIRST_GROUP : ATTEMPTS_LATER_GROUP;
}

bool attempts_wants_alone(const struct attempts *attempts, int64_t offset, int attempts_max)
{
    const struct attempt *known = attempts_find(attempts, offset);
    int count = known == NULL ? 0 : known->count;
    return (known == NULL || known->state == ATTEMPT_COUNTED) && count < attempts_max &&
           group_of(count, attempts_max) == 1 && fits(attempts, 1);
}

bool attempts_note(struct attempts *attempts, int64_t offset, int attempts_max)
{
    const struct attempt *known = attempts_find(attempts, offset);
    int count = known == NULL ? 0 : known->count;
    CHECK(count < OFFSET_MAP_ATTEMPT_COUNT_MAX);
    CHECK(known == NULL || known->state == ATTEMPT_COUNTED);
    size_t group = group_of(count, attempts_max);
    if (!fits(attempts, group)) {
        return false;
    }
    if (known == NULL) {
        insert(attempts, offset);
    }
    attempts->items[place_of(attempts, offset)] =
        (struct attempt){offset, (uint8_t)(count + 1), (uint8_t)group, ATTEMPT_NOTED};
    return true;
}

void attempts_write(const struct attempts *attempts, bool is_last, struct offset_map *map)
{
    map->attempts_count = 0;
    for (size_t i = 0; i < attempts->count; i++) {
        const struct attempt *attempt = &attempts->items[i];
        bool is_begun = attempt->state != ATTEMPT_COUNTED;
        int count = attempt->count - (is_last && is_begun ? 1 : 0);
        int64_t index = attempt->offset - map->position;
        bool has_ended =
            index < 0 || (index < map->span && offset_map_is_done(map, (uint32_t)index));
        if (count > 0 && !has_ended && index < OFFSET_MAP_WINDOW_MAX) {
            map->attempts[map->attempts_count++] =
                (struct offset_attempts){attempt->offset, (uint8_t)count};
        }
    }
}

static void change(struct attempts *attempts, uint8_t from, uint8_t into)
{
    for (size_t i = 0; i < attempts->count; i++) {
        if (attempts->items[i].state == from) {
            attempts->items[i].state = into;
        }
    }
}

void attempts_send(struct attempts *attempts)
{
    change(attempts, ATTEMPT_NOTED, ATTEMPT_SENT);
}

void attempts_confirm(struct attempts *attempts)
{
    change(attempts, ATTEMPT_SENT, ATTEMPT_CONFIRMED);
}
