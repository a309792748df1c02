/* runner and scheduler on a simulated device: outputs, invariants at every step, faults. */
#include "pipeline/engine/runner.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pipeline/engine/kv_blocks.h"
#include "schemas/base/check.h"
#include "tests/support/cmocka.h"
#include "tests/unit/engine/simulated_device.h"
#include "tests/unit/engine/workload.h"

enum { MODELS_MAX = 3, OUTPUT_MAX = 64, SUBMITTED_PER_STEP_MAX = 8 };

struct world {
    struct simulated_device devices[MODELS_MAX];
    struct simulated_options options;
    int models_count;
    struct runner *runner;
    struct workload workload;
    int steps_count;
    int inside_count;
    int finished_count;
    int progress_count;
};

static void on_progress(void *context, struct sequence *sequence)
{
    struct world *world = context;
    world->progress_count++;
    CHECK(sequence->params.wants_progress);
}

static void on_finish(void *context, struct sequence_state *state)
{
    struct world *world = context;
    struct test_job *job = (struct test_job *)(void *)state->sequence;
    job->finished_count++;
    if (job->scheduled_at < 0 && job->sequence.timing.scheduled_ms != 0) {
        job->scheduled_at = world->steps_count;
    }
    world->inside_count--;
    world->finished_count++;
}

struct world_options {
    struct simulated_options device;
    struct workload_options workload;
    int models_count;
    int max_num_seqs;
    int max_num_batched_tokens;
    int max_model_len;
    bool enable_prefix_caching;
};

static void world_open(struct world *world, const struct world_options *options,
                       struct random *random)
{
    struct device tables[MODELS_MAX];
    *world = (struct world){.options = options->device, .models_count = options->models_count};
    world->options.rows_max = options->max_num_batched_tokens;
    world->options.sequences_max = options->max_num_seqs;
    world->options.checks_chains = true;
    for (int i = 0; i < options->models_count; i++) {
        simulated_device_open(&world->devices[i], &world->options);
        tables[i] = simulated_device_table(&world->devices[i]);
    }
    const struct runner_options runner = {
        .devices = tables,
        .devices_count = options->models_count,
        .max_num_seqs = options->max_num_seqs,
        .max_num_batched_tokens = options->max_num_batched_tokens,
        .max_model_len = options->max_model_len,
        .waiting_max = options->workload.jobs_count,
        .enable_prefix_caching = options->enable_prefix_caching,
        .on_progress = on_progress,
        .on_finish = on_finish,
        .context = world,
    };
    struct error error = {0};
    assert_true(runner_open(&runner, &world->runner, &error));
    struct workload_options workload = options->workload;
    workload.models_count = options->models_count;
    workload.vocabulary = options->device.vocabulary;
    workload_open(&world->workload, &workload, random);
}

static void world_close(struct world *world)
{
    runner_close(world->runner);
    workload_close(&world->workload);
    for (int i = 0; i < world->models_count; i++) {
        simulated_device_close(&world->devices[i]);
    }
}

static void submit(struct world *world, int index)
{
    struct test_job *job = &world->workload.jobs[index];
    job->submitted_at = world->steps_count;
    job->sequence.timing.submitted_ms = world->steps_count;
    sequence_state_init(&job->state, &job->sequence, (uint64_t)index, 0);
    world->inside_count++;
    runner_add(world->runner, &job->state);
}

static void check_invariants(const struct world *world)
{
    struct engine_stats stats;
    runner_get_stats(world->runner, &stats);
    assert_in_range(stats.kv_blocks_used, 0, stats.kv_blocks_total);
    for (int i = 0; i < world->models_count; i++) {
        const char *broken = world->devices[i].broken;
        if (broken != NULL) {
            fail_msg("step %d, model %d: broken invariant: %s", world->steps_count, i, broken);
        }
        const struct kv_blocks *blocks = runner_blocks(world->runner, i);
        int idle_count = 0;
        for (int32_t block = 0; block < world->options.blocks_count; block++) {
            idle_count += kv_blocks_references(blocks, block) == 0;
        }
        assert_int_equal(idle_count, kv_blocks_idle_count(blocks));
    }
}

/* How many references the block tables of all running sequences make to each block. */
static void check_references(const struct world *world)
{
    for (int model = 0; model < world->models_count; model++) {
        const struct kv_blocks *blocks = runner_blocks(world->runner, model);
        int *references = calloc((size_t)world->options.blocks_count, sizeof *references);
        assert_non_null(references);
        for (int i = 0; i < world->workload.jobs_count; i++) {
            const struct test_job *job = &world->workload.jobs[i];
            const struct running_sequence *running =
                job->submitted_at < 0 || job->finished_count > 0 ? NULL : job->state.running;
            for (int b = 0;
                 running != NULL && job->sequence.model == model && b < running->blocks_count;
                 b++) {
                references[running->blocks[b]]++;
            }
        }
        for (int32_t block = 0; block < world->options.blocks_count; block++) {
            assert_int_equal(references[block], kv_blocks_references(blocks, block));
        }
        free(references);
    }
}

static void note_scheduled(struct world *world)
{
    for (int i = 0; i < world->workload.jobs_count; i++) {
        struct test_job *job = &world->workload.jobs[i];
        if (job->scheduled_at < 0 && job->sequence.timing.scheduled_ms != 0) {
            job->scheduled_at = world->steps_count;
        }
    }
}

static void step(struct world *world)
{
    runner_step(world->runner);
    note_scheduled(world);
    world->steps_count++;
    check_invariants(world);
    check_references(world);
}

/* A bound on the steps that any workload needs: each step computes a row, and no sequence is
 * computed again more often than there are others that precede it. */
static int steps_bound(const struct world *world)
{
    int tokens = 0;
    for (int i = 0; i < world->workload.jobs_count; i++) {
        const struct sequence *sequence = &world->workload.jobs[i].sequence;
        tokens += sequence->prompt_count + sequence->params.max_tokens;
    }
    return 20 * tokens + 1000;
}

static void cancel_some(struct world *world, struct random *random)
{
    int index = random_between(random, 0, world->workload.jobs_count - 1);
    struct test_job *job = &world->workload.jobs[index];
    if (job->submitted_at >= 0 && job->finished_count == 0) {
        job->was_asked = true;
        runner_finish(world->runner, &job->state,
                      random_chance(random, 50) ? FINISH_CANCELLED : FINISH_STOP);
    }
}

/* Submits everything over time and steps until all is done. */
static void run(struct world *world, struct random *random, int cancel_percent)
{
    int submitted_count = 0;
    int bound = steps_bound(world);
    while (world->finished_count < world->workload.jobs_count) {
        int burst = random_between(random, 0, SUBMITTED_PER_STEP_MAX);
        while (burst-- > 0 && submitted_count < world->workload.jobs_count) {
            submit(world, submitted_count++);
        }
        if (random_chance(random, cancel_percent)) {
            cancel_some(world, random);
        }
        step(world);
        if (world->steps_count > bound) {
            fail_msg("no end after %d steps, %d of %d finished", world->steps_count,
                     world->finished_count, world->workload.jobs_count);
        }
    }
    assert_false(runner_has_work(world->runner));
    for (int i = 0; i < world->models_count; i++) {
        assert_int_equal(kv_blocks_idle_count(runner_blocks(world->runner, i)),
                         world->options.blocks_count);
    }
}

static void check_output(const struct world *world, const struct test_job *job)
{
    int32_t expected[OUTPUT_MAX];
    enum finish_reason reason;
    const struct sequence *sequence = &job->sequence;
    int32_t nan_token = world->devices[sequence->model].nan_token;
    int expected_count = simulated_output(&world->options, sequence, nan_token, expected, &reason);
    int output_count = atomic_load(&sequence->output_count);
    if (job->was_asked) {
        assert_true(output_count <= expected_count);
    } else {
        assert_int_equal(sequence->finish_reason, reason);
        assert_int_equal(output_count, expected_count);
    }
    assert_memory_equal(job->output, expected, (size_t)output_count * sizeof *expected);
}

/* No sequence was first scheduled while one that precedes it had been waiting. */
static void check_order(const struct world *world)
{
    for (int i = 0; i < world->workload.jobs_count; i++) {
        for (int j = 0; j < world->workload.jobs_count; j++) {
            const struct test_job *early = &world->workload.jobs[i];
            const struct test_job *late = &world->workload.jobs[j];
            if (early->sequence.model == late->sequence.model && early->scheduled_at >= 0 &&
                late->scheduled_at >= early->submitted_at &&
                sequence_state_precedes(&early->state, &late->state)) {
                assert_true(early->scheduled_at <= late->scheduled_at);
            }
        }
    }
}

static void check_all(const struct world *world)
{
    for (int i = 0; i < world->workload.jobs_count; i++) {
        const struct test_job *job = &world->workload.jobs[i];
        assert_int_equal(job->finished_count, 1);
        check_output(world, job);
    }
    check_order(world);
}

static struct world_options random_options(struct random *random)
{
    int block_tokens = random_between(random, 1, 8);
    struct world_options options = {
        .device = {.vocabulary = random_between(random, 8, 60),
                   .context_tokens = 100,
                   .block_tokens = block_tokens},
        .workload = {.jobs_count = random_between(random, 1, 60),
                     .prompt_max = random_between(random, 1, 60),
                     .output_max = random_between(random, 1, 39),
                     .shared_prefixes_count = random_between(random, 0, 3),
                     .priorities_count = random_between(random, 0, 3)},
        .models_count = random_between(random, 1, MODELS_MAX),
        .max_num_seqs = random_between(random, 1, 12),
        .enable_prefix_caching = random_chance(random, 70),
    };
    options.max_num_batched_tokens = options.max_num_seqs + random_between(random, 0, 40);
    // Room for one to four of the longest sequences, so that some must be preempted.
    int longest = options.workload.prompt_max + options.workload.output_max;
    options.device.blocks_count =
        random_between(random, longest, 4 * longest) / options.device.block_tokens + 2;
    return options;
}

static void test_random_workloads_give_what_each_sequence_gives_alone(void **state)
{
    (void)state;
    uint64_t seed = random_seed(1);
    int64_t preemptions = 0;
    int64_t cached_tokens = 0;
    for (uint64_t round = 0; round < 1000; round++) {
        struct random random = {seed * 1000 + round};
        struct world_options options = random_options(&random);
        struct world world;
        world_open(&world, &options, &random);
        run(&world, &random, 0);
        check_all(&world);
        struct engine_stats stats;
        runner_get_stats(world.runner, &stats);
        preemptions += stats.preemptions_total;
        cached_tokens += stats.cached_tokens_total;
        world_close(&world);
    }
    print_message("%d preemptions, %d tokens from the cache\n", (int)preemptions,
                  (int)cached_tokens);
    // The workloads do reach what they are meant to test.
    assert_true(preemptions > 500);
    assert_true(cached_tokens > 10000);
}

static void test_cancelled_sequences_leave_at_any_time(void **state)
{
    (void)state;
    uint64_t seed = random_seed(2);
    for (uint64_t round = 0; round < 150; round++) {
        struct random random = {seed * 1000 + round};
        struct world_options options = random_options(&random);
        struct world world;
        world_open(&world, &options, &random);
        run(&world, &random, 50);
        check_all(&world);
        world_close(&world);
    }
}

static void test_a_failing_step_costs_only_the_culprits(void **state)
{
    (void)state;
    uint64_t seed = random_seed(3);
    int errors_count = 0;
    for (uint64_t round = 0; round < 150; round++) {
        struct random random = {seed * 1000 + round};
        struct world_options options = random_options(&random);
        struct world world;
        world_open(&world, &options, &random);
        int32_t poison = world.options.vocabulary;
        for (int i = 0; i < world.models_count; i++) {
            world.devices[i].poison_token = poison;
        }
        for (int i = 0; i < world.workload.jobs_count; i += 5) {
            struct test_job *job = &world.workload.jobs[i];
            job->prompt[random_between(&random, 0, job->sequence.prompt_count - 1)] = poison;
        }
        run(&world, &random, 0);
        for (int i = 0; i < world.workload.jobs_count; i++) {
            const struct test_job *job = &world.workload.jobs[i];
            if (i % 5 != 0) {
                check_output(&world, job);
                continue;
            }
            assert_int_equal(job->finished_count, 1);
            assert_int_equal(job->sequence.finish_reason, FINISH_ERROR);
            assert_string_equal(job->sequence.error.message, "the simulated device failed");
            errors_count++;
        }
        world_close(&world);
    }
    assert_true(errors_count > 100);
}

static void test_a_step_that_fails_once_costs_nobody_in_company(void **state)
{
    (void)state;
    struct random random = {random_seed(4)};
    for (int fails_at = 1; fails_at < 40; fails_at++) {
        struct world_options options = random_options(&random);
        options.models_count = 1;
        options.workload.jobs_count = 12;
        options.max_num_seqs = 8;
        options.max_num_batched_tokens = 200;
        struct world world;
        world_open(&world, &options, &random);
        world.devices[0].fails_at = fails_at % 2 == 0 ? fails_at / 2 : 0;
        world.devices[0].fails_sample_at = fails_at % 2 == 1 ? fails_at / 2 : 0;
        run(&world, &random, 0);
        // A step of one sequence is not tried again.
        int errors_count = 0;
        for (int i = 0; i < world.workload.jobs_count; i++) {
            const struct test_job *job = &world.workload.jobs[i];
            bool has_failed = job->sequence.finish_reason == FINISH_ERROR;
            errors_count += has_failed;
            if (!has_failed) {
                check_output(&world, job);
            }
        }
        assert_true(errors_count <= 1);
        world_close(&world);
    }
}

static void test_a_dead_device_fails_every_sequence_once(void **state)
{
    (void)state;
    struct random random = {random_seed(5)};
    struct world_options options = random_options(&random);
    struct world world;
    world_open(&world, &options, &random);
    for (int i = 0; i < world.models_count; i++) {
        world.devices[i].fails_always = true;
    }
    run(&world, &random, 0);
    for (int i = 0; i < world.workload.jobs_count; i++) {
        assert_int_equal(world.workload.jobs[i].finished_count, 1);
        assert_int_equal(world.workload.jobs[i].sequence.finish_reason, FINISH_ERROR);
    }
    world_close(&world);
}

static void test_logits_that_are_not_finite_fail_their_sequence_alone(void **state)
{
    (void)state;
    uint64_t seed = random_seed(6);
    for (uint64_t round = 0; round < 50; round++) {
        struct random random = {seed * 1000 + round};
        struct world_options options = random_options(&random);
        struct world world;
        world_open(&world, &options, &random);
        int32_t nan = world.options.vocabulary + 1;
        for (int i = 0; i < world.models_count; i++) {
            world.devices[i].nan_token = nan;
        }
        for (int i = 0; i < world.workload.jobs_count; i += 4) {
            struct test_job *job = &world.workload.jobs[i];
            job->prompt[job->sequence.prompt_count - 1] = nan;
        }
        run(&world, &random, 0);
        check_all(&world);
        for (int i = 0; i < world.workload.jobs_count; i += 4) {
            assert_int_equal(world.workload.jobs[i].sequence.error.kind, ERROR_INTERNAL);
        }
        world_close(&world);
    }
}

static struct world_options plain_options(void)
{
    return (struct world_options){
        .device = {.vocabulary = 50, .context_tokens = 64, .block_tokens = 4, .blocks_count = 64},
        .workload = {.jobs_count = 4, .prompt_max = 8, .output_max = 8},
        .models_count = 1,
        .max_num_seqs = 4,
        .max_num_batched_tokens = 32,
        .enable_prefix_caching = true,
    };
}

/* The first job with a prompt of 0, 1, 2, ... and nothing else set; the test runs it alone. */
static struct test_job *plain_job(struct world *world, int index, int prompt_count, int max_tokens)
{
    struct test_job *job = &world->workload.jobs[index];
    job->prompt = realloc(job->prompt, (size_t)prompt_count * sizeof *job->prompt);
    job->output = realloc(job->output, (size_t)max_tokens * sizeof *job->output);
    assert_non_null(job->prompt);
    assert_non_null(job->output);
    for (int i = 0; i < prompt_count; i++) {
        job->prompt[i] = i % world->options.vocabulary;
    }
    job->sequence = (struct sequence){.prompt = job->prompt,
                                      .prompt_count = prompt_count,
                                      .output = job->output,
                                      .params = {.max_tokens = max_tokens, .ignore_eos = true}};
    return job;
}

static void run_job(struct world *world, int index)
{
    submit(world, index);
    for (int i = 0; world->workload.jobs[index].finished_count == 0; i++) {
        assert_true(i < 1000);
        step(world);
    }
}

static void test_a_full_context_ends_with_length(void **state)
{
    (void)state;
    struct random random = {7};
    struct world_options options = plain_options();
    options.max_model_len = 20;
    struct world world;
    world_open(&world, &options, &random);
    assert_int_equal(runner_tokens_max(world.runner, 0), 20);
    struct test_job *job = plain_job(&world, 0, 10, 100);
    run_job(&world, 0);
    assert_int_equal(job->sequence.finish_reason, FINISH_LENGTH);
    assert_int_equal(atomic_load(&job->sequence.output_count), 10);
    world_close(&world);
}

static void test_a_pool_that_one_sequence_fills_is_an_error_with_figures(void **state)
{
    (void)state;
    struct random random = {8};
    struct world_options options = plain_options();
    options.device.blocks_count = 5;
    struct world world;
    world_open(&world, &options, &random);
    assert_int_equal(runner_tokens_max(world.runner, 0), 20);
    struct test_job *job = plain_job(&world, 0, 10, 100);
    run_job(&world, 0);
    assert_int_equal(job->sequence.finish_reason, FINISH_ERROR);
    assert_int_equal(job->sequence.error.kind, ERROR_TOO_LARGE);
    assert_string_equal(job->sequence.error.message,
                        "prompt and output have 20 tokens, which fill the kv cache of 5 blocks "
                        "alone; raise its memory or lower max_tokens");
    world_close(&world);
}

static void test_what_can_never_run_finishes_at_once(void **state)
{
    (void)state;
    struct random random = {9};
    struct world_options options = plain_options();
    options.device.blocks_count = 5;
    struct world world;
    world_open(&world, &options, &random);
    static const struct {
        int prompt_count;
        int32_t first_token;
        enum error_kind kind;
    } cases[] = {{0, 0, ERROR_INVALID},
                 {64, 0, ERROR_INVALID},
                 {20, 0, ERROR_TOO_LARGE},
                 {3, -1, ERROR_INVALID},
                 {3, 50 + SIMULATED_RESERVED_TOKENS, ERROR_INVALID}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct test_job *job = plain_job(&world, 0, 64, 4);
        job->sequence.prompt_count = cases[i].prompt_count;
        job->prompt[0] = cases[i].first_token;
        job->finished_count = 0;
        submit(&world, 0);
        assert_int_equal(job->finished_count, 1);
        assert_int_equal(job->sequence.finish_reason, FINISH_ERROR);
        assert_int_equal(job->sequence.error.kind, cases[i].kind);
        assert_false(runner_has_work(world.runner));
    }
    struct test_job *job = plain_job(&world, 0, 19, 4);
    job->finished_count = 0;
    run_job(&world, 0);
    assert_int_equal(atomic_load(&job->sequence.output_count), 1);
    world_close(&world);
}

static void test_a_repeated_prompt_is_served_from_the_cache_but_for_its_last_token(void **state)
{
    (void)state;
    for (int caches = 0; caches < 2; caches++) {
        struct random random = {10};
        struct world_options options = plain_options();
        options.enable_prefix_caching = caches == 1;
        struct world world;
        world_open(&world, &options, &random);
        struct test_job *first = plain_job(&world, 0, 16, 8);
        run_job(&world, 0);
        struct test_job *second = plain_job(&world, 1, 16, 8);
        run_job(&world, 1);
        assert_int_equal(first->sequence.cached_count, 0);
        assert_int_equal(second->sequence.cached_count, caches == 1 ? 12 : 0);
        assert_memory_equal(first->output, second->output, 8 * sizeof(int32_t));
        struct engine_stats stats;
        runner_get_stats(world.runner, &stats);
        assert_int_equal(stats.cached_tokens_total, caches == 1 ? 12 : 0);
        assert_int_equal(stats.prompt_tokens_total, caches == 1 ? 20 : 32);
        assert_int_equal(stats.generation_tokens_total, 16);
        world_close(&world);
    }
}

static void test_output_is_cached_for_a_prompt_that_goes_on_from_it(void **state)
{
    (void)state;
    struct random random = {11};
    struct world_options options = plain_options();
    struct world world;
    world_open(&world, &options, &random);
    struct test_job *first = plain_job(&world, 0, 10, 8);
    run_job(&world, 0);
    struct test_job *second = plain_job(&world, 1, 20, 2);
    memcpy(second->prompt + 10, first->output, 8 * sizeof(int32_t));
    run_job(&world, 1);
    // Positions 0 to 16 were computed: four blocks of four.
    assert_int_equal(second->sequence.cached_count, 16);
    check_output(&world, second);
    world_close(&world);
}

static void test_lower_priority_runs_first(void **state)
{
    (void)state;
    struct random random = {12};
    struct world_options options = plain_options();
    options.max_num_seqs = 1;
    struct world world;
    world_open(&world, &options, &random);
    static const int priorities[] = {2, 1, 0, 1};
    static const int order[] = {3, 1, 0, 2}; // place of each job
    for (int i = 0; i < 4; i++) {
        plain_job(&world, i, 4, 2)->sequence.params.priority = priorities[i];
        submit(&world, i);
    }
    while (runner_has_work(world.runner)) {
        step(&world);
    }
    for (int i = 0; i < 4; i++) {
        assert_int_equal(world.workload.jobs[i].scheduled_at / 2, order[i]);
    }
    world_close(&world);
}

static void test_models_with_work_get_equal_shares_of_rows(void **state)
{
    (void)state;
    struct random random = {13};
    struct world_options options = plain_options();
    options.models_count = 3;
    options.enable_prefix_caching = false; // every row is computed
    options.max_num_seqs = 16;
    options.device.blocks_count = 500;
    options.device.context_tokens = 1000;
    options.workload =
        (struct workload_options){.jobs_count = 900, .prompt_max = 40, .output_max = 60};
    struct world world;
    world_open(&world, &options, &random);
    for (int i = 0; i < world.workload.jobs_count; i++) {
        // The models differ in work: long prompts here, long outputs there.
        struct test_job *job = &world.workload.jobs[i];
        int model = job->sequence.model;
        job = plain_job(&world, i, model == 0 ? 40 : 2, model == 0 ? 1 : 60);
        job->sequence.model = model;
        submit(&world, i);
    }
    for (int i = 0; i < 1500; i++) {
        step(&world);
    }
    double rows = 0;
    for (int i = 0; i < 3; i++) {
        rows += (double)world.devices[i].rows_count;
    }
    for (int i = 0; i < 3; i++) {
        double share = (double)world.devices[i].rows_count / rows;
        assert_true(share > 0.30 && share < 0.37);
    }
    world_close(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_workloads_give_what_each_sequence_gives_alone),
        cmocka_unit_test(test_cancelled_sequences_leave_at_any_time),
        cmocka_unit_test(test_a_failing_step_costs_only_the_culprits),
        cmocka_unit_test(test_a_step_that_fails_once_costs_nobody_in_company),
        cmocka_unit_test(test_a_dead_device_fails_every_sequence_once),
        cmocka_unit_test(test_logits_that_are_not_finite_fail_their_sequence_alone),
        cmocka_unit_test(test_a_full_context_ends_with_length),
        cmocka_unit_test(test_a_pool_that_one_sequence_fills_is_an_error_with_figures),
        cmocka_unit_test(test_what_can_never_run_finishes_at_once),
        cmocka_unit_test(test_a_repeated_prompt_is_served_from_the_cache_but_for_its_last_token),
        cmocka_unit_test(test_output_is_cached_for_a_prompt_that_goes_on_from_it),
        cmocka_unit_test(test_lower_priority_runs_first),
        cmocka_unit_test(test_models_with_work_get_equal_shares_of_rows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
