/* gate: records that are in flight, and may not run yet.
 *
 * Each record asks its partition's offsets before the session sees it (offsets_begin). Mostly it
 * may run at once. After an unclean end of the partition's owner, or when a commit must say first
 * how far this one may go, it waits here, in the order of its partition, and is asked again when a
 * commit is over or another job has ended:
 *
 *     gate_add -> RUN, EXHAUSTED, STALE -> end.on_turn
 *              -> COMMIT, WAIT -> waits
 *
 * A record at its last attempt has the process to itself: it is asked when no other job is inside,
 * and nothing else is asked before it has ended.
 *
 * What waits holds its credits, so that they bound this too. Thread: loop.
 */
#ifndef WORKER_GATE_H
#define WORKER_GATE_H

#include "pipeline/job.h"
#include "worker/partition.h"

struct gate_end {
    /* The job's wait is over: it may run (OFFSETS_RUN, OFFSETS_RUN_ALONE), is given up
     * (OFFSETS_EXHAUSTED), or nobody waits for it any more (OFFSETS_STALE). */
    void (*on_turn)(void *context, struct job *job, enum offsets_turn turn);
    void *context;
};

/* A value inside the worker. */
struct gate {
    struct gate_end end;
    int attempts_max;
    size_t waiting;          // jobs here
    size_t inside;           // jobs that had their turn and have not ended
    const struct job *alone; // first of its partition, or inside: nobody else is asked
};

void gate_init(struct gate *gate, int attempts_max, const struct gate_end *end);

/* The record of the job is in flight from now on; job->end is its partition. */
void gate_add(struct gate *gate, struct job *job);
/* Asks again for what waits with the partitions, a list. Cheap where nothing waits. */
void gate_step(struct gate *gate, struct partition *partitions);
/* Gives back what waits with the partition, as OFFSETS_STALE. */
void gate_drop(struct gate *gate, struct partition *partition);
/* A job that had its turn has ended: its outcome is committed, or dropped. */
void gate_leave(struct gate *gate, const struct job *job);

#endif
