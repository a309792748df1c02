/* offsets: which records of one partition are unfinished, how far the group may commit, and which
 * records may run.
 *
 * Work finishes out of order. Delivered offsets grow, with gaps (transaction markers, compaction);
 * an offset that was never delivered counts as done. So one bit per offset is enough: set means
 * known and not done. All set bits lie in a window that starts at the lowest one:
 *
 *      committed | lowest .. delivered .. next .. known from the last owner's map .. end
 *                  ^ the position to commit; `end` itself when everything is done
 *
 * The window bounds the look-ahead, and with it the map of what is done beyond the lowest offset
 * (offset_map.h). A commit has two steps: a snapshot says what to commit if the results of the
 * records that were included go into the same transaction; then it is confirmed or undone. A record
 * that was included and undone is unfinished as before.
 *
 * An owner that ends without a word leaves suspects: what it may have begun. Its successor knows
 * them from the map, and begins them in small groups, each attempt committed first (attempts.h);
 * the others wait until all of these have begun. So that there is such a map, nothing runs before a
 * commit of this assignment has said how far its owner may go; the commits that follow anyway move
 * that along.
 *
 * Each assignment of the partition has an epoch; what comes from another epoch is refused. Pure: no
 * Kafka, no clock, no thread of its own. Thread: loop.
 */
#ifndef WORKER_OFFSETS_H
#define WORKER_OFFSETS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "worker/offset_map.h"

struct offsets;

enum { OFFSETS_WINDOW_MAX = OFFSET_MAP_WINDOW_MAX };

/* `window` is a power of two, 64 to OFFSETS_WINDOW_MAX. NULL when out of memory. */
struct offsets *offsets_open(size_t window);
void offsets_close(struct offsets *offsets); // accepts NULL

/* Begins an assignment of which nothing is known but its epoch: the group has no offset. */
void offsets_assign(struct offsets *offsets, uint32_t epoch);
/* Begins an assignment at what the group has committed. The map spans no more than the window. */
void offsets_restore(struct offsets *offsets, uint32_t epoch, const struct offset_map *map);
/* The partition ended at `log_end` when the assignment began, or a little later: no suspects lie
 * beyond. Before any record is delivered. */
void offsets_limit_suspects(struct offsets *offsets, int64_t log_end);
/* Ends the assignment: nothing of its epoch is accepted any more. */
void offsets_end(struct offsets *offsets);
uint32_t offsets_epoch(const struct offsets *offsets);
/* Whether the assignment of `epoch` goes on. To be asked before offsets go into a transaction. */
bool offsets_is_current(const struct offsets *offsets, uint32_t epoch);

/* Whether a record at `offset` can only come from another log than the one that was committed: the
 * topic was made anew. The caller begins a new assignment, or it would take all for done. */
bool offsets_precedes(const struct offsets *offsets, int64_t offset);
/* Whether `offset` fits the window beside what is unfinished. */
bool offsets_has_room(const struct offsets *offsets, int64_t offset);
/* Whether a record at `offset` came before, or is done since an earlier assignment. */
bool offsets_is_done(const struct offsets *offsets, int64_t offset);
/* The record at `offset` is in flight. False, and it must be dropped, when it came before or is
 * done since an earlier assignment. Offsets between the deliveries count as done. The caller has
 * asked offsets_has_room. */
bool offsets_deliver(struct offsets *offsets, int64_t offset);
/* Nothing below `position` will be delivered any more (the end of the partition, past markers). */
void offsets_advance(struct offsets *offsets, int64_t position);

enum offsets_turn {
    OFFSETS_RUN,       // the record may run now
    OFFSETS_RUN_ALONE, // it may run while nothing else of the process does: its last attempt
    OFFSETS_COMMIT,    // a commit must be confirmed before; ask again then
    OFFSETS_WAIT,      // others must finish before; ask again then
    OFFSETS_EXHAUSTED, // it was begun attempts_max times and ended its owner: dead letter
    OFFSETS_STALE,     // another epoch, or not in flight
};
/* Whether the engine may see the record that is in flight. Asking again is harmless. */
enum offsets_turn offsets_begin(struct offsets *offsets, uint32_t epoch, int64_t offset,
                                int attempts_max);
/* Whether offsets_begin would now count the record's last attempt. With several partitions the
 * caller asks it only when nothing else runs, and lets nothing else begin until the record has
 * ended: else another could end the process, and the attempt would be spent for nothing. */
bool offsets_wants_alone(const struct offsets *offsets, uint32_t epoch, int64_t offset,
                         int attempts_max);
/* How often the record was begun after an owner's unclean end, this time included. */
int offsets_attempts(const struct offsets *offsets, int64_t offset);

/* The record at `offset` has its outcome, published without a transaction. False when the epoch is
 * over, the offset is not in flight, or it is included in a commit. */
bool offsets_finish(struct offsets *offsets, uint32_t epoch, int64_t offset);

struct offsets_commit {
    int64_t position;
    size_t metadata_size;
    char metadata[OFFSET_MAP_TEXT_MAX + 1]; // NUL-terminated
};

/* The result of the record at `offset` goes into the next commit. False as above. No commit is
 * under way. */
bool offsets_include(struct offsets *offsets, uint32_t epoch, int64_t offset);
/* What to commit together with the results of what is included; the commit is then under way. With
 * `is_last` the assignment ends with it, in good order: nothing runs any more. False when the epoch
 * is over or no position is known yet. No commit is under way. */
MUST_CHECK bool offsets_snapshot(struct offsets *offsets, uint32_t epoch, bool is_last,
                                 struct offsets_commit *commit_out);
/* The broker has committed: what was included is done. False, and nothing changes, when the epoch
 * is over: then so are its records. */
bool offsets_confirm(struct offsets *offsets, uint32_t epoch);
/* The transaction was aborted: what was included is unfinished again. Its results can go into
 * another one. False as above. */
bool offsets_undo(struct offsets *offsets, uint32_t epoch);
/* Whether a commit would tell the broker anything new, or a record waits for one. */
bool offsets_needs_commit(const struct offsets *offsets);

/* Every offset below it is done. -1 while nothing is known. */
int64_t offsets_position(const struct offsets *offsets);
/* One past the highest offset that was delivered or passed over; -1 before. */
int64_t offsets_next(const struct offsets *offsets);
/* Delivered and without a confirmed outcome. */
size_t offsets_unfinished(const struct offsets *offsets);
/* Whether suspects are left. */
bool offsets_is_careful(const struct offsets *offsets);

#endif
