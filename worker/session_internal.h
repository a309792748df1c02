/* session: what its two files share. session.c has its life and its credits, session_steps.c a
 * job's way through it. */
#ifndef WORKER_SESSION_INTERNAL_H
#define WORKER_SESSION_INTERNAL_H

#include "pipeline/generator.h"
#include "pipeline/mailbox.h"
#include "worker/answerers.h"
#include "worker/session.h"

enum job_stage {
    STAGE_FILLING,   // the end fills it in
    STAGE_PREPARING, // on the pool
    STAGE_WAITING,   // for room in the generator
    STAGE_ANSWERING, // the generator's
    STAGE_BACKOFF,   // for its next attempt
    STAGE_COMPOSING, // on the pool: its answer becomes a comparison
    STAGE_DONE,      // the end's again
};

/* Jobs that wait for room in one generator, by queue_next. */
struct session_queue {
    struct job *first, *last;
};

struct session {
    uv_loop_t *loop;
    const struct config *config; // borrowed
    struct session_end end;
    struct pool *pool;
    struct answerers answerers;
    struct scorer *scorer;    // where mode is compare
    struct mailbox *prepared; // jobs that come back from the pool
    uv_async_t wake;          // posted to by the pool and the generator
    uv_timer_t timer;         // deadlines and backoffs
    int handles_open;
    bool is_closing;

    struct job *first, *last; // all jobs, oldest first
    size_t jobs_count;
    size_t busy_count; // jobs on the pool or with the generator
    size_t credit_bytes;
    bool wants_room; // somebody was told that there is none

    struct session_queue waiting[ANSWERERS_MAX]; // STAGE_WAITING, one for each generator
    size_t timed_count;                          // jobs with a deadline or a backoff
};

/* Loop. Takes what the pool and the generator have given back and moves each job on. */
void session_step(struct session *session);
/* Loop. Sends jobs whose backoff is over on their way, and ends those whose deadline has passed. */
void session_tick(struct session *session);
/* Loop. Cancels one job; it may be the end's again when this returns. */
void session_cancel_job(struct session *session, struct job *job, bool only_waiting);

#endif
