/* worker: one running worker: Kafka in, the session, Kafka out.
 *
 *     STARTING -> RUNNING -> DRAINING -> STOPPED
 *
 * Parts start in the order codec, session, committer, consumer, subscription: models come before
 * anything that needs a broker. A drain takes no more records, drops what nobody works on, and
 * waits drain.timeout.ms for the rest, which is published and committed; what is then left stays
 * uncommitted and comes again. Thread: the loop's, except where it says otherwise.
 */
#ifndef WORKER_WORKER_H
#define WORKER_WORKER_H

#include <stdbool.h>
#include <uv.h>

#include "schemas/base/error.h"
#include "worker/config.h"
#include "worker/session.h"

struct buffer;
struct worker;

/* Connects, checks the topics, loads the models, joins the group. Blocks for as long as that takes;
 * a broker that does not answer within half a minute is an error. `config` is borrowed. */
MUST_CHECK bool worker_open(uv_loop_t *loop, const struct config *config,
                            struct worker **worker_out, struct error *error);
/* Runs the loop until the worker has stopped. False with *error when it stopped because of an
 * error. */
MUST_CHECK bool worker_run(struct worker *worker, struct error *error);
/* False when librdkafka hangs or cannot be destroyed: the process must then end by _exit. */
bool worker_close(struct worker *worker);

/* Begins to drain. Thread: any; not from a signal handler. */
void worker_stop(struct worker *worker);

/* For readiness: models loaded, group joined, results taken by a broker. Otherwise writes why.
 * Thread: any. */
bool worker_is_ready(const struct worker *worker, struct buffer *reason);

#endif
