/* local, answers: from token ids to text, and from the choices of a call to its body.
 * Threads: engine (the two observers), pool (everything else). */
#include "pipeline/local_internal.h"

#include "pipeline/clock.h"
#include "pipeline/openai/response.h"
#include "schemas/base/check.h"
#include "schemas/base/shortage.h"

enum {
    PIECE_BYTES_MAX = 1 << 20, // what one token can add
    TEXT_BYTES_MAX = 64 << 20, // of one choice
    BODY_BYTES_MAX = 256 << 20,
};

static const struct tokenizer *tokenizer_of(const struct local_choice *choice)
{
    return choice->owner->model->tokenizer;
}

/* Appends a piece of text and looks for a stop string in it. */
static void take_piece(struct local_choice *choice, const struct buffer *piece)
{
    buffer_append_bytes(&choice->text, buffer_bytes(piece));
    choice->has_stop_string = stop_rule_feed(&choice->stop_rule, buffer_bytes(piece));
    choice->text.has_failed = choice->text.has_failed || buffer_failed(piece);
}

/* A completion goes on where the text of its prompt ends; an answer in a chat is a text of its own,
 * and so is what follows special tokens alone. */
static bool continues_prompt(const struct local_choice *choice)
{
    const struct sequence *sequence = &choice->sequence;
    if (choice->owner->call->request.endpoint != ENDPOINT_COMPLETIONS) {
        return false;
    }
    for (int i = sequence->prompt_count; i-- > 0;) {
        if (!tokenizer_is_special(tokenizer_of(choice), sequence->prompt[i])) {
            return true;
        }
    }
    return false;
}

/* Reads the tokens that have come since the last time, up to a stop string. */
static void read_tokens(struct local_choice *choice)
{
    const struct sequence *sequence = &choice->sequence;
    int count = atomic_load_explicit(&sequence->output_count, memory_order_acquire);
    struct buffer piece;
    if (tokenizer_of(choice) == NULL) {
        choice->tokens_read = count;
        return;
    }
    if (choice->detokenizer.tokenizer == NULL) {
        detokenizer_init(&choice->detokenizer, tokenizer_of(choice), true);
        if (continues_prompt(choice)) {
            detokenizer_continue(&choice->detokenizer);
        }
        buffer_init(&choice->text, TEXT_BYTES_MAX);
    }
    buffer_init(&piece, PIECE_BYTES_MAX);
    while (choice->tokens_read < count && !choice->has_stop_string) {
        buffer_clear(&piece);
        detokenizer_feed(&choice->detokenizer, sequence->output[choice->tokens_read], &piece);
        choice->tokens_read++;
        take_piece(choice, &piece);
    }
    buffer_close(&piece);
}

/* What was held back for more bytes comes out, and the text ends before the stop string. */
static void finish_text(struct local_choice *choice)
{
    if (tokenizer_of(choice) == NULL) {
        return;
    }
    struct buffer piece;
    buffer_init(&piece, PIECE_BYTES_MAX);
    if (!choice->has_stop_string) {
        detokenizer_finish(&choice->detokenizer, &piece);
        take_piece(choice, &piece);
    }
    buffer_close(&piece);
    detokenizer_close(&choice->detokenizer);
    if (choice->has_stop_string && choice->stop_rule.cut < choice->text.size) {
        buffer_truncate(&choice->text, choice->stop_rule.cut);
    }
}

static bool echo_prompt(const struct local_choice *choice, const struct openai_prompt *prompt,
                        struct buffer *out)
{
    if (prompt->text.data != NULL) {
        buffer_append_bytes(out, prompt->text);
    } else if (tokenizer_of(choice) != NULL) {
        tokenizer_decode(tokenizer_of(choice), prompt->ids, (size_t)prompt->ids_count, true, out);
    }
    buffer_append_bytes(out, buffer_bytes(&choice->text));
    return !buffer_failed(out);
}

/* The choice's whole text, in the arena. */
static bool copy_text(const struct local_choice *choice, int index, struct bytes *text_out)
{
    const struct call *call = choice->owner->call;
    struct arena *arena = call->job->arena;
    if (buffer_failed(&choice->text)) {
        return false;
    }
    if (!call->request.wants_echo) {
        *text_out = arena_copy(arena, buffer_bytes(&choice->text));
        return text_out->data != NULL;
    }
    struct buffer whole;
    buffer_init(&whole, TEXT_BYTES_MAX);
    bool is_whole = echo_prompt(choice, &call->request.prompts[index / call->request.n], &whole);
    *text_out = is_whole ? arena_copy(arena, buffer_bytes(&whole)) : (struct bytes){NULL, 0};
    buffer_close(&whole);
    return text_out->data != NULL;
}

/* Each kept token's text and log-probability, in the arena. */
static bool list_logprobs(const struct local_choice *choice, struct openai_choice *out)
{
    const struct sequence *sequence = &choice->sequence;
    struct arena *arena = choice->owner->call->job->arena;
    struct openai_token_logprob *items =
        arena_alloc_array(arena, (size_t)choice->tokens_read, sizeof *items);
    if (items == NULL) {
        return false;
    }
    struct buffer text;
    buffer_init(&text, PIECE_BYTES_MAX);
    bool is_whole = true;
    for (int i = 0; i < choice->tokens_read && is_whole; i++) {
        buffer_clear(&text);
        if (tokenizer_of(choice) != NULL) {
            tokenizer_append_piece(tokenizer_of(choice), sequence->output[i], &text);
        }
        items[i].token = arena_copy(arena, buffer_bytes(&text));
        items[i].logprob = (double)sequence->logprobs[i];
        is_whole = items[i].token.data != NULL;
    }
    buffer_close(&text);
    out->logprobs = items;
    out->logprobs_count = choice->tokens_read;
    return is_whole;
}

static bool make_choice(const struct local_choice *choice, int index, struct openai_choice *out)
{
    bool is_length = choice->sequence.finish_reason == FINISH_LENGTH && !choice->has_stop_string;
    *out = (struct openai_choice){.finish_reason = is_length ? "length" : "stop"};
    return copy_text(choice, index, &out->text) &&
           (choice->sequence.logprobs == NULL || list_logprobs(choice, out));
}

static struct usage usage_of(const struct local_call *state)
{
    struct usage usage = {0};
    for (int i = 0; i < state->choices_count; i++) {
        const struct local_choice *choice = &state->choices[i];
        usage.completion_tokens += choice->tokens_read;
        if (i % state->call->request.n == 0) { // the choices of one prompt share it
            usage.prompt_tokens += choice->sequence.prompt_count;
            usage.cached_tokens += choice->sequence.cached_count;
        }
    }
    return usage;
}

/* From start to end in whole microseconds: more digits would be noise in every record. */
static double interval_ms(double start_ms, double end_ms)
{
    return (double)(int64_t)((end_ms - start_ms) * 1e3 + 0.5) / 1e3;
}

/* The first choice's times, and the end of the last one. */
static struct timing timing_of(const struct local_call *state)
{
    const struct sequence_timing *first = &state->choices[0].sequence.timing;
    double received_ms = state->call->job->received_ms;
    double finished_ms = first->finished_ms;
    for (int i = 1; i < state->choices_count; i++) {
        double ms = state->choices[i].sequence.timing.finished_ms;
        finished_ms = ms > finished_ms ? ms : finished_ms;
    }
    struct timing timing = {.total_ms = interval_ms(received_ms, clock_monotonic_ms())};
    if (first->first_token_ms > 0) {
        timing.queued_ms = interval_ms(received_ms, first->scheduled_ms);
        timing.prefill_ms = interval_ms(first->scheduled_ms, first->first_token_ms);
        timing.decode_ms = interval_ms(first->first_token_ms, finished_ms);
        timing.has_first_token_ms = true;
        timing.first_token_ms = interval_ms(received_ms, first->first_token_ms);
    }
    return timing;
}

/* Moves the written body to the arena. */
static bool keep_body(struct call *call, struct buffer *body)
{
    if (!buffer_failed(body)) {
        call->answer.body = arena_copy(call->job->arena, buffer_bytes(body));
    }
    buffer_close(body);
    call->answer.status_code = 200;
    return call->answer.body.data != NULL;
}

static bool compose_body(struct local_call *state, const struct openai_choice *choices)
{
    struct call *call = state->call;
    struct openai_response response = {
        .endpoint = call->request.endpoint,
        .id = call->job->id,
        .created = clock_unix_ms() / 1000,
        .model = call->request.model,
        .choices = choices,
        .choices_count = state->choices_count,
        .usage = call->answer.usage,
    };
    struct buffer body;
    buffer_init(&body, BODY_BYTES_MAX);
    openai_response_write(&response, &body);
    return keep_body(call, &body);
}

static bool compose_embeddings(struct local_call *state)
{
    struct call *call = state->call;
    const struct model_config *config = model_get_config(state->model->model);
    int dimensions = call->request.dimensions;
    const float **vectors =
        arena_alloc_array(call->job->arena, (size_t)state->choices_count, sizeof *vectors);
    if (vectors == NULL) {
        return false;
    }
    for (int i = 0; i < state->choices_count; i++) {
        float *vector = state->choices[i].sequence.vector;
        if (dimensions > 0 && dimensions < config->hidden && config->encoder.normalizes) {
            model_normalize(vector, dimensions);
        }
        vectors[i] = vector;
    }
    struct openai_embeddings embeddings = {
        .model = call->request.model,
        .vectors = vectors,
        .count = state->choices_count,
        .width = dimensions > 0 ? dimensions : config->hidden,
        .is_base64 = call->request.wants_base64,
        .usage = call->answer.usage,
    };
    struct buffer body;
    buffer_init(&body, BODY_BYTES_MAX);
    openai_embeddings_write(&embeddings, &body);
    return keep_body(call, &body);
}

static bool compose_choices(struct local_call *state)
{
    struct openai_choice choices[OPENAI_CHOICES_MAX];
    CHECK(state->choices_count <= OPENAI_CHOICES_MAX);
    for (int i = 0; i < state->choices_count; i++) {
        if (!make_choice(&state->choices[i], i, &choices[i])) {
            return false;
        }
    }
    return compose_body(state, choices);
}

/* The error of the first choice that failed or was cancelled; false when all are whole. */
static bool has_failed_choice(const struct local_call *state, struct error *error)
{
    for (int i = 0; i < state->choices_count; i++) {
        const struct sequence *sequence = &state->choices[i].sequence;
        if (sequence->finish_reason == FINISH_ERROR) {
            *error = sequence->error;
            return true;
        }
        if (sequence->finish_reason == FINISH_CANCELLED) {
            error_set(error, ERROR_CANCELLED, "cancelled", NULL, "the request was cancelled");
            return true;
        }
    }
    return false;
}

static void compose(struct local_call *state)
{
    struct call *call = state->call;
    call->answer.timing = timing_of(state);
    call->answer.usage = usage_of(state);
    bool is_whole = true;
    (void)shortage_take();
    if (!has_failed_choice(state, &call->answer.error)) {
        is_whole = call->request.endpoint == ENDPOINT_EMBEDDINGS ? compose_embeddings(state)
                                                                 : compose_choices(state);
    }
    if (!is_whole && shortage_take()) {
        error_set(&call->answer.error, ERROR_INTERNAL, "out_of_memory", NULL,
                  "no memory to compose the answer");
    } else if (!is_whole) {
        error_set(&call->answer.error, ERROR_TOO_LARGE, "result_too_large", NULL,
                  "the answer needs more memory than one record may have");
    }
    for (int i = 0; i < state->choices_count; i++) {
        buffer_close(&state->choices[i].text);
    }
    // From here on the call is the loop's.
    CHECK(mailbox_post(state->local->answered, call));
}

static void run_choice(struct task *task)
{
    struct local_choice *choice =
        (struct local_choice *)((char *)task - offsetof(struct local_choice, task));
    struct local_call *state = choice->owner;
    for (;;) {
        unsigned seen = atomic_load_explicit(&choice->signals, memory_order_acquire);
        read_tokens(choice);
        if ((seen & SIGNAL_FINISHED) != 0) {
            break;
        }
        if (choice->has_stop_string) {
            engine_stop(state->local->engine, &choice->sequence);
        }
        if (atomic_fetch_sub_explicit(&choice->signals, seen, memory_order_acq_rel) == seen) {
            return; // the next signal submits the task again
        }
    }
    finish_text(choice);
    if (atomic_fetch_sub_explicit(&state->choices_left, 1, memory_order_acq_rel) == 1) {
        compose(state);
    }
}

static void signal_choice(void *context, struct sequence *sequence, unsigned signal)
{
    struct local *local = context;
    struct local_choice *choice = sequence->owner;
    if (atomic_fetch_add_explicit(&choice->signals, signal, memory_order_acq_rel) == 0) {
        choice->task.run = run_choice;
        pool_submit(local->pool, &choice->task);
    }
}

void local_on_progress(void *context, struct sequence *sequence)
{
    signal_choice(context, sequence, 1);
}

/* Nobody waits any more for the other choices of a call that has lost one. */
static void cancel_others(const struct local *local, const struct local_choice *choice)
{
    struct local_call *state = choice->owner;
    for (int i = 0; i < state->choices_count; i++) {
        if (&state->choices[i] != choice) {
            engine_cancel(local->engine, &state->choices[i].sequence);
        }
    }
}

void local_on_finish(void *context, struct sequence *sequence)
{
    if (sequence->finish_reason == FINISH_CANCELLED || sequence->finish_reason == FINISH_ERROR) {
        // Before the signal: after it the call may be gone.
        cancel_others(context, sequence->owner);
    }
    signal_choice(context, sequence, SIGNAL_FINISHED);
}
