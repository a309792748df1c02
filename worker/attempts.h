/* attempts: how often the records of one partition that may be poison were begun.
 *
 * After the owner of a partition ended without a word, any record that it had begun may have ended
 * it. So each is begun again only when its count is committed: if the process dies of it, the next
 * owner knows. Few run together, the fewer the more often they were tried, and the last attempt is
 * alone, so that no record is given up for another's fault.
 *
 *     counted before -> noted -> sent with a commit -> confirmed: may run
 *
 * Pure; a value inside struct offsets, bounded. Thread: loop.
 */
#ifndef WORKER_ATTEMPTS_H
#define WORKER_ATTEMPTS_H

#include "worker/offset_map.h"

enum {
    ATTEMPTS_FIRST_GROUP = 32, // records that may run together on their first counted attempt
    ATTEMPTS_LATER_GROUP = 4,  // and on later ones but the last
};

enum attempt_state {
    ATTEMPT_COUNTED, // under an earlier owner; not begun by this one
    ATTEMPT_NOTED,
    ATTEMPT_SENT,
    ATTEMPT_CONFIRMED,
};

struct attempt {
    int64_t offset;
    uint8_t count; // this attempt included
    uint8_t group; // how many may run together with it, itself included
    uint8_t state;
};

struct attempts {
    size_t count;
    struct attempt items[OFFSET_MAP_ATTEMPTS_MAX]; // ascending offsets
};

/* Begins with what a map says. */
void attempts_restore(struct attempts *attempts, const struct offset_map *map);
/* NULL when the record was not counted. Borrowed until the next change. */
const struct attempt *attempts_find(const struct attempts *attempts, int64_t offset);
/* Counts one more attempt. False when too much runs already: ask again when something has ended. */
bool attempts_note(struct attempts *attempts, int64_t offset, int attempts_max);
/* Whether attempts_note would count the record's last attempt now. */
bool attempts_wants_alone(const struct attempts *attempts, int64_t offset, int attempts_max);
/* How many records run, or may. */
size_t attempts_running(const struct attempts *attempts);
/* Whether one has begun that has to be alone. */
bool attempts_has_alone(const struct attempts *attempts);
/* The records in [first, end) have ended, or are not there any more. */
void attempts_drop(struct attempts *attempts, int64_t first, int64_t end);

/* Adds to the map what counts at or above its position. With `is_last` the owner ends in good
 * order, so what it had begun did not end it. */
void attempts_write(const struct attempts *attempts, bool is_last, struct offset_map *map);
/* A commit with what is noted is under way. */
void attempts_send(struct attempts *attempts);
/* It is confirmed. If it is not, the next commit carries what it had. */
void attempts_confirm(struct attempts *attempts);

#endif
