/* engine: its thread, under many threads that submit, cancel and stop. */
#include "pipeline/engine/engine.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "pipeline/engine/engine_internal.h"
#include "schemas/base/check.h"
#include "tests/support/cmocka.h"
#include "tests/unit/engine/simulated_device.h"
#include "tests/unit/engine/workload.h"

enum { THREADS = 4, JOBS = 300, OUTPUT_MAX = 32 };

struct harness {
    struct simulated_device device;
    struct engine *engine;
    pthread_mutex_t mutex;
    pthread_cond_t has_finished;
    int finished_count;
    int progress_count;
    bool stops_on_progress;
};

static void on_progress(void *context, struct sequence *sequence)
{
    struct harness *harness = context;
    harness->progress_count++;
    if (sequence->params.waits_for_ready) {
        engine_resume(harness->engine, sequence);
    }
    if (harness->stops_on_progress && atomic_load(&sequence->output_count) == 3) {
        engine_stop(harness->engine, sequence);
    }
}

static void on_finish(void *context, struct sequence *sequence)
{
    struct harness *harness = context;
    CHECK(pthread_mutex_lock(&harness->mutex) == 0);
    ((struct test_job *)(void *)sequence)->finished_count++;
    harness->finished_count++;
    CHECK(pthread_cond_broadcast(&harness->has_finished) == 0);
    CHECK(pthread_mutex_unlock(&harness->mutex) == 0);
}

static struct engine_options engine_options_for(struct harness *harness)
{
    return (struct engine_options){
        .models_count = 1,
        .max_num_seqs = 8,
        .max_num_batched_tokens = 24,
        .max_waiting = 20,
        .enable_prefix_caching = true,
        .observer = {on_progress, on_finish, harness},
    };
}

static void harness_open(struct harness *harness, const struct engine_options *options)
{
    const struct simulated_options device = {.vocabulary = 40,
                                             .context_tokens = 80,
                                             .blocks_count = 40,
                                             .block_tokens = 4,
                                             .rows_max = options->max_num_batched_tokens,
                                             .sequences_max = options->max_num_seqs,
                                             .checks_chains = true};
    simulated_device_open(&harness->device, &device);
    CHECK(pthread_mutex_init(&harness->mutex, NULL) == 0);
    CHECK(pthread_cond_init(&harness->has_finished, NULL) == 0);
    const struct device table = simulated_device_table(&harness->device);
    struct error error = {0};
    assert_true(engine_open_devices(options, &table, &harness->engine, &error));
}

static void harness_close(struct harness *harness)
{
    engine_close(harness->engine);
    assert_null(harness->device.broken);
    (void)pthread_cond_destroy(&harness->has_finished);
    (void)pthread_mutex_destroy(&harness->mutex);
    simulated_device_close(&harness->device);
}

static void wait_for_finished(struct harness *harness, int count)
{
    CHECK(pthread_mutex_lock(&harness->mutex) == 0);
    while (harness->finished_count < count) {
        CHECK(pthread_cond_wait(&harness->has_finished, &harness->mutex) == 0);
    }
    CHECK(pthread_mutex_unlock(&harness->mutex) == 0);
}

static void pause_shortly(void)
{
    const struct timespec pause = {.tv_nsec = 50000};
    (void)nanosleep(&pause, NULL);
}

/* The stats come to say that nothing is inside and no block is held. */
static void wait_until_idle(const struct harness *harness)
{
    struct engine_stats stats;
    engine_get_stats(harness->engine, &stats);
    while (stats.running > 0 || stats.waiting > 0 || stats.kv_blocks_used > 0) {
        pause_shortly();
        engine_get_stats(harness->engine, &stats);
    }
}

static void workload_for(struct workload *workload, int jobs_count, uint64_t seed)
{
    struct random random = {seed};
    const struct workload_options options = {.jobs_count = jobs_count,
                                             .models_count = 1,
                                             .vocabulary = 40,
                                             .prompt_max = 40,
                                             .output_max = OUTPUT_MAX,
                                             .shared_prefixes_count = 2,
                                             .priorities_count = 2};
    workload_open(workload, &options, &random);
}

static void check_output(const struct harness *harness, const struct test_job *job)
{
    int32_t expected[OUTPUT_MAX];
    enum finish_reason reason;
    int expected_count =
        simulated_output(&harness->device.options, &job->sequence, -1, expected, &reason);
    int output_count = atomic_load(&job->sequence.output_count);
    assert_int_equal(job->finished_count, 1);
    assert_true(output_count <= expected_count);
    assert_memory_equal(job->output, expected, (size_t)output_count * sizeof *expected);
    if (job->sequence.finish_reason != FINISH_CANCELLED && !job->was_asked) {
        assert_int_equal(job->sequence.finish_reason, reason);
        assert_int_equal(output_count, expected_count);
    }
}

struct submitter {
    struct harness *harness;
    struct workload workload;
    uint64_t seed;
    int asks_percent; // of jobs that are cancelled, withdrawn or stopped, soon after or later
    pthread_t thread;
};

static void ask(struct engine *engine, struct test_job *job, int way)
{
    job->was_asked = true;
    if (way == 0) {
        engine_cancel(engine, &job->sequence);
    } else if (way == 1) {
        engine_stop(engine, &job->sequence);
    } else {
        engine_withdraw(engine, &job->sequence);
    }
}

static void *run_submitter(void *argument)
{
    struct submitter *submitter = argument;
    struct engine *engine = submitter->harness->engine;
    struct random random = {submitter->seed};
    for (int i = 0; i < submitter->workload.jobs_count; i++) {
        while (!engine_submit(engine, &submitter->workload.jobs[i].sequence)) {
            pause_shortly();
        }
        if (submitter->workload.jobs[i].sequence.params.waits_for_ready) {
            engine_resume(engine, &submitter->workload.jobs[i].sequence);
        }
        if (random_chance(&random, submitter->asks_percent)) {
            // Any earlier job: waiting, running, finishing or finished.
            int earliest = i < 20 ? 0 : i - 20;
            ask(engine, &submitter->workload.jobs[random_between(&random, earliest, i)],
                random_between(&random, 0, 2));
        }
        struct engine_stats stats;
        engine_get_stats(engine, &stats);
        CHECK(stats.waiting >= 0 && stats.running >= 0);
    }
    return NULL;
}

static void run_submitters(int asks_percent)
{
    uint64_t seed = random_seed(1);
    struct harness harness = {0};
    const struct engine_options options = engine_options_for(&harness);
    harness_open(&harness, &options);
    struct submitter submitters[THREADS];
    for (int i = 0; i < THREADS; i++) {
        submitters[i] = (struct submitter){
            .harness = &harness, .seed = seed + (uint64_t)i, .asks_percent = asks_percent};
        workload_for(&submitters[i].workload, JOBS, seed + 100 + (uint64_t)i);
        for (int j = 0; j < JOBS; j += 3) { // resumed from here, then by on_progress
            struct sequence_params *params = &submitters[i].workload.jobs[j].sequence.params;
            params->waits_for_ready = true;
            params->wants_progress = true;
        }
        CHECK(pthread_create(&submitters[i].thread, NULL, run_submitter, &submitters[i]) == 0);
    }
    for (int i = 0; i < THREADS; i++) {
        CHECK(pthread_join(submitters[i].thread, NULL) == 0);
    }
    wait_for_finished(&harness, THREADS * JOBS);
    wait_until_idle(&harness);
    for (int i = 0; i < THREADS; i++) {
        for (int j = 0; j < JOBS; j++) {
            check_output(&harness, &submitters[i].workload.jobs[j]);
        }
    }
    harness_close(&harness);
    for (int i = 0; i < THREADS; i++) {
        workload_close(&submitters[i].workload);
    }
}

static void test_many_threads_get_what_each_sequence_gives_alone(void **state)
{
    (void)state;
    run_submitters(0);
}

static void test_cancel_and_stop_from_other_threads_race_with_the_end(void **state)
{
    (void)state;
    run_submitters(60);
}

static void test_close_finishes_what_is_inside_as_cancelled(void **state)
{
    (void)state;
    struct harness harness = {0};
    struct engine_options options = engine_options_for(&harness);
    options.max_waiting = 100;
    harness_open(&harness, &options);
    struct workload workload;
    workload_for(&workload, 100, 3);
    for (int i = 0; i < 100; i++) {
        assert_true(engine_submit(harness.engine, &workload.jobs[i].sequence));
    }
    harness_close(&harness);
    assert_int_equal(harness.finished_count, 100);
    for (int i = 0; i < 100; i++) {
        check_output(&harness, &workload.jobs[i]);
    }
    workload_close(&workload);
}

/* A forward that waits until the test lets it go, so that the engine stands still inside a step. */
struct gate {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    bool is_open;
    bool has_arrived;
    struct device inner;
};

static bool gated_forward(void *context, const struct model_batch *batch, struct error *error)
{
    struct gate *gate = context;
    CHECK(pthread_mutex_lock(&gate->mutex) == 0);
    gate->has_arrived = true;
    CHECK(pthread_cond_broadcast(&gate->changed) == 0);
    while (!gate->is_open) {
        CHECK(pthread_cond_wait(&gate->changed, &gate->mutex) == 0);
    }
    CHECK(pthread_mutex_unlock(&gate->mutex) == 0);
    return gate->inner.forward(gate->inner.context, batch, error);
}

static bool gated_sample(void *context, const struct sample_params *params, int32_t *tokens_out,
                         float *logprobs_out, struct error *error)
{
    const struct gate *gate = context;
    return gate->inner.sample(gate->inner.context, params, tokens_out, logprobs_out, error);
}

static void gate_open(struct gate *gate)
{
    CHECK(pthread_mutex_lock(&gate->mutex) == 0);
    gate->is_open = true;
    CHECK(pthread_cond_broadcast(&gate->changed) == 0);
    CHECK(pthread_mutex_unlock(&gate->mutex) == 0);
}

static void gate_wait(struct gate *gate)
{
    CHECK(pthread_mutex_lock(&gate->mutex) == 0);
    while (!gate->has_arrived) {
        CHECK(pthread_cond_wait(&gate->changed, &gate->mutex) == 0);
    }
    CHECK(pthread_mutex_unlock(&gate->mutex) == 0);
}

/* As harness_open, with the gate before the device. */
static void gated_open(struct harness *harness, const struct engine_options *options,
                       struct gate *gate)
{
    harness_open(harness, options);
    engine_close(harness->engine);
    *gate = (struct gate){.mutex = PTHREAD_MUTEX_INITIALIZER,
                          .changed = PTHREAD_COND_INITIALIZER,
                          .inner = simulated_device_table(&harness->device)};
    struct device table = gate->inner;
    table.forward = gated_forward;
    table.sample = gated_sample;
    table.context = gate;
    struct error error = {0};
    assert_true(engine_open_devices(options, &table, &harness->engine, &error));
}

static void test_submit_is_refused_beyond_max_waiting(void **state)
{
    (void)state;
    struct harness harness = {0};
    struct engine_options options = engine_options_for(&harness);
    options.max_waiting = 5;
    options.max_num_seqs = 1;
    struct gate gate;
    gated_open(&harness, &options, &gate);
    struct workload workload;
    workload_for(&workload, 10, 4);
    assert_true(engine_submit(harness.engine, &workload.jobs[0].sequence));
    gate_wait(&gate); // the first runs its first step, which the engine has not published yet
    for (int i = 1; i < 5; i++) {
        assert_true(engine_submit(harness.engine, &workload.jobs[i].sequence));
    }
    assert_false(engine_submit(harness.engine, &workload.jobs[5].sequence));
    struct engine_stats stats;
    engine_get_stats(harness.engine, &stats);
    assert_int_equal(stats.waiting + stats.running, 5);
    // Cancelled while the step runs: one that runs, one that waits, one twice.
    engine_cancel(harness.engine, &workload.jobs[0].sequence);
    engine_withdraw(harness.engine, &workload.jobs[1].sequence);
    engine_cancel(harness.engine, &workload.jobs[1].sequence);
    engine_cancel(harness.engine, &workload.jobs[5].sequence); // never submitted
    gate_open(&gate);
    wait_for_finished(&harness, 5);
    assert_int_equal(workload.jobs[1].sequence.finish_reason, FINISH_CANCELLED);
    assert_true(atomic_load(&workload.jobs[0].sequence.output_count) <= 1);
    assert_int_equal(workload.jobs[5].finished_count, 0);
    engine_get_stats(harness.engine, &stats);
    assert_int_equal(stats.waiting, 0);
    harness_close(&harness);
    workload_close(&workload);
}

static void test_withdraw_ends_what_waits_and_leaves_what_runs(void **state)
{
    (void)state;
    struct harness harness = {0};
    struct engine_options options = engine_options_for(&harness);
    options.max_num_seqs = 1;
    struct gate gate;
    gated_open(&harness, &options, &gate);
    struct workload workload;
    workload_for(&workload, 3, 6);
    assert_true(engine_submit(harness.engine, &workload.jobs[0].sequence));
    gate_wait(&gate);
    assert_true(engine_submit(harness.engine, &workload.jobs[1].sequence));
    assert_true(engine_submit(harness.engine, &workload.jobs[2].sequence));
    engine_withdraw(harness.engine, &workload.jobs[0].sequence);
    engine_withdraw(harness.engine, &workload.jobs[1].sequence);
    gate_open(&gate);
    wait_for_finished(&harness, 3);
    assert_int_equal(workload.jobs[1].sequence.finish_reason, FINISH_CANCELLED);
    assert_int_equal(atomic_load(&workload.jobs[1].sequence.output_count), 0);
    assert_true(workload.jobs[0].sequence.finish_reason != FINISH_CANCELLED);
    check_output(&harness, &workload.jobs[0]);
    check_output(&harness, &workload.jobs[2]);
    harness_close(&harness);
    workload_close(&workload);
}

static void test_stop_within_progress_ends_the_sequence_at_once(void **state)
{
    (void)state;
    struct harness harness = {.stops_on_progress = true};
    const struct engine_options options = engine_options_for(&harness);
    harness_open(&harness, &options);
    struct workload workload;
    workload_for(&workload, 1, 5);
    struct sequence *sequence = &workload.jobs[0].sequence;
    sequence->params.ignore_eos = true;
    sequence->params.wants_progress = true;
    int32_t output[OUTPUT_MAX];
    sequence->output = output;
    sequence->logprobs = NULL;
    sequence->params.max_tokens = OUTPUT_MAX;
    assert_true(engine_submit(harness.engine, sequence));
    wait_for_finished(&harness, 1);
    assert_int_equal(sequence->finish_reason, FINISH_STOP);
    assert_int_equal(atomic_load(&sequence->output_count), 3);
    assert_true(sequence->timing.submitted_ms <= sequence->timing.scheduled_ms);
    assert_true(sequence->timing.scheduled_ms <= sequence->timing.first_token_ms);
    assert_true(sequence->timing.first_token_ms <= sequence->timing.finished_ms);
    harness_close(&harness);
    workload_close(&workload);
}

static void test_impossible_options_are_refused(void **state)
{
    (void)state;
    struct harness harness = {0};
    const struct engine_options good = engine_options_for(&harness);
    struct engine_options bad[] = {good, good, good, good, good, good};
    bad[0].models_count = 0;
    bad[1].max_num_seqs = 0;
    bad[2].max_num_batched_tokens = 7;
    bad[3].max_waiting = 0;
    bad[4].max_model_len = 1;
    bad[5].models_count = 1000;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct error error = {0};
        assert_false(engine_check_options(&bad[i], &error));
        assert_int_equal(error.kind, ERROR_CONFIG);
    }
    struct error error = {0};
    assert_false(engine_check_options(&bad[2], &error));
    assert_string_equal(error.message, "max_num_batched_tokens is 7, must be at least "
                                       "max_num_seqs, which is 8");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_many_threads_get_what_each_sequence_gives_alone),
        cmocka_unit_test(test_cancel_and_stop_from_other_threads_race_with_the_end),
        cmocka_unit_test(test_close_finishes_what_is_inside_as_cancelled),
        cmocka_unit_test(test_submit_is_refused_beyond_max_waiting),
        cmocka_unit_test(test_withdraw_ends_what_waits_and_leaves_what_runs),
        cmocka_unit_test(test_stop_within_progress_ends_the_sequence_at_once),
        cmocka_unit_test(test_impossible_options_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
