/* remote: the generator that asks an OpenAI-compatible endpoint.
 *
 * A call waits in the queue, is sent when limiter, breaker, pause and spend allow it, and is judged
 * on the pool when its answer is there: an answer for good, or another try after a while.
 *
 *     submit -> WAITING -> SENT -> JUDGING (pool) -> ANSWERED -> poll
 *                  ^                  |
 *                  '---- BACKOFF <----'
 *
 * Calls are at least once: what timed out, or was under way when the process ended, may have been
 * answered and billed, and is asked again. An endpoint that cannot be reached at all is waited for,
 * like a broker; every other failure counts as one of attempts_max. Thread: loop, but for prepare.
 */
#ifndef WORKER_REMOTE_H
#define WORKER_REMOTE_H

#include <uv.h>

#include "pipeline/generator.h"
#include "pipeline/pool.h"
#include "schemas/base/error.h"
#include "schemas/base/records.h"
#include "worker/remote_body.h"
#include "worker/spend.h"

struct remote_options {
    uv_loop_t *loop;
    const char *name; // public; of logs and metrics
    const char *url;  // the base, "https://host/v1"
    const char *key;  // "" = none
    struct remote_body_options body;
    int concurrency_max;
    int attempts_max;
    int timeout_ms; // of one try
    int connect_timeout_ms;
    size_t answer_bytes_max;
    const char *ca_file; // "" = the system's
    const char *proxy;   // "" = none
    struct prices prices;
    double spend_daily_max; // USD, 0: none
    int calls_max;          // submitted at once
    struct pool *pool;      // borrowed until close
    struct generator_wake wake;
};

struct remote;

/* Texts are borrowed until close, but for the key, which is copied. Nothing is sent yet. */
MUST_CHECK bool remote_open(const struct remote_options *options, struct remote **remote_out,
                            struct error *error);
/* The generator inside; closing it closes the whole. */
struct generator *remote_generator(struct remote *remote);
/* Who answers, before it has said so itself; borrowed until close. */
const struct served_by *remote_served_by(const struct remote *remote);

#endif
