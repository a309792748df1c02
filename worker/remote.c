/* remote: the queue, the sending, and what follows from a verdict. */
#include "worker/remote.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pipeline/clock.h"
#include "pipeline/mailbox.h"
#include "schemas/base/check.h"
#include "worker/backoff.h"
#include "worker/log.h"
#include "worker/metrics.h"
#include "worker/remote_internal.h"

enum { TAKE_MAX = 64, WAIT_MAX_MS = 3600000 };

static struct remote *remote_of(struct generator *generator)
{
    return (struct remote *)generator;
}

/* splitmix64: enough to spread retries. */
static uint64_t next_random(struct remote *remote)
{
    remote->random += UINT64_C(0x9E3779B97F4A7C15);
    uint64_t mixed = remote->random;
    mixed = (mixed ^ (mixed >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    mixed = (mixed ^ (mixed >> 27)) * UINT64_C(0x94D049BB133111EB);
    return mixed ^ (mixed >> 31);
}

static double next_spread(struct remote *remote)
{
    return (double)(next_random(remote) % 1024) / 1024;
}

static void append(struct remote_list *list, struct remote_call *state)
{
    state->next = NULL;
    *(list->last == NULL ? &list->first : &list->last->next) = state;
    list->last = state;
}

static void take_out(struct remote_list *list, const struct remote_call *state)
{
    struct remote_call *before = NULL;
    for (struct remote_call *at = list->first; at != state; at = at->next) {
        CHECK(at != NULL);
        before = at;
    }
    *(before == NULL ? &list->first : &before->next) = state->next;
    if (list->last == state) {
        list->last = before;
    }
}

/* Its answer or error is set: poll gives it out. */
static void end_call(struct remote *remote, struct remote_call *state)
{
    state->stage = REMOTE_ANSWERED;
    state->call->answer.retries = state->tries > 1 ? state->tries - 1 : 0;
    append(&remote->answered, state);
    remote->options.wake.on_wake(remote->options.wake.context);
}

static void end_cancelled(struct remote *remote, struct remote_call *state)
{
    state->call->answer.error = (struct error){0};
    error_set(&state->call->answer.error, ERROR_CANCELLED, "cancelled", NULL,
              "the request was cancelled");
    end_call(remote, state);
}

/* Breaker, pause, spend and limiter. In HALF_OPEN only the probe is let through. */
static bool may_send(struct remote *remote, double now_ms)
{
    if (remote->in_flight >= limiter_limit(&remote->limiter) || now_ms < remote->paused_till_ms) {
        return false;
    }
    int64_t wait_ms = spend_wait_ms(&remote->spend, clock_unix_ms());
    if (wait_ms > 0 && !remote->is_spent) {
        log_event(LOG_WARN, "endpoint_spend_cap_reached", "model=%s usd=%.4f wait_ms=%lld",
                  remote->options.name, remote->spend.day_usd, (long long)wait_ms);
    }
    remote->is_spent = wait_ms > 0;
    return wait_ms == 0 && breaker_admits(&remote->breaker, now_ms);
}

static void on_sent(void *context)
{
    struct remote_call *state = context;
    struct remote *remote = state->remote;
    remote->in_flight--;
    state->stage = REMOTE_JUDGING;
    pool_submit(remote->options.pool, &state->task);
}

static void run_judge(struct task *task)
{
    struct remote_call *state = (struct remote_call *)task; // its first member
    remote_judge(state);
    CHECK(mailbox_post(state->remote->judged, state));
}

static void send_call(struct remote *remote, struct remote_call *state, double now_ms)
{
    state->stage = REMOTE_SENT;
    state->is_probe = remote->breaker.state == BREAKER_HALF_OPEN;
    state->sent_ms = now_ms;
    metrics_add(METRIC_REMOTE_REQUESTS, remote->label, 1);
    metrics_add(METRIC_REMOTE_RETRIES, remote->label, state->tries > 0 ? 1 : 0);
    state->tries++;
    state->exchange.url = remote->urls[state->call->request.endpoint];
    state->exchange.body = state->body.bytes;
    state->exchange.on_done = on_sent;
    state->exchange.context = state;
    if (http_client_start(remote->client, &state->exchange)) {
        remote->in_flight++;
        return;
    }
    http_exchange_close(&state->exchange);
    if (state->is_probe) {
        breaker_withdraw(&remote->breaker, now_ms);
    }
    error_set(&state->call->answer.error, ERROR_INTERNAL, "out_of_memory", NULL,
              "no memory to ask the endpoint");
    end_call(remote, state);
}

static void return_from_backoff(struct remote *remote, double now_ms)
{
    for (struct remote_call *state = remote->backoffs.first, *next; state != NULL; state = next) {
        next = state->next;
        if (now_ms >= state->retry_at_ms) {
            take_out(&remote->backoffs, state);
            state->stage = REMOTE_WAITING;
            remote_queue_add(&remote->waiting, &state->entry);
        }
    }
}

static void show(const struct remote *remote)
{
    metrics_set(METRIC_REMOTE_IN_FLIGHT, remote->label, remote->in_flight);
    metrics_set(METRIC_REMOTE_WAITING, remote->label, remote->calls_inside - remote->in_flight);
    metrics_set(METRIC_REMOTE_LIMIT, remote->label, limiter_limit(&remote->limiter));
    metrics_set(METRIC_REMOTE_BREAKER, remote->label, (double)remote->breaker.state);
}

static void on_timer(uv_timer_t *handle);

/* For what time alone brings; answers come by themselves. */
static void set_timer(struct remote *remote, double now_ms)
{
    double wait_ms = INFINITY;
    for (const struct remote_call *at = remote->backoffs.first; at != NULL; at = at->next) {
        wait_ms = fmin(wait_ms, at->retry_at_ms - now_ms);
    }
    if (remote->waiting.count > 0) {
        double open_ms =
            remote->breaker.state == BREAKER_OPEN ? remote->breaker.open_till_ms - now_ms : 0;
        double free_ms = fmax(open_ms, remote->paused_till_ms - now_ms);
        free_ms = fmax(free_ms, (double)spend_wait_ms(&remote->spend, clock_unix_ms()));
        wait_ms = free_ms > 0 ? fmin(wait_ms, free_ms) : wait_ms;
    }
    if (isinf(wait_ms)) {
        CHECK(uv_timer_stop(&remote->timer) == 0);
        return;
    }
    uv_update_time(remote->options.loop);
    CHECK(uv_timer_start(&remote->timer, on_timer,
                         (uint64_t)fmin(fmax(ceil(wait_ms), 1), WAIT_MAX_MS), 0) == 0);
}

/* Sends what may be sent. */
static void pump(struct remote *remote)
{
    double now_ms = clock_monotonic_ms();
    return_from_backoff(remote, now_ms);
    while (remote->waiting.count > 0 && may_send(remote, now_ms)) {
        struct remote_queue_entry *entry = remote_queue_take(&remote->waiting);
        send_call(remote,
                  (struct remote_call *)((char *)entry - offsetof(struct remote_call, entry)),
                  now_ms);
    }
    set_timer(remote, now_ms);
    show(remote);
}

static void on_timer(uv_timer_t *handle)
{
    pump(handle->data);
}

static bool prepare_call(struct generator *generator, struct call *call, struct error *error)
{
    struct remote *remote = remote_of(generator);
    const struct job *job = call->job;
    struct remote_call *state = arena_alloc(job->arena, sizeof *state);
    if (state == NULL) {
        return error_set(error, ERROR_TOO_LARGE, "request_too_large", NULL,
                         "the request needs more memory than one record may have");
    }
    state->task.run = run_judge;
    state->remote = remote;
    state->call = call;
    call->state = state;
    if (!remote_body_make(call->body, call->request.endpoint, &remote->options.body, job->arena,
                          &state->body, error)) {
        return false;
    }
    state->entry = (struct remote_queue_entry){
        .prompt = state->body.prompt,
        .priority = job->request.priority,
        .has_deadline = job->request.has_deadline_ms,
        .arrived_ms = job->received_ms,
    };
    call->answer.changed = state->body.changed;
    call->answer.dropped = state->body.dropped;
    return true;
}

static bool submit_call(struct generator *generator, struct call *call)
{
    struct remote *remote = remote_of(generator);
    if (remote->calls_inside == remote->options.calls_max) {
        return false;
    }
    struct remote_call *state = call->state;
    remote->calls_inside++;
    state->stage = REMOTE_WAITING;
    remote_queue_add(&remote->waiting, &state->entry);
    pump(remote);
    return true;
}

static void cancel_sent(struct remote *remote, struct remote_call *state)
{
    http_client_cancel(&state->exchange);
    http_exchange_close(&state->exchange);
    remote->in_flight--;
    if (state->is_probe) {
        breaker_withdraw(&remote->breaker, clock_monotonic_ms());
    }
    end_cancelled(remote, state);
}

static void cancel_call(struct generator *generator, struct call *call, bool only_waiting)
{
    struct remote *remote = remote_of(generator);
    struct remote_call *state = call->state;
    switch (state->stage) {
    case REMOTE_WAITING:
        remote_queue_remove(&remote->waiting, &state->entry);
        end_cancelled(remote, state);
        break;
    case REMOTE_BACKOFF:
        take_out(&remote->backoffs, state);
        end_cancelled(remote, state);
        break;
    case REMOTE_SENT:
        if (!only_waiting) {
            cancel_sent(remote, state);
        }
        break;
    case REMOTE_JUDGING:
        state->is_cancelled = true; // an answer that is there counts
        break;
    case REMOTE_ANSWERED:
        break;
    }
    pump(remote);
}

static void observe_verdict(struct remote *remote, const struct remote_call *state)
{
    const struct remote_verdict *verdict = &state->verdict;
    metrics_add(METRIC_REMOTE_RESULTS, (int)verdict->result, 1);
    if (verdict->result == RESULT_ANSWERED) {
        metrics_observe(METRIC_REMOTE_LATENCY, remote->label,
                        state->call->answer.timing.decode_ms / 1000 +
                            state->call->answer.timing.prefill_ms / 1000);
    } else if (verdict->result != RESULT_REFUSED) {
        log_event(LOG_WARN, "endpoint_failed", "model=%s tries=%d reason=%s", remote->options.name,
                  state->tries, verdict->error.message);
    }
}

static void note_identity(struct remote *remote, const char *what, char *last, const char *now)
{
    if (now[0] == '\0' || strcmp(last, now) == 0) {
        return;
    }
    if (last[0] != '\0') {
        log_event(LOG_WARN, "endpoint_changed", "model=%s what=%s from=%s to=%s",
                  remote->options.name, what, last, now);
        metrics_add(METRIC_REMOTE_CHANGES, remote->label, 1);
    }
    (void)snprintf(last, REMOTE_NAME_BYTES_MAX, "%s", now);
}

static void take_answer(struct remote *remote, struct remote_call *state)
{
    struct call_answer *answer = &state->call->answer;
    note_identity(remote, "model", remote->last_model, state->model);
    note_identity(remote, "fingerprint", remote->last_fingerprint, state->fingerprint);
    if (answer->has_cost_usd) {
        spend_add(&remote->spend, answer->cost_usd, clock_unix_ms());
        metrics_set(METRIC_REMOTE_SPEND, remote->label, remote->spend.total_usd);
    }
    if (answer->status_code == 401 || answer->status_code == 403) {
        log_event(LOG_ERROR, "endpoint_refuses_key", "model=%s status=%d", remote->options.name,
                  answer->status_code);
    }
    end_call(remote, state);
}

/* Limiter, breaker and pause learn from each try. */
static void learn(struct remote *remote, const struct remote_call *state, double now_ms)
{
    enum remote_result result = state->verdict.result;
    enum breaker_state before = remote->breaker.state;
    bool is_success = result == RESULT_ANSWERED || result == RESULT_REFUSED;
    if (is_success) {
        limiter_succeed(&remote->limiter, remote->in_flight + 1);
        breaker_succeed(&remote->breaker);
    } else if (result == RESULT_TIMED_OUT || result == RESULT_THROTTLED ||
               state->exchange.status == 503) {
        limiter_complain(&remote->limiter, state->sent_ms, now_ms);
    }
    // An endpoint that throttles is up, and one answer too large is no sign of anything.
    bool is_neutral = result == RESULT_THROTTLED || result == RESULT_TOO_LARGE;
    if (is_neutral && state->is_probe) {
        breaker_succeed(&remote->breaker);
    } else if (!is_success && !is_neutral &&
               (state->is_probe || remote->breaker.state == BREAKER_CLOSED)) {
        breaker_fail(&remote->breaker, now_ms, next_spread(remote));
    }
    double asked_ms = backoff_asked_ms(&state->exchange.limits, clock_unix_ms());
    if (state->exchange.status != 0 && asked_ms > 0) {
        remote->paused_till_ms = fmax(remote->paused_till_ms, now_ms + asked_ms);
    }
    if ((before == BREAKER_CLOSED) != (remote->breaker.state == BREAKER_CLOSED)) {
        log_event(LOG_WARN, before == BREAKER_CLOSED ? "endpoint_down" : "endpoint_up",
                  "model=%s url=%s", remote->options.name, remote->options.url);
    }
}

/* The call is tried again, or ends with its error. */
static void retry_or_end(struct remote *remote, struct remote_call *state, double now_ms)
{
    const struct error *error = &state->verdict.error;
    const struct inference_request *request = &state->call->job->request;
    state->failures += state->verdict.result == RESULT_UNREACHED ? 0 : 1;
    double wait_ms = backoff_ms(state->failures, next_random(remote));
    wait_ms = fmax(wait_ms, remote->paused_till_ms - now_ms);
    struct error *out = &state->call->answer.error;
    if (error->kind == ERROR_INTERNAL || state->verdict.result == RESULT_TOO_LARGE) {
        *out = *error; // not the endpoint's fault, or the same each time
    } else if (state->failures >= remote->options.attempts_max) {
        *out = *error;
        (void)error_prefix(out, "endpoint %s, try %d of %d", remote->options.name, state->failures,
                           remote->options.attempts_max);
    } else if (request->has_deadline_ms &&
               (double)clock_unix_ms() + wait_ms >= (double)request->deadline_ms) {
        error_set(out, ERROR_DEADLINE, "deadline_exceeded", "deadline_ms",
                  "the deadline %lld (Unix ms) comes before endpoint %s may be asked again: %.200s",
                  (long long)request->deadline_ms, remote->options.name, error->message);
    } else {
        state->stage = REMOTE_BACKOFF;
        state->retry_at_ms = now_ms + wait_ms;
        append(&remote->backoffs, state);
        return;
    }
    end_call(remote, state);
}

static void take_judged(struct remote *remote, struct remote_call *state)
{
    double now_ms = clock_monotonic_ms();
    observe_verdict(remote, state);
    learn(remote, state, now_ms);
    if (state->verdict.result == RESULT_ANSWERED || state->verdict.result == RESULT_REFUSED) {
        take_answer(remote, state);
    } else if (state->is_cancelled) {
        end_cancelled(remote, state);
    } else {
        retry_or_end(remote, state, now_ms);
    }
}

static size_t poll_calls(struct generator *generator, struct call **calls_out, size_t calls_max)
{
    struct remote *remote = remote_of(generator);
    void *items[TAKE_MAX];
    size_t judged = mailbox_take(remote->judged, items, TAKE_MAX);
    for (size_t i = 0; i < judged; i++) {
        take_judged(remote, items[i]);
    }
    size_t count = 0;
    while (count < calls_max && remote->answered.first != NULL) {
        struct remote_call *state = remote->answered.first;
        take_out(&remote->answered, state);
        calls_out[count++] = state->call;
        remote->calls_inside--;
    }
    if (judged > 0 || count > 0) {
        pump(remote);
    }
    if (judged == TAKE_MAX) {
        remote->options.wake.on_wake(remote->options.wake.context); // there may be more
    }
    return count;
}

static void on_timer_closed(uv_handle_t *handle)
{
    ((struct remote *)handle->data)->is_timer_open = false;
}

static void close_remote(struct generator *generator)
{
    struct remote *remote = remote_of(generator);
    CHECK(remote->calls_inside == 0);
    http_client_close(remote->client);
    uv_close((uv_handle_t *)&remote->timer, on_timer_closed);
    while (remote->is_timer_open) {
        (void)uv_run(remote->options.loop, UV_RUN_ONCE);
    }
    remote_queue_close(&remote->waiting);
    mailbox_close(remote->judged);
    free(remote);
}

static const struct generator_ops remote_ops = {
    .prepare = prepare_call,
    .submit = submit_call,
    .cancel = cancel_call,
    .poll = poll_calls,
    .close = close_remote,
};

/* "https://host/v1" + "/chat/completions". */
static void set_urls(struct remote *remote)
{
    enum { PREFIX = sizeof "/v1" - 1 };
    int size = (int)strlen(remote->options.url);
    while (size > 0 && remote->options.url[size - 1] == '/') {
        size--;
    }
    for (int i = ENDPOINT_NONE + 1; i <= (int)ENDPOINT_EMBEDDINGS; i++) {
        (void)snprintf(remote->urls[i], sizeof remote->urls[i], "%.*s%s", size, remote->options.url,
                       openai_endpoint_traits((enum openai_endpoint)i)->url + PREFIX);
    }
}

static bool open_client(struct remote *remote, struct error *error)
{
    const struct remote_options *options = &remote->options;
    struct http_client_options client = {
        .connections_max = options->concurrency_max,
        .ca_file = options->ca_file,
        .proxy = options->proxy,
        .key = options->key,
        .connect_timeout_ms = options->connect_timeout_ms,
        .timeout_ms = options->timeout_ms,
        .body_bytes_max = options->answer_bytes_max,
    };
    return http_client_open(options->loop, &client, &remote->client, error);
}

bool remote_open(const struct remote_options *options, struct remote **remote_out,
                 struct error *error)
{
    struct remote *remote = calloc(1, sizeof *remote);
    if (remote == NULL) {
        return error_set(error, ERROR_FATAL, NULL, NULL, "out of memory for an endpoint");
    }
    remote->generator = (struct generator){.ops = &remote_ops, .takes_any_body = true};
    remote->options = *options;
    remote->served_by = (struct served_by){
        .kind = bytes_of("remote"),
        .endpoint = bytes_of(options->url),
        .model = bytes_of(options->body.model),
        .version = bytes_of(MILLRACE_VERSION),
    };
    CHECK(uv_timer_init(options->loop, &remote->timer) == 0);
    remote->timer.data = remote;
    remote->is_timer_open = true;
    limiter_init(&remote->limiter, options->concurrency_max);
    breaker_init(&remote->breaker);
    spend_init(&remote->spend, options->spend_daily_max);
    set_urls(remote);
    remote->random = (uint64_t)clock_unix_ms();
    remote->label = metrics_model(options->name);
    remote->judged =
        mailbox_open((size_t)options->calls_max, options->wake.on_wake, options->wake.context);
    bool has_memory =
        remote_queue_open(&remote->waiting, options->calls_max) && remote->judged != NULL;
    if (!has_memory) {
        error_set(error, ERROR_FATAL, NULL, NULL, "out of memory for an endpoint");
    }
    if (!has_memory || !open_client(remote, error)) {
        close_remote(&remote->generator);
        return false;
    }
    remote->options.key = NULL;
    *remote_out = remote;
    return true;
}

struct generator *remote_generator(struct remote *remote)
{
    return &remote->generator;
}

const struct served_by *remote_served_by(const struct remote *remote)
{
    return &remote->served_by;
}
