/* failure: turns the kind of an error into what happens to the record. The only place that does.
 * Thread: loop or pool, the owner of the job. */
#ifndef WORKER_FAILURE_H
#define WORKER_FAILURE_H

#include "pipeline/job.h"
#include "schemas/base/error.h"

/* What becomes of a job at attempt job->attempt that met `error`: FATE_RETRY turns into
 * FATE_DEAD_LETTER at the last attempt. */
enum error_fate failure_fate(const struct job *job, const struct error *error, int attempts_max);

/* Milliseconds before attempt + 1: exponential, bounded, spread by the job's seed. */
double failure_backoff_ms(const struct job *job);

/* Makes job->response the answer to `error`: an OpenAI error object with its HTTP status, or, for
 * what is not HTTP-like (deadline, result too large), response null and {code, message}. Without
 * memory for that the outcome becomes a dead letter. Sets job->outcome. */
void failure_answer(struct job *job, const struct error *error);

/* Makes the job a dead letter because its record was begun `attempts` times, and each time the
 * process ended with it. */
void failure_exhaust(struct job *job, int attempts);

#endif
