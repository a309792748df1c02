/* scheduler: limits, prefix cache, order and turns, one case each. */
#include "pipeline/engine/scheduler.h"

#include <stdlib.h>
#include <string.h>

#include "tests/support/cmocka.h"
#include "tests/unit/engine/world.h"

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
    world_submit(world, index);
    for (int i = 0; world->workload.jobs[index].finished_count == 0; i++) {
        assert_true(i < 1000);
        world_step(world);
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
        world_submit(&world, 0);
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
    world_check_output(&world, second);
    world_close(&world);
}

static int64_t prompt_rows_of(struct world *world)
{
    struct engine_stats stats;
    for (int i = 0; i < world->workload.jobs_count; i++) {
        world_submit(world, i);
    }
    while (runner_has_work(world->runner)) {
        world_step(world);
    }
    runner_get_stats(world->runner, &stats);
    return stats.prompt_tokens_total;
}

static void test_equal_prompts_that_come_together_are_computed_once(void **state)
{
    (void)state;
    struct random random = {14};
    struct world_options options = plain_options();
    options.workload.jobs_count = 8;
    options.max_num_seqs = 8;
    options.max_num_batched_tokens = 400;
    struct world world;
    world_open(&world, &options, &random);
    for (int i = 0; i < 8; i++) {
        (void)plain_job(&world, i, 41, 2);
    }
    assert_int_equal(prompt_rows_of(&world), 41 + 7);
    for (int i = 0; i < 8; i++) {
        world_check_output(&world, &world.workload.jobs[i]);
    }
    world_close(&world);
}

/* 512 of 2,048 prompt tokens are shared; the ideal computes them once. */
static void test_a_shared_quarter_saves_nearly_all_that_it_can(void **state)
{
    (void)state;
    static const int budgets[] = {256, 512, 2048, 8192};
    enum { JOBS = 32, PROMPT = 2048, SHARED = 512 };
    for (size_t b = 0; b < sizeof budgets / sizeof budgets[0]; b++) {
        struct random random = {15};
        struct world_options options = plain_options();
        options.device.context_tokens = PROMPT + 8;
        options.device.block_tokens = 16;
        options.device.blocks_count = JOBS * (PROMPT / 16 + 1);
        options.workload.jobs_count = JOBS;
        options.max_num_seqs = JOBS;
        options.max_num_batched_tokens = budgets[b];
        struct world world;
        world_open(&world, &options, &random);
        for (int i = 0; i < JOBS; i++) {
            struct test_job *job = plain_job(&world, i, PROMPT, 2);
            for (int t = SHARED; t < PROMPT; t++) {
                job->prompt[t] = random_between(&random, 0, 49);
            }
        }
        int64_t saved = (int64_t)JOBS * PROMPT - prompt_rows_of(&world);
        print_message("%d rows a step: %.3f of the ideal\n", budgets[b],
                      (double)saved / ((JOBS - 1) * SHARED));
        assert_true((double)saved >= 0.95 * (JOBS - 1) * SHARED);
        for (int i = 1; i < JOBS; i++) {
            assert_in_range(world.workload.jobs[i].sequence.cached_count, SHARED, SHARED + 16);
        }
        world_close(&world);
    }
}

static void test_what_is_not_ready_keeps_its_place_and_costs_nobody(void **state)
{
    (void)state;
    struct random random = {16};
    struct world_options options = plain_options();
    struct world world;
    world_open(&world, &options, &random);
    struct test_job *held = plain_job(&world, 0, 10, 4);
    struct test_job *other = plain_job(&world, 1, 11, 6);
    held->sequence.params.waits_for_ready = true;
    world_submit(&world, 0);
    // All of the prompt but the row that gives the first token, and then nothing.
    world_step(&world);
    assert_int_equal(held->state.running->computed_count, 9);
    world_step(&world);
    assert_int_equal(held->state.running->computed_count, 9);
    assert_false(runner_has_work(world.runner));
    run_job(&world, 1);
    assert_int_equal(atomic_load(&held->sequence.output_count), 0);
    world_check_output(&world, other);
    world_step(&world); // the other's end might have changed something
    for (int i = 1; i <= 4; i++) {
        atomic_store(&held->sequence.ready_count, i);
        assert_false(runner_has_work(world.runner));
        runner_wake(world.runner);
        while (runner_has_work(world.runner)) {
            world_step(&world);
        }
        assert_int_equal(atomic_load(&held->sequence.output_count), i);
    }
    assert_int_equal(held->finished_count, 1);
    world_check_output(&world, held);
    world_close(&world);
}

/* The device must not be asked more often because one of two models has nothing that is ready. */
static void test_a_model_with_nothing_ready_gives_its_turns_away(void **state)
{
    (void)state;
    struct random random = {17};
    struct world_options options = plain_options();
    options.models_count = 2;
    struct world world;
    world_open(&world, &options, &random);
    plain_job(&world, 0, 10, 4)->sequence.params.waits_for_ready = true;
    plain_job(&world, 1, 10, 8)->sequence.model = 1;
    world_submit(&world, 0);
    world_submit(&world, 1);
    for (int i = 0; i < 9; i++) {
        runner_wake(world.runner); // as the engine does whenever it has mail
        world_step(&world);
    }
    assert_int_equal(world.workload.jobs[1].finished_count, 1);
    assert_int_equal(world.workload.jobs[0].finished_count, 0);
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
        world_submit(&world, i);
    }
    while (runner_has_work(world.runner)) {
        world_step(&world);
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
        world_submit(&world, i);
    }
    for (int i = 0; i < 1500; i++) {
        world_step(&world);
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
        cmocka_unit_test(test_a_full_context_ends_with_length),
        cmocka_unit_test(test_a_pool_that_one_sequence_fills_is_an_error_with_figures),
        cmocka_unit_test(test_what_can_never_run_finishes_at_once),
        cmocka_unit_test(test_a_repeated_prompt_is_served_from_the_cache_but_for_its_last_token),
        cmocka_unit_test(test_output_is_cached_for_a_prompt_that_goes_on_from_it),
        cmocka_unit_test(test_equal_prompts_that_come_together_are_computed_once),
        cmocka_unit_test(test_a_shared_quarter_saves_nearly_all_that_it_can),
        cmocka_unit_test(test_what_is_not_ready_keeps_its_place_and_costs_nobody),
        cmocka_unit_test(test_a_model_with_nothing_ready_gives_its_turns_away),
        cmocka_unit_test(test_lower_priority_runs_first),
        cmocka_unit_test(test_models_with_work_get_equal_shares_of_rows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
