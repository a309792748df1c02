/* scripted: calls wait in a ring until their time comes; a thread posts them as answered. */
#include "pipeline/scripted.h"

#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include "pipeline/clock.h"
#include "pipeline/mailbox.h"
#include "pipeline/openai/response.h"
#include "schemas/base/check.h"

enum { SCRIPTED_BODY_BYTES_MAX = 1 << 20, TAKE_MAX = 64 };

struct scripted {
    struct generator generator;
    struct scripted_options options;
    int calls_inside;    // loop thread
    int64_t calls_total; // loop thread
    struct mailbox *answered;
    pthread_mutex_t mutex; // holds first, count, ring, is_closing
    pthread_cond_t has_work;
    struct call **ring; // [calls_max]
    int first;
    int count;
    bool is_closing;
    pthread_t thread;
};

static struct scripted *scripted_of(struct generator *generator)
{
    return (struct scripted *)generator;
}

static bool is_to_abort(const struct openai_request *request)
{
    for (int i = 0; i < request->stops_count; i++) {
        if (bytes_equal_text(request->stops[i], SCRIPTED_ABORT)) {
            return true;
        }
    }
    return false;
}

static bool scripted_prepare(struct generator *generator, struct call *call, struct error *error)
{
    struct scripted *scripted = scripted_of(generator);
    const struct openai_request *request = &call->request;
    if (request->endpoint == ENDPOINT_EMBEDDINGS) {
        return error_set(error, ERROR_INVALID, "unsupported_value", "model",
                         "the scripted generator has no vectors; use a model that is an encoder");
    }
    struct openai_choice choice = {
        .text = bytes_of(scripted->options.text),
        .finish_reason = "stop",
    };
    struct openai_response response = {
        .endpoint = request->endpoint,
        .id = call->job->id,
        .created = call->job->timestamp_ms / 1000,
        .model = request->model,
        .choices = &choice,
        .choices_count = 1,
        .usage = {.prompt_tokens = 1, .completion_tokens = 1},
    };
    struct buffer body;
    buffer_init(&body, SCRIPTED_BODY_BYTES_MAX);
    openai_response_write(&response, &body);
    if (!buffer_failed(&body)) {
        call->answer.body = arena_copy(call->job->arena, buffer_bytes(&body));
    }
    buffer_close(&body);
    if (call->answer.body.data == NULL) {
        return error_set(error, ERROR_TOO_LARGE, "request_too_large", NULL,
                         "the request needs more memory than one record may have");
    }
    call->state = is_to_abort(request) ? SCRIPTED_ABORT : NULL;
    call->answer.status_code = 200;
    call->answer.usage = response.usage;
    return true;
}

static bool scripted_submit(struct generator *generator, struct call *call)
{
    struct scripted *scripted = scripted_of(generator);
    if (scripted->calls_inside == scripted->options.calls_max) {
        return false;
    }
    scripted->calls_inside++;
    scripted->calls_total++;
    int every = scripted->options.fail_every;
    if (every > 0 && scripted->calls_total % every == 0) {
        error_set(&call->answer.error, ERROR_INTERNAL, "scripted_failure", NULL,
                  "the scripted generator fails each call of %d", every);
    }
    call->submitted_ms = clock_monotonic_ms();
    CHECK(pthread_mutex_lock(&scripted->mutex) == 0);
    CHECK(scripted->count < scripted->options.calls_max);
    scripted->ring[(scripted->first + scripted->count) % scripted->options.calls_max] = call;
    scripted->count++;
    CHECK(pthread_cond_signal(&scripted->has_work) == 0);
    CHECK(pthread_mutex_unlock(&scripted->mutex) == 0);
    return true;
}

/* A scripted call ends by itself within its latency. */
static void scripted_cancel(struct generator *generator, struct call *call, bool only_waiting)
{
    (void)generator;
    (void)call;
    (void)only_waiting;
}

static size_t scripted_poll(struct generator *generator, struct call **calls_out, size_t calls_max)
{
    struct scripted *scripted = scripted_of(generator);
    void *items[TAKE_MAX];
    size_t count =
        mailbox_take(scripted->answered, items, calls_max < TAKE_MAX ? calls_max : TAKE_MAX);
    for (size_t i = 0; i < count; i++) {
        calls_out[i] = items[i];
    }
    scripted->calls_inside -= (int)count;
    return count;
}

static void scripted_close(struct generator *generator)
{
    struct scripted *scripted = scripted_of(generator);
    CHECK(scripted->calls_inside == 0);
    CHECK(pthread_mutex_lock(&scripted->mutex) == 0);
    scripted->is_closing = true;
    CHECK(pthread_cond_signal(&scripted->has_work) == 0);
    CHECK(pthread_mutex_unlock(&scripted->mutex) == 0);
    CHECK(pthread_join(scripted->thread, NULL) == 0);
    CHECK(pthread_cond_destroy(&scripted->has_work) == 0);
    CHECK(pthread_mutex_destroy(&scripted->mutex) == 0);
    mailbox_close(scripted->answered);
    free(scripted->ring);
    free(scripted);
}

/* Waits, with the mutex held, until the oldest call is due. False when closing. */
static bool wait_until_due(struct scripted *scripted)
{
    while (!scripted->is_closing) {
        if (scripted->count == 0) {
            CHECK(pthread_cond_wait(&scripted->has_work, &scripted->mutex) == 0);
            continue;
        }
        double left_ms = scripted->ring[scripted->first]->submitted_ms +
                         scripted->options.latency_ms - clock_monotonic_ms();
        if (left_ms <= 0) {
            return true;
        }
        struct timespec until = clock_deadline(left_ms);
        (void)pthread_cond_timedwait(&scripted->has_work, &scripted->mutex, &until);
    }
    return false;
}

static void answer_call(struct scripted *scripted, struct call *call)
{
    CHECK(call->state == NULL); // SCRIPTED_ABORT
    double now_ms = clock_monotonic_ms();
    call->answer.timing = (struct timing){
        .decode_ms = now_ms - call->submitted_ms,
        .total_ms = now_ms - call->job->received_ms,
        .has_first_token_ms = true,
        .first_token_ms = now_ms - call->job->received_ms,
    };
    CHECK(mailbox_post(scripted->answered, call));
}

static void *run_thread(void *context)
{
    struct scripted *scripted = context;
    CHECK(pthread_mutex_lock(&scripted->mutex) == 0);
    while (wait_until_due(scripted)) {
        struct call *call = scripted->ring[scripted->first];
        scripted->first = (scripted->first + 1) % scripted->options.calls_max;
        scripted->count--;
        CHECK(pthread_mutex_unlock(&scripted->mutex) == 0);
        answer_call(scripted, call);
        CHECK(pthread_mutex_lock(&scripted->mutex) == 0);
    }
    CHECK(pthread_mutex_unlock(&scripted->mutex) == 0);
    return NULL;
}

static const struct generator_ops scripted_ops = {
    .prepare = scripted_prepare,
    .submit = scripted_submit,
    .cancel = scripted_cancel,
    .poll = scripted_poll,
    .close = scripted_close,
};

static void init_condition(struct scripted *scripted)
{
    pthread_condattr_t attributes;
    CHECK(pthread_condattr_init(&attributes) == 0);
    CHECK(pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC) == 0);
    CHECK(pthread_cond_init(&scripted->has_work, &attributes) == 0);
    CHECK(pthread_condattr_destroy(&attributes) == 0);
    CHECK(pthread_mutex_init(&scripted->mutex, NULL) == 0);
}

bool scripted_open(const struct scripted_options *options, struct generator **generator_out,
                   struct error *error)
{
    CHECK(options->calls_max > 0);
    struct scripted *scripted = calloc(1, sizeof *scripted);
    struct call **ring = calloc((size_t)options->calls_max, sizeof *ring);
    struct mailbox *answered =
        mailbox_open((size_t)options->calls_max, options->wake.on_wake, options->wake.context);
    if (scripted == NULL || ring == NULL || answered == NULL) {
        mailbox_close(answered);
        free(ring);
        free(scripted);
        return error_set(error, ERROR_FATAL, NULL, NULL, "out of memory for %d scripted calls",
                         options->calls_max);
    }
    scripted->generator.ops = &scripted_ops;
    scripted->options = *options;
    if (options->text == NULL) {
        scripted->options.text = "This answer comes from the script, not from a model.";
    }
    scripted->answered = answered;
    scripted->ring = ring;
    init_condition(scripted);
    CHECK(pthread_create(&scripted->thread, NULL, run_thread, scripted) == 0);
    *generator_out = &scripted->generator;
    return true;
}
