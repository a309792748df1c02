/* remote_judge: what an endpoint's answer is worth.
 *
 * A 2xx answer must be one JSON object with choices, or a stream of such that came to its end. 4xx
 * is an answer too, but for those that say "later". Everything else is a failure of the endpoint.
 */
#include "worker/remote_internal.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "pipeline/openai/response.h"
#include "pipeline/openai/stream.h"
#include "schemas/base/check.h"
#include "schemas/base/shortage.h"

enum { ERROR_BODY_BYTES_MAX = 4096 };

static const json_int_t tokens_max = (json_int_t)1 << 40; // more is a lie, and would overflow sums

static void judge(struct remote_call *state, enum remote_result result, const char *code,
                  const char *text)
{
    state->verdict.result = result;
    error_set(&state->verdict.error, ERROR_UPSTREAM, code, NULL, "%s", text);
}

/* What does not get to the end of an answer. */
static void judge_transfer(struct remote_call *state)
{
    const char *reason = state->exchange.reason;
    switch (state->exchange.result) {
    case HTTP_UNREACHED:
        judge(state, RESULT_UNREACHED, "endpoint_unreached", reason);
        break;
    case HTTP_TIMED_OUT:
        judge(state, RESULT_TIMED_OUT, "endpoint_timed_out", reason);
        break;
    case HTTP_TOO_LARGE:
        judge(state, RESULT_TOO_LARGE, "answer_too_large", reason);
        break;
    case HTTP_BROKEN:
    case HTTP_DONE:
        judge(state, RESULT_BROKEN, "endpoint_broke_off", reason);
        break;
    }
}

static int64_t token_count(const json_t *usage, const char *name)
{
    json_int_t count = json_integer_value(json_object_get(usage, name));
    return count < 0 ? 0 : count > tokens_max ? tokens_max : count;
}

static void read_usage(struct remote_call *state, const json_t *root)
{
    const struct prices *prices = &state->remote->options.prices;
    struct call_answer *answer = &state->call->answer;
    const json_t *usage = json_object_get(root, "usage");
    answer->usage = (struct usage){
        .prompt_tokens = token_count(usage, "prompt_tokens"),
        .cached_tokens =
            token_count(json_object_get(usage, "prompt_tokens_details"), "cached_tokens"),
        .completion_tokens = token_count(usage, "completion_tokens"),
    };
    if (answer->usage.cached_tokens > answer->usage.prompt_tokens) {
        answer->usage.cached_tokens = answer->usage.prompt_tokens;
    }
    bool has_price = prices->prompt > 0 || prices->completion > 0 || prices->cached > 0;
    answer->has_cost_usd = has_price && json_is_object(usage);
    answer->cost_usd = answer->has_cost_usd ? prices_cost_usd(prices, &answer->usage) : 0;
}

/* A short text member, "" where there is none; it goes into logs. */
static void read_name(const json_t *root, const char *member, char *name)
{
    const char *text = json_string_value(json_object_get(root, member));
    (void)snprintf(name, REMOTE_NAME_BYTES_MAX, "%s", text == NULL ? "" : text);
}

static bool read_identity(struct remote_call *state, const json_t *root)
{
    read_name(root, "model", state->model);
    read_name(root, "system_fingerprint", state->fingerprint);
    struct served_by *served_by = arena_alloc(state->call->job->arena, sizeof *served_by);
    if (served_by == NULL) {
        return false;
    }
    *served_by = state->remote->served_by;
    if (state->model[0] != '\0') {
        served_by->model = bytes_of(state->model);
    }
    if (state->fingerprint[0] != '\0') {
        served_by->fingerprint = bytes_of(state->fingerprint);
    }
    state->call->answer.served_by = served_by;
    return true;
}

static double ms_between(double from_ms, double to_ms)
{
    return to_ms > from_ms ? to_ms - from_ms : 0;
}

/* `first_size`: the bytes of a stream up to its first token, 0: not known. */
static void set_timing(struct remote_call *state, size_t first_size)
{
    double received_ms = state->call->job->received_ms;
    const struct http_exchange *exchange = &state->exchange;
    double now_ms = exchange->done_ms;
    struct timing *timing = &state->call->answer.timing;
    *timing = (struct timing){
        .queued_ms = ms_between(received_ms, state->sent_ms),
        .decode_ms = ms_between(state->sent_ms, now_ms),
        .total_ms = ms_between(received_ms, now_ms),
    };
    for (int i = 0; first_size > 0 && i < exchange->arrivals_count; i++) {
        if (exchange->arrivals[i].size >= first_size) {
            double first_ms = exchange->arrivals[i].at_ms;
            timing->prefill_ms = ms_between(state->sent_ms, first_ms);
            timing->decode_ms = ms_between(first_ms, now_ms);
            timing->has_first_token_ms = true;
            timing->first_token_ms = ms_between(received_ms, first_ms);
            return;
        }
    }
}

static bool keep_body(struct remote_call *state, struct bytes body)
{
    struct call_answer *answer = &state->call->answer;
    answer->body = arena_copy(state->call->job->arena, body);
    answer->status_code = state->exchange.status;
    if (answer->body.data != NULL) {
        return true;
    }
    judge(state, RESULT_TOO_LARGE, "answer_too_large",
          "the answer does not fit the memory of one record");
    return false;
}

/* The member that every response has. */
static const char *list_of(const struct remote_call *state)
{
    return state->call->request.endpoint == ENDPOINT_EMBEDDINGS ? "data" : "choices";
}

/* A whole OpenAI response. */
static void judge_response(struct remote_call *state, struct bytes body)
{
    json_t *root = json_loadb(body.data, body.size, JSON_ALLOW_NUL, NULL);
    if (!json_is_object(root)) {
        judge(state, RESULT_BROKEN, "endpoint_invalid_json", "the answer is not a JSON object");
    } else if (!json_is_array(json_object_get(root, list_of(state)))) {
        judge(state, RESULT_BROKEN, "endpoint_invalid_response",
              "the answer is no OpenAI response");
    } else if (keep_body(state, body)) {
        read_usage(state, root);
        state->verdict.result = RESULT_ANSWERED;
        if (!read_identity(state, root)) {
            judge(state, RESULT_TOO_LARGE, "answer_too_large",
                  "the answer does not fit the memory of one record");
        }
    }
    json_decref(root);
}

static void judge_success(struct remote_call *state)
{
    struct bytes body = buffer_bytes(&state->exchange.answer);
    if (!openai_stream_is(body)) {
        judge_response(state, body);
        set_timing(state, 0);
        return;
    }
    struct buffer joined;
    struct error error = {0};
    size_t first_size = 0;
    buffer_init(&joined, state->remote->options.answer_bytes_max);
    if (openai_stream_join(body, &joined, &first_size, &error)) {
        judge_response(state, buffer_bytes(&joined));
        set_timing(state, first_size);
    } else {
        judge(state, RESULT_BROKEN, "endpoint_broken_stream", error.message);
    }
    buffer_close(&joined);
}

/* 4xx: the body as it is, or an error object that says what came instead. */
static void judge_refusal(struct remote_call *state)
{
    struct bytes body = buffer_bytes(&state->exchange.answer);
    json_t *root = json_loadb(body.data, body.size, JSON_ALLOW_NUL, NULL);
    struct buffer instead;
    buffer_init(&instead, ERROR_BODY_BYTES_MAX);
    if (!json_is_object(root)) {
        struct error error = {0};
        error_set(&error, ERROR_INVALID, "endpoint_refused", NULL,
                  "the endpoint answered with status %d and %zu bytes that are no JSON object",
                  state->exchange.status, body.size);
        openai_error_write(&error, &instead);
        body = buffer_bytes(&instead);
    }
    json_decref(root);
    if (!buffer_failed(&instead) && keep_body(state, body)) {
        state->verdict.result = RESULT_REFUSED;
        set_timing(state, 0);
    }
    buffer_close(&instead);
}

static bool says_later(int status)
{
    return status == 408 || status == 409 || status == 429;
}

static void judge_status(struct remote_call *state)
{
    int status = state->exchange.status;
    char text[96];
    (void)snprintf(text, sizeof text, "the endpoint answered with HTTP status %d%s", status,
                   status >= 300 && status < 400 ? ", redirects are not followed" : "");
    if (status >= 200 && status < 300) {
        judge_success(state);
    } else if (status >= 400 && status < 500 && !says_later(status)) {
        judge_refusal(state);
    } else if (status == 429) {
        judge(state, RESULT_THROTTLED, "endpoint_throttled", text);
    } else {
        judge(state, RESULT_FAILED, "endpoint_failed", text);
    }
}

void remote_judge(struct remote_call *state)
{
    (void)shortage_take();
    state->verdict = (struct remote_verdict){.result = RESULT_BROKEN};
    state->call->answer.error = (struct error){0};
    if (state->exchange.result == HTTP_DONE) {
        judge_status(state);
    } else {
        judge_transfer(state);
    }
    http_exchange_close(&state->exchange);
    if (shortage_take()) { // then what looks broken may be whole
        state->verdict = (struct remote_verdict){.result = RESULT_BROKEN};
        error_set(&state->verdict.error, ERROR_INTERNAL, "out_of_memory", NULL,
                  "no memory to read the endpoint's answer");
    }
}
