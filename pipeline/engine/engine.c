/* engine: the thread that carries sequences from the inbox to the runner and back. */
#include "pipeline/engine/engine.h"

#include <pthread.h>
#include <stdlib.h>

#include "pipeline/engine/engine_internal.h"
#include "pipeline/engine/inbox.h"
#include "pipeline/engine/runner.h"
#include "pipeline/engine/turns.h"
#include "schemas/base/check.h"

struct engine {
    struct inbox *inbox;
    struct runner *runner; // the engine thread's, once it runs
    struct engine_observer observer;
    int models_count;
    pthread_t thread;
};

enum { SEQUENCES_MAX = 1 << 16, ROWS_MAX = 1 << 20, WAITING_MAX = 1 << 24 };

static bool check_range(const char *name, int value, int value_min, int value_max,
                        struct error *error)
{
    if (value < value_min || value > value_max) {
        return error_set(error, ERROR_CONFIG, "invalid_value", NULL,
                         "%s is %d, must be at least %d and at most %d", name, value, value_min,
                         value_max);
    }
    return true;
}

bool engine_check_options(const struct engine_options *options, struct error *error)
{
    if (!check_range("the number of models", options->models_count, 1, TURNS_MAX, error) ||
        !check_range("max_num_seqs", options->max_num_seqs, 1, SEQUENCES_MAX, error) ||
        !check_range("max_num_batched_tokens", options->max_num_batched_tokens, 1, ROWS_MAX,
                     error) ||
        !check_range("max_waiting", options->max_waiting, 1, WAITING_MAX, error)) {
        return false;
    }
    if (options->max_num_batched_tokens < options->max_num_seqs) {
        return error_set(error, ERROR_CONFIG, "invalid_value", NULL,
                         "max_num_batched_tokens is %d, must be at least max_num_seqs, which is %d",
                         options->max_num_batched_tokens, options->max_num_seqs);
    }
    if (options->max_model_len != 0 && options->max_model_len < 2) {
        return error_set(error, ERROR_CONFIG, "invalid_value", NULL,
                         "max_model_len is %d, must be 0 (the model's own) or at least 2",
                         options->max_model_len);
    }
    return true;
}

static void report_progress(void *context, struct sequence *sequence)
{
    const struct engine *engine = context;
    if (engine->observer.on_progress != NULL) {
        engine->observer.on_progress(engine->observer.context, sequence);
    }
}

static void report_finish(void *context, struct sequence_state *state)
{
    const struct engine *engine = context;
    struct sequence *sequence = state->sequence;
    inbox_free_state(engine->inbox, state);
    engine->observer.on_finish(engine->observer.context, sequence);
}

static void add_submitted(struct engine *engine, struct sequence *submitted)
{
    while (submitted != NULL) {
        struct sequence *next = submitted->next; // runner_add may finish the sequence
        runner_add(engine->runner, submitted->state);
        submitted = next;
    }
}

static void *run_engine(void *argument)
{
    struct engine *engine = argument;
    for (;;) {
        struct engine_stats stats;
        struct sequence *submitted;
        runner_get_stats(engine->runner, &stats);
        bool may_wait = !runner_has_work(engine->runner);
        bool goes_on = inbox_collect(engine->inbox, &stats, may_wait, &submitted);
        add_submitted(engine, submitted);
        runner_wake(engine->runner);
        if (!goes_on) {
            break;
        }
        struct sequence_state *state;
        enum finish_reason reason;
        while ((state = inbox_take_asked(engine->inbox, &reason)) != NULL) {
            runner_finish(engine->runner, state, reason);
        }
        runner_step(engine->runner);
    }
    struct sequence_state *state;
    while ((state = inbox_any_inside(engine->inbox)) != NULL) {
        runner_finish(engine->runner, state, FINISH_CANCELLED);
    }
    return NULL;
}

bool engine_open_devices(const struct engine_options *options, const struct device *devices,
                         struct engine **engine_out, struct error *error)
{
    bool is_open = false;
    if (!engine_check_options(options, error)) {
        return false;
    }
    struct engine *engine = calloc(1, sizeof *engine);
    if (engine == NULL) {
        return error_set(error, ERROR_FATAL, "out_of_memory", NULL, "no memory for the engine");
    }
    engine->observer = options->observer;
    engine->models_count = options->models_count;
    // Cannot overflow: engine_check_options bounds the factors.
    int inside_max = options->max_waiting + options->models_count * options->max_num_seqs;
    const struct runner_options runner = {
        .devices = devices,
        .devices_count = options->models_count,
        .max_num_seqs = options->max_num_seqs,
        .max_num_batched_tokens = options->max_num_batched_tokens,
        .max_model_len = options->max_model_len,
        .waiting_max = inside_max,
        .enable_prefix_caching = options->enable_prefix_caching,
        .on_progress = report_progress,
        .on_finish = report_finish,
        .context = engine,
    };
    if (!runner_open(&runner, &engine->runner, error) ||
        !inbox_open(options->max_waiting, inside_max, &engine->inbox, error)) {
        goto out;
    }
    if (pthread_create(&engine->thread, NULL, run_engine, engine) != 0) {
        (void)error_set(error, ERROR_FATAL, "no_thread", NULL, "cannot start the engine's thread");
        goto out;
    }
    is_open = true;
    *engine_out = engine;
out:
    if (!is_open) {
        inbox_close(engine->inbox);
        runner_close(engine->runner);
        free(engine);
    }
    return is_open;
}

void engine_close(struct engine *engine)
{
    if (engine == NULL) {
        return;
    }
    inbox_stop(engine->inbox);
    CHECK(pthread_join(engine->thread, NULL) == 0);
    inbox_close(engine->inbox);
    runner_close(engine->runner);
    free(engine);
}

bool engine_submit(struct engine *engine, struct sequence *sequence)
{
    CHECK(sequence->model >= 0 && sequence->model < engine->models_count);
    atomic_store_explicit(&sequence->output_count, 0, memory_order_relaxed);
    sequence->finish_reason = FINISH_NONE;
    sequence->cached_count = 0;
    sequence->timing = (struct sequence_timing){.submitted_ms = runner_now_ms()};
    sequence->error = (struct error){0};
    sequence->state = NULL;
    return inbox_submit(engine->inbox, sequence);
}

void engine_cancel(struct engine *engine, struct sequence *sequence)
{
    inbox_ask(engine->inbox, sequence, FINISH_CANCELLED, false);
}

void engine_withdraw(struct engine *engine, struct sequence *sequence)
{
    inbox_ask(engine->inbox, sequence, FINISH_CANCELLED, true);
}

void engine_stop(struct engine *engine, struct sequence *sequence)
{
    inbox_ask(engine->inbox, sequence, FINISH_STOP, false);
}

void engine_resume(struct engine *engine, struct sequence *sequence)
{
    atomic_fetch_add_explicit(&sequence->ready_count, 1, memory_order_release);
    inbox_wake(engine->inbox);
}

int engine_tokens_max(const struct engine *engine, int model)
{
    return runner_tokens_max(engine->runner, model);
}

void engine_get_stats(const struct engine *engine, struct engine_stats *stats_out)
{
    inbox_get_stats(engine->inbox, stats_out);
}
