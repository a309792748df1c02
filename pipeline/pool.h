/* pool: a few threads for what takes longer than an event loop may wait: JSON, templates,
 * tokenizing, detokenizing, comparing.
 *
 * Tasks are embedded in what they work on (no allocation), run in the order of submission, and
 * report through a mailbox of their own. The queue is unbounded in itself: the credits taken at
 * intake bound how many tasks exist.
 */
#ifndef PIPELINE_POOL_H
#define PIPELINE_POOL_H

#include "schemas/base/error.h"

struct task {
    void (*run)(struct task *task); // on a pool thread; the task may be submitted again from inside
    struct task *next;              // the pool's while queued
};

struct pool;

MUST_CHECK bool pool_open(int threads_count, struct pool **pool_out, struct error *error);
/* Runs what is queued, then ends the threads. Accepts NULL. */
void pool_close(struct pool *pool);
/* Thread: any. `task` must not be queued already. */
void pool_submit(struct pool *pool, struct task *task);

#endif
