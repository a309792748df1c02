/* runner: plan, fill, forward, sample, append; and bisection when a device fails. */
#include "pipeline/engine/runner.h"

#include <math.h>
#include <stdlib.h>
#include <time.h>

#include "pipeline/engine/scheduler.h"
#include "pipeline/engine/step.h"
#include "pipeline/engine/turns.h"
#include "schemas/base/check.h"

/* A step of one sequence is run so often before the sequence fails: what failed may have passed. */
enum { ALONE_TRIES = 2 };

struct lane {
    struct device device;
    struct scheduler *scheduler;
    int context_tokens; // of the device, or max_model_len
    int tokens_max;     // the same, or what its KV cache holds
    bool is_stalled;    // nothing in it is ready; until something changes
};

struct runner {
    struct lane *lanes; // [lanes_count], one per model
    int lanes_count;
    struct turns turns;
    struct step step;
    struct engine_stats stats;
    struct error lost; // of kind ERROR_NONE until a device is lost
    void (*on_progress)(void *context, struct sequence *sequence);
    void (*on_finish)(void *context, struct sequence_state *state);
    void *context;
};

double runner_now_ms(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

static int least(int a, int b)
{
    return a < b ? a : b;
}

static bool lane_open(struct lane *lane, const struct device *device,
                      const struct runner_options *options, struct error *error)
{
    int64_t pool_tokens = (int64_t)device->blocks_count * device->block_tokens;
    lane->device = *device;
    lane->context_tokens = options->max_model_len == 0
                               ? device->context_tokens
                               : least(device->context_tokens, options->max_model_len);
    if (device->encode != NULL) { // one step takes all of a prompt
        lane->context_tokens = least(lane->context_tokens, options->max_num_batched_tokens + 1);
    }
    lane->tokens_max =
        (int)(pool_tokens < lane->context_tokens ? pool_tokens : lane->context_tokens);
    const struct scheduler_options scheduler = {
        .blocks = {.blocks_count = device->blocks_count, .block_tokens = device->block_tokens},
        // What comes after a prefix changes the keys of an encoder.
        .enable_prefix_caching = options->enable_prefix_caching && device->encode == NULL,
        .whole_prompts = device->encode != NULL,
        .enable_look_ahead = true,
        .tokens_max = lane->tokens_max,
        .running_max = options->max_num_seqs,
        .rows_max = options->max_num_batched_tokens,
        .waiting_max = options->waiting_max,
        .different_tokens_max = least(lane->tokens_max, device->vocabulary),
    };
    return scheduler_open(&scheduler, &lane->scheduler, error);
}

static bool open_lanes(struct runner *runner, const struct runner_options *options,
                       struct error *error)
{
    for (int i = 0; i < options->devices_count; i++) {
        if (!lane_open(&runner->lanes[i], &options->devices[i], options, error)) {
            return false;
        }
        runner->lanes_count++;
        runner->stats.kv_blocks_total += options->devices[i].blocks_count;
    }
    return true;
}

static struct step_limits limits_of(const struct runner *runner,
                                    const struct runner_options *options)
{
    struct step_limits limits = {options->max_num_batched_tokens, options->max_num_seqs, 0};
    for (int i = 0; i < runner->lanes_count; i++) {
        const struct lane *lane = &runner->lanes[i];
        CHECK(lane->device.block_tokens > 0);
        int blocks = (lane->tokens_max - 1) / lane->device.block_tokens + 1;
        limits.blocks_max = blocks > limits.blocks_max ? blocks : limits.blocks_max;
    }
    return limits;
}

bool runner_open(const struct runner_options *options, struct runner **runner_out,
                 struct error *error)
{
    bool is_open = false;
    struct runner *runner = calloc(1, sizeof *runner);
    if (runner == NULL) {
        return error_set(error, ERROR_FATAL, "out_of_memory", NULL, "no memory for the engine");
    }
    runner->on_progress = options->on_progress;
    runner->on_finish = options->on_finish;
    runner->context = options->context;
    turns_init(&runner->turns, options->devices_count);
    runner->lanes = calloc((size_t)options->devices_count, sizeof *runner->lanes);
    if (runner->lanes == NULL) {
        (void)error_set(error, ERROR_FATAL, "out_of_memory", NULL, "no memory for %d models",
                        options->devices_count);
        goto out;
    }
    if (!open_lanes(runner, options, error)) {
        goto out;
    }
    struct step_limits limits = limits_of(runner, options);
    if (!step_open(&runner->step, &limits)) {
        (void)error_set(error, ERROR_FATAL, "out_of_memory", NULL,
                        "no memory for steps of %d rows and %d sequences of %d blocks; lower "
                        "max_num_seqs or max_model_len",
                        limits.rows_max, limits.sequences_max, limits.blocks_max);
        goto out;
    }
    is_open = true;
    *runner_out = runner;
out:
    if (!is_open) {
        runner_close(runner);
    }
    return is_open;
}

void runner_close(struct runner *runner)
{
    if (runner == NULL) {
        return;
    }
    step_close(&runner->step);
    for (int i = 0; i < runner->lanes_count; i++) {
        scheduler_close(runner->lanes[i].scheduler);
    }
    free(runner->lanes);
    free(runner);
}

int runner_tokens_max(const struct runner *runner, int model)
{
    CHECK(model >= 0 && model < runner->lanes_count);
    return runner->lanes[model].tokens_max;
}

const struct kv_blocks *runner_blocks(const struct runner *runner, int model)
{
    CHECK(model >= 0 && model < runner->lanes_count);
    return scheduler_blocks(runner->lanes[model].scheduler);
}

void runner_get_stats(const struct runner *runner, struct engine_stats *stats_out)
{
    *stats_out = runner->stats;
    for (int i = 0; i < runner->lanes_count; i++) {
        const struct lane *lane = &runner->lanes[i];
        stats_out->running += scheduler_running_count(lane->scheduler);
        stats_out->kv_blocks_used +=
            lane->device.blocks_count - kv_blocks_idle_count(scheduler_blocks(lane->scheduler));
    }
}

static void conclude(struct runner *runner, struct sequence_state *state, enum finish_reason reason)
{
    state->sequence->finish_reason = reason;
    state->sequence->timing.finished_ms = runner_now_ms();
    runner->on_finish(runner->context, state);
}

void runner_finish(struct runner *runner, struct sequence_state *state, enum finish_reason reason)
{
    const struct sequence *sequence = state->sequence;
    struct lane *lane = &runner->lanes[sequence->model];
    if (reason == FINISH_STOP || reason == FINISH_LENGTH) {
        scheduler_learn(lane->scheduler, sequence);
    }
    scheduler_remove(lane->scheduler, state);
    lane->is_stalled = false;
    conclude(runner, state, reason);
}

static bool check_tokens(const struct sequence *sequence, int vocabulary, struct error *error)
{
    for (int i = 0; i < sequence->prompt_count; i++) {
        if (sequence->prompt[i] < 0 || sequence->prompt[i] >= vocabulary) {
            return error_set(error, ERROR_INVALID, "invalid_value", NULL,
                             "prompt token %d is %d, must be at least 0 and below %d", i,
                             sequence->prompt[i], vocabulary);
        }
    }
    return true;
}

static bool check_sequence(const struct lane *lane, const struct sequence *sequence,
                           struct error *error)
{
    if (sequence->prompt_count < 1) {
        return error_set(error, ERROR_INVALID, "invalid_value", NULL,
                         "the prompt has no tokens, must have at least 1");
    }
    if (sequence->prompt_count >= lane->context_tokens) {
        return error_set(error, ERROR_INVALID, "context_length_exceeded", NULL,
                         "the prompt has %d tokens, must be below the context of %d",
                         sequence->prompt_count, lane->context_tokens);
    }
    if (sequence->prompt_count >= lane->tokens_max) {
        return error_set(error, ERROR_TOO_LARGE, "kv_cache_too_small", NULL,
                         "the prompt has %d tokens, must be below the %d that the kv cache of %d "
                         "blocks holds; raise its memory",
                         sequence->prompt_count, lane->tokens_max, lane->device.blocks_count);
    }
    if ((lane->device.encode != NULL) != (sequence->vector != NULL)) {
        return error_set(error, ERROR_INVALID, "unsupported_value", "model", "the model %s",
                         sequence->vector == NULL ? "is an encoder and generates no text"
                                                  : "generates text and is no encoder");
    }
    return check_tokens(sequence, lane->device.vocabulary, error);
}

void runner_add(struct runner *runner, struct sequence_state *state)
{
    struct sequence *sequence = state->sequence;
    CHECK(sequence->model >= 0 && sequence->model < runner->lanes_count);
    struct lane *lane = &runner->lanes[sequence->model];
    if (runner->lost.kind != ERROR_NONE) {
        sequence->error = runner->lost;
        conclude(runner, state, FINISH_ERROR);
    } else if (!check_sequence(lane, sequence, &sequence->error)) {
        conclude(runner, state, FINISH_ERROR);
    } else if (sequence->params.max_tokens < 1) {
        conclude(runner, state, FINISH_LENGTH);
    } else {
        scheduler_add(lane->scheduler, state);
        lane->is_stalled = false;
    }
}

static bool has_work(const struct lane *lane)
{
    return !lane->is_stalled && scheduler_has_work(lane->scheduler);
}

bool runner_has_work(const struct runner *runner)
{
    for (int i = 0; i < runner->lanes_count; i++) {
        if (has_work(&runner->lanes[i])) {
            return true;
        }
    }
    return false;
}

void runner_wake(struct runner *runner)
{
    for (int i = 0; i < runner->lanes_count; i++) {
        runner->lanes[i].is_stalled = false;
    }
}

static bool is_stop_token(const struct sequence_params *params, int32_t token)
{
    if (params->ignore_eos) {
        return false;
    }
    for (int i = 0; i < params->stop_tokens_count; i++) {
        if (params->stop_tokens[i] == token) {
            return true;
        }
    }
    return false;
}

static void append_token(struct running_sequence *running, int32_t token, float logprob)
{
    struct sequence *sequence = running->sequence;
    int index = running->known_count - sequence->prompt_count;
    sequence->output[index] = token;
    if (sequence->logprobs != NULL) {
        sequence->logprobs[index] = logprob;
    }
    atomic_store_explicit(&sequence->output_count, index + 1, memory_order_release);
    running->known_count++;
    if (sequence_has_penalty(sequence)) {
        token_counts_add(&running->counts, token);
    }
}

/* FINISH_NONE while the sequence has room for one more token. */
static enum finish_reason reason_after_token(const struct lane *lane,
                                             const struct running_sequence *running)
{
    struct sequence *sequence = running->sequence;
    if (running->known_count - sequence->prompt_count >= sequence->params.max_tokens ||
        running->known_count >= lane->context_tokens) {
        return FINISH_LENGTH;
    }
    if (running->known_count >= lane->tokens_max) {
        (void)error_set(&sequence->error, ERROR_TOO_LARGE, "kv_cache_too_small", NULL,
                        "prompt and output have %d tokens, which fill the kv cache of %d blocks "
                        "alone; raise its memory or lower max_tokens",
                        running->known_count, lane->device.blocks_count);
        return FINISH_ERROR;
    }
    return FINISH_NONE;
}

/* A sequence's sampled token; -1 means that its logits were not finite. */
static void take_token(struct runner *runner, const struct lane *lane,
                       struct running_sequence *running, int32_t token, float logprob)
{
    struct sequence *sequence = running->sequence;
    if (token < 0) {
        (void)error_set(&sequence->error, ERROR_INTERNAL, "logits_not_finite", NULL,
                        "the model gave logits that are not finite at position %d",
                        running->known_count - 1);
        runner_finish(runner, running->state, FINISH_ERROR);
        return;
    }
    if (is_stop_token(&sequence->params, token)) {
        runner_finish(runner, running->state, FINISH_STOP);
        return;
    }
    append_token(running, token, logprob);
    runner->stats.generation_tokens_total++;
    enum finish_reason reason = reason_after_token(lane, running);
    if (reason != FINISH_NONE) {
        runner_finish(runner, running->state, reason);
    } else if (sequence->params.wants_progress) {
        runner->on_progress(runner->context, sequence);
    }
}

/* An encoder's result is in the sequence already. */
static void take_vector(struct runner *runner, const struct lane *lane,
                        struct running_sequence *running)
{
    struct sequence *sequence = running->sequence;
    for (int i = 0; i < lane->device.vector_width; i++) {
        if (!isfinite(sequence->vector[i])) {
            (void)error_set(&sequence->error, ERROR_INTERNAL, "vector_not_finite", NULL,
                            "the model gave a vector that is not finite at number %d", i);
            runner_finish(runner, running->state, FINISH_ERROR);
            return;
        }
    }
    runner_finish(runner, running->state, FINISH_STOP);
}

static void take_results(struct runner *runner, const struct lane *lane,
                         const struct step_sequence *planned, int planned_count)
{
    const struct step *step = &runner->step;
    for (int i = 0; i < planned_count; i++) {
        struct running_sequence *running = planned[i].running;
        int prompt_left = running->sequence->prompt_count - running->computed_count;
        if (prompt_left > 0) {
            runner->stats.prompt_tokens_total += least(prompt_left, planned[i].rows);
        }
        scheduler_advance(lane->scheduler, running, planned[i].rows);
    }
    double now_ms = runner_now_ms();
    for (int i = 0; i < step->batch.logit_rows_count; i++) {
        struct sequence_timing *timing = &step->sampled[i]->sequence->timing;
        if (timing->first_token_ms == 0) {
            timing->first_token_ms = now_ms;
        }
        if (lane->device.encode != NULL) {
            take_vector(runner, lane, step->sampled[i]);
        } else {
            take_token(runner, lane, step->sampled[i], step->next_tokens[i], step->logprobs[i]);
        }
    }
}

static bool run_device(struct runner *runner, const struct lane *lane,
                       const struct step_sequence *planned, int planned_count, struct error *error)
{
    struct step *step = &runner->step;
    const struct device *device = &lane->device;
    step_fill(step, planned, planned_count, device->block_tokens);
    runner->stats.steps_total++;
    if (device->encode != NULL) {
        CHECK(step->batch.logit_rows_count == planned_count); // each prompt is whole
        struct model_batch batch = step->batch;
        batch.logit_rows_count = 0;
        return device->encode(device->context, &batch, step->vectors, error);
    }
    if (!device->forward(device->context, &step->batch, error)) {
        return false;
    }
    return step->batch.logit_rows_count == 0 ||
           device->sample(device->context, step->params, step->next_tokens,
                          step->wants_logprobs ? step->logprobs : NULL, error);
}

/* Everything on the device is gone: no sequence can go on, whatever it has computed. */
static void lose_device(struct runner *runner, const struct error *error)
{
    runner->lost = *error;
    for (int i = 0; i < runner->lanes_count; i++) {
        struct sequence_state *state;
        while ((state = scheduler_any(runner->lanes[i].scheduler)) != NULL) {
            state->sequence->error = *error;
            runner_finish(runner, state, FINISH_ERROR);
        }
    }
}

/* Runs part of a planned step. Computing rows again is harmless, so a failed part is halved until
 * the culprit stands alone; the depth is the logarithm of the sequences in the step. */
static void run_part(struct runner *runner, const struct lane *lane,
                     const struct step_sequence *planned, int planned_count)
{
    struct error error = {0};
    bool has_run = false;
    int tries_max = planned_count == 1 ? ALONE_TRIES : 1;
    for (int i = 0; i < tries_max && !has_run && error.kind != ERROR_FATAL; i++) {
        has_run = run_device(runner, lane, planned, planned_count, &error);
    }
    if (has_run) {
        take_results(runner, lane, planned, planned_count);
    } else if (error.kind == ERROR_FATAL) {
        lose_device(runner, &error);
    } else if (planned_count == 1) {
        planned->running->sequence->error = error;
        runner_finish(runner, planned->running->state, FINISH_ERROR);
    } else {
        int half = planned_count / 2;
        run_part(runner, lane, planned, half);
        if (runner->lost.kind == ERROR_NONE) { // else all of the plan is gone
            run_part(runner, lane, planned + half, planned_count - half);
        }
    }
}

static void note_schedule(struct runner *runner, const struct step_plan *plan)
{
    runner->stats.cached_tokens_total += plan->cached_count;
    for (int i = 0; i < plan->sequences_count; i++) {
        const struct running_sequence *running = plan->sequences[i].running;
        struct sequence_timing *timing = &running->sequence->timing;
        if (timing->scheduled_ms == 0) {
            timing->scheduled_ms = runner_now_ms();
            running->sequence->cached_count = running->computed_count;
        }
    }
}

/* The model whose turn it is and its next step. NULL when nothing inside is ready. */
static struct lane *plan_next(struct runner *runner, const struct step_plan **plan_out)
{
    for (;;) {
        bool may_run[TURNS_MAX];
        for (int i = 0; i < runner->lanes_count; i++) {
            may_run[i] = has_work(&runner->lanes[i]);
        }
        int turn = turns_next(&runner->turns, may_run);
        if (turn < 0) {
            return NULL;
        }
        struct lane *lane = &runner->lanes[turn];
        const struct step_plan *plan = scheduler_plan(lane->scheduler);
        runner->stats.preemptions_total += plan->preempted_count;
        *plan_out = plan;
        if (plan->sequences_count > 0) {
            return lane;
        }
        // The blocks of a preempted one may be what the next one waits for.
        lane->is_stalled = plan->preempted_count == 0;
    }
}

void runner_step(struct runner *runner)
{
    const struct step_plan *plan;
    const struct lane *lane = plan_next(runner, &plan);
    if (lane == NULL) {
        return;
    }
    turns_pay(&runner->turns, plan->rows_count);
    note_schedule(runner, plan);
    run_part(runner, lane, plan->sequences, plan->sequences_count);
}
