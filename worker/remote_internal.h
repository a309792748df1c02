/* remote_internal: what the files of remote share. remote.c moves calls, remote_judge.c looks at
 * answers, on the pool. */
#ifndef WORKER_REMOTE_INTERNAL_H
#define WORKER_REMOTE_INTERNAL_H

#include "worker/breaker.h"
#include "worker/http_client.h"
#include "worker/limiter.h"
#include "worker/remote.h"
#include "worker/remote_queue.h"

enum {
    REMOTE_NAME_BYTES_MAX = 128, // of the model and fingerprint that an answer names
    REMOTE_URL_BYTES_MAX = 2300,
};

enum remote_stage {
    REMOTE_WAITING,
    REMOTE_SENT,
    REMOTE_JUDGING, // the pool's
    REMOTE_BACKOFF,
    REMOTE_ANSWERED,
};

/* What came of one try; in the order of METRIC_REMOTE_RESULT's words. */
enum remote_result {
    RESULT_ANSWERED,  // with a status of 2xx
    RESULT_REFUSED,   // 4xx: an answer, too
    RESULT_THROTTLED, // 429
    RESULT_FAILED,    // 408, 409, 5xx, a redirect
    RESULT_BROKEN,    // not HTTP to its end, or no OpenAI response
    RESULT_TIMED_OUT,
    RESULT_UNREACHED, // nothing was asked
    RESULT_TOO_LARGE,
};

struct remote_verdict {
    enum remote_result result;
    struct error error; // why it is no answer
};

struct remote_call {
    struct task task; // for judging
    struct remote *remote;
    struct call *call;
    struct remote_queue_entry entry;
    struct remote_body body;
    struct http_exchange exchange;
    struct remote_verdict verdict;
    enum remote_stage stage;
    bool is_probe;
    bool is_cancelled; // while it was judged
    int failures;      // those that count
    int tries;
    double sent_ms; // monotonic; 0: not yet
    double retry_at_ms;
    struct remote_call *next; // in a list: of backoffs, of the answered
    char model[REMOTE_NAME_BYTES_MAX];
    char fingerprint[REMOTE_NAME_BYTES_MAX];
};

struct remote_list {
    struct remote_call *first, *last;
};

struct remote {
    struct generator generator;
    struct remote_options options;
    struct served_by served_by;
    struct http_client *client;
    struct mailbox *judged;
    char urls[ENDPOINT_EMBEDDINGS + 1][REMOTE_URL_BYTES_MAX];
    struct remote_queue waiting;
    struct remote_list backoffs; // in no order
    struct remote_list answered;
    int calls_inside;
    int in_flight;
    struct limiter limiter;
    struct breaker breaker;
    struct spend spend;
    double paused_till_ms; // the endpoint asked for it
    bool is_spent;         // it was logged
    uint64_t random;
    int label; // of metrics
    uv_timer_t timer;
    bool is_timer_open;
    char last_model[REMOTE_NAME_BYTES_MAX];
    char last_fingerprint[REMOTE_NAME_BYTES_MAX];
};

/* Thread: pool. Fills the verdict, and the call's answer where there is one. */
void remote_judge(struct remote_call *state);

#endif
