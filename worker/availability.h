/* availability: for how long the worker was able to do what it is for.
 *
 * It is available while it is ready and gets on: nothing is inside, or something has come on within
 * the last AVAILABILITY_STALL_MS. Who asks it about once a second has two sums whose ratio is the
 * availability. Time in which nobody asked, because the process stood still, is not available.
 *
 * Pure: no clock of its own. Thread: the caller's, one.
 */
#ifndef WORKER_AVAILABILITY_H
#define WORKER_AVAILABILITY_H

#include <stdbool.h>
#include <stdint.h>

enum {
    AVAILABILITY_STALL_MS = 10000, // a step over a long prompt takes seconds
    AVAILABILITY_GAP_MS = 3000,    // between two looks: more than a busy loop needs
};

struct availability {
    uint64_t seen_ms; // the latest look
    bool is_available;
    uint64_t progress; // as it was then
    uint64_t moved_ms; // when it moved last, or there was nothing to do
    uint64_t up_ms;    // since the start
    uint64_t available_ms;
};

void availability_init(struct availability *availability, uint64_t now_ms);
/* One look. `progress` is any count that moves while work gets on. */
void availability_look(struct availability *availability, uint64_t now_ms, bool is_ready,
                       bool has_work, uint64_t progress);

#endif
