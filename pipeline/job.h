/* job: one record on its way from intake to outcome, with the calls that it needs.
 *
 * A job lives in one bounded arena that it owns, and has exactly one owning thread at a time: the
 * loop while it rests, a pool thread while it is prepared or composed, the generator while it is
 * answered. Mailboxes move the pointer and with it the ownership. The loop closes a job after its
 * outcome is committed, or when its partition is gone.
 *
 *     intake -> PREPARING (pool) -> ANSWERING (generator) -> COMPOSING (pool) -> DONE (loop)
 */
#ifndef PIPELINE_JOB_H
#define PIPELINE_JOB_H

#include <stdatomic.h>
#include <stdint.h>

#include "pipeline/openai/request.h"
#include "pipeline/pool.h"
#include "schemas/base/arena.h"
#include "schemas/base/error.h"
#include "schemas/base/records.h"

struct route;
struct job;

/* What a generator gave for one call. */
struct call_answer {
    struct error error; // ERROR_NONE: body is an OpenAI response; otherwise why there is none
    int status_code;    // of body
    struct bytes body;  // [job's arena] an OpenAI response or error object
    struct usage usage;
    struct timing timing;
    const struct served_by *served_by; // [job's arena] NULL: as the route has it
    struct names changed;              // request parameters, [job's arena]
    struct names dropped;
    int retries; // of the generator itself, after its first try
    bool has_cost_usd;
    double cost_usd;
};

/* One validated OpenAI request to one generator. */
struct call {
    struct job *job;
    struct openai_request request; // parsed; memory in the job's arena
    struct bytes body;             // the untouched bytes, borrowed from the job
    const struct route *route;     // who answers, under which public name
    void *state;                   // the generator's own, [job's arena]
    double submitted_ms;           // monotonic
    struct call_answer answer;
};

enum job_outcome {
    OUTCOME_NONE,
    OUTCOME_RESPONSE,    // job->response is whole
    OUTCOME_COMPARISON,  // job->comparison is whole
    OUTCOME_DEAD_LETTER, // job->error says why; the value goes out byte-identical
    OUTCOME_DROPPED,     // cancelled: nothing is published, nothing committed
};

struct job {
    struct arena *arena; // owns this struct too
    size_t credit_bytes; // taken from the session at intake

    // The record as it came; memory in the arena.
    struct source source;
    struct bytes id; // derived from source, so that each execution says the same
    uint64_t seed;   // likewise, for requests without one
    uint32_t epoch;  // assignment of source.partition under which it came
    int64_t timestamp_ms;
    struct bytes key;   // .data NULL: no key
    struct bytes value; // as received
    struct headers headers;
    struct inference_request request;

    struct call *calls; // [calls_count]
    int calls_count;
    struct names dropped; // parameters that were left out before a generator saw the request
    int attempt;          // 1 at first
    double received_ms;   // monotonic
    _Atomic bool is_cancelled;

    enum job_outcome outcome;
    struct error error;
    struct inference_response response;
    struct comparison comparison; // with `response` as the candidate's answer

    // Session's own.
    struct task task;
    struct job *previous, *next; // among the jobs of the session
    struct job *queue_next;      // among those that wait: for their turn, then for the generator
    int stage;
    bool has_expired;   // its deadline passed while it was inside
    double retry_at_ms; // monotonic, while it waits for its next attempt
    void *session;
    void *end; // for the end (Kafka, batch) that brought the job
};

/* NULL when out of memory. `bytes_max` bounds the arena. */
struct job *job_open(size_t bytes_max);
void job_close(struct job *job); // accepts NULL

#endif
