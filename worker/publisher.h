/* publisher: takes outcomes from the loop to their readers, at least once or exactly once.
 *
 *     publisher_add -> encoded -> committer -> end.on_done
 *
 * Exactly once, what is encoded waits to share a transaction with others, together with the offsets
 * of its records (transaction.h). The next transaction is formed when the one before is over:
 *
 *     IDLE -> SENT -> committed: done
 *                  -> aborted: waits again
 *                  -> unknown: RESOLVING, reads the group's offsets -> committed or aborted
 *
 * Thread: loop, except where it says otherwise.
 */
#ifndef WORKER_PUBLISHER_H
#define WORKER_PUBLISHER_H

#include <stdbool.h>
#include <stddef.h>
#include <uv.h>

#include "pipeline/job.h"
#include "schemas/base/error.h"
#include "worker/consumer.h"
#include "worker/delivery.h"

struct publisher;

struct publisher_end {
    /* The job's way is over: its outcome is visible to readers, or never will be from here. */
    void (*on_done)(void *context, struct job *job, bool is_published);
    /* After publisher_finish: publisher_is_finished has become true. */
    void (*on_finished)(void *context);
    /* Nothing can be published any more. */
    void (*on_failure)(void *context, const struct error *error);
    void *context;
};

/* Connects, and decides what delivery.guarantee: auto means here. Blocks for half a minute at most.
 * `setting` and `consumer` are borrowed. */
MUST_CHECK bool publisher_open(uv_loop_t *loop, const struct delivery_setting *setting,
                               struct consumer *consumer, const struct publisher_end *end,
                               struct publisher **publisher_out, struct error *error);
/* Waits for what the committer has at hand, for some seconds at most, and gives the rest back as
 * not published. The loop must run on: the struct frees itself when its handles are closed. Accepts
 * NULL. */
void publisher_close(struct publisher *publisher);

/* Publishes the outcome of the job, which refers to its partition by job->end. */
void publisher_add(struct publisher *publisher, struct job *job);
/* Something has changed that may allow or ask for a commit. */
void publisher_nudge(struct publisher *publisher);
/* At least once: takes what the committer has given back, now. */
void publisher_take(struct publisher *publisher);
/* No more outcomes will come: commits what is left to commit. */
void publisher_finish(struct publisher *publisher);
/* Nothing waits for a broker any more. */
void publisher_abandon(struct publisher *publisher);

size_t publisher_count(const struct publisher *publisher); // jobs inside
/* After publisher_finish: whether everything is committed that ever will be. */
bool publisher_is_finished(const struct publisher *publisher);
/* Whether outcomes wait because no broker takes them. Thread: any. */
bool publisher_is_stuck(const struct publisher *publisher);

#endif
