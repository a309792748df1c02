/* availability: the time between two looks counts when both find the worker available. */
#include "worker/availability.h"

void availability_init(struct availability *availability, uint64_t now_ms)
{
    *availability = (struct availability){.seen_ms = now_ms, .moved_ms = now_ms};
}

void availability_look(struct availability *availability, uint64_t now_ms, bool is_ready,
                       bool has_work, uint64_t progress)
{
    uint64_t gap_ms = now_ms - availability->seen_ms;
    bool was_available = availability->is_available;
    availability->seen_ms = now_ms;
    if (!has_work || progress != availability->progress) {
        availability->progress = progress;
        availability->moved_ms = now_ms;
    }
    availability->is_available =
        is_ready && now_ms - availability->moved_ms <= AVAILABILITY_STALL_MS;
    availability->up_ms += gap_ms;
    if (was_available && availability->is_available && gap_ms <= AVAILABILITY_GAP_MS) {
        availability->available_ms += gap_ms;
    }
}
