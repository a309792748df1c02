/* offsets: which records of one partition are unfinished, and how far the group may commit.
 *
 * Work finishes out of order. Delivered offsets grow, with gaps (transaction markers, compaction);
 * an offset that was never delivered counts as done. So one bit per offset is enough: set means
 * delivered and unfinished. All set bits lie in a window that starts at the lowest unfinished
 * offset:
 *
 *      committed already | lowest .. window .. next | not delivered yet
 *                          ^ the position to commit; `next` itself when nothing is unfinished
 *
 * The window bounds the look-ahead, and with it the size of an encoded map of what is done beyond
 * the lowest offset. Each assignment of the partition has an epoch; what finishes under another
 * epoch is ignored. Pure: no Kafka, no clock, no thread of its own.
 */
#ifndef WORKER_OFFSETS_H
#define WORKER_OFFSETS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct offsets;

enum { OFFSETS_WINDOW_MAX = 1 << 20 };

/* `window` is a power of two, 64 to OFFSETS_WINDOW_MAX. NULL when out of memory. */
struct offsets *offsets_open(size_t window);
void offsets_close(struct offsets *offsets); // accepts NULL

/* Begins an assignment: nothing is known but its epoch. */
void offsets_assign(struct offsets *offsets, uint32_t epoch);
uint32_t offsets_epoch(const struct offsets *offsets);

/* Whether `offset` fits the window beside what is unfinished. */
bool offsets_has_room(const struct offsets *offsets, int64_t offset);
/* The record at `offset` is in flight. False, and nothing changes, for an offset below one that was
 * delivered before: a record that came twice. The caller has asked offsets_has_room. */
bool offsets_deliver(struct offsets *offsets, int64_t offset);
/* The record at `offset` has its outcome. False when the epoch is over or the offset is not in
 * flight. */
bool offsets_finish(struct offsets *offsets, uint32_t epoch, int64_t offset);
/* Nothing below `position` will be delivered any more (the end of the partition, past markers). */
void offsets_advance(struct offsets *offsets, int64_t position);

/* What the group may commit: every offset below it is done. -1 before anything was delivered. */
int64_t offsets_position(const struct offsets *offsets);
/* One past the highest offset that was delivered or passed over; -1 before. */
int64_t offsets_next(const struct offsets *offsets);
size_t offsets_unfinished(const struct offsets *offsets);

#endif
