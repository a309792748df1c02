/* session: takes jobs in and gives outcomes back, the same for Kafka and for `batch`.
 *
 * An end (Kafka, a batch file) brings records with `session_intake` and gets each back through
 * `on_outcome`, in the order in which they finish. Credits in bytes and records are taken at
 * intake, so that nothing inside can be full; an end that finds no room waits for `on_room`.
 *
 *     end: job_open, fill source..request          -> session_intake
 *     session: prepare (pool), answer (generator), compose (pool)
 *     end: on_outcome(job): publish or write, commit -> session_release (closes the job)
 *
 * Thread: loop, all of it.
 */
#ifndef WORKER_SESSION_H
#define WORKER_SESSION_H

#include <stdbool.h>
#include <stddef.h>
#include <uv.h>

#include "pipeline/engine/engine.h"
#include "pipeline/job.h"
#include "pipeline/route/route.h"
#include "schemas/base/error.h"
#include "worker/config.h"

struct session;

struct session_end {
    /* The job has its outcome; it is the end's until session_release. */
    void (*on_outcome)(void *context, struct job *job);
    /* There is room again after session_has_room was false. */
    void (*on_room)(void *context);
    /* The session can go on no longer (ERROR_FATAL): the process must stop without committing. */
    void (*on_fatal)(void *context, const struct error *error);
    void *context;
};

/* Opens models, engine, pool and routes as `config` (borrowed) says. Takes seconds. */
MUST_CHECK bool session_open(uv_loop_t *loop, const struct config *config,
                             const struct session_end *end, struct session **session_out,
                             struct error *error);
/* Cancels and waits for what is inside; the loop must still run callbacks. Accepts NULL. */
void session_close(struct session *session);

/* What a record of value_bytes takes of intake.bytes.max. */
size_t session_credit(size_t value_bytes);
/* Whether a record of value_bytes may come in now. */
bool session_has_room(struct session *session, size_t value_bytes);
/* A job with room for a record of value_bytes: copies nothing, takes the credits. NULL: out of
 * memory. The caller fills it and gives it to session_intake, or ends it with session_release. */
struct job *session_job(struct session *session, size_t value_bytes);
/* A job whose error is set already (its record is invalid) is answered with it. */
void session_intake(struct session *session, struct job *job);
/* Ends a job whose outcome is committed, written or dropped; gives its credits back. */
void session_release(struct session *session, struct job *job);

/* Cancels the jobs for which `matches` is true; they come out as OUTCOME_DROPPED. With
 * `only_waiting` those that a generator already works on go on. */
void session_cancel(struct session *session, bool (*matches)(const struct job *job, void *context),
                    void *context, bool only_waiting);

size_t session_jobs(const struct session *session);  // inside or not yet released
size_t session_bytes(const struct session *session); // credits that they hold
/* False where the generator is not the local engine. */
bool session_engine_stats(const struct session *session, struct engine_stats *stats_out);

#endif
