/* runner: random workloads give what each sequence gives alone; faults cost only the culprits. */
#include "pipeline/engine/runner.h"

#include "tests/support/cmocka.h"
#include "tests/unit/engine/world.h"

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
                     .priorities_count = random_between(random, 0, 3),
                     .not_ready_percent = random_chance(random, 50) ? 30 : 0},
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
        world_run(&world, &random, 0);
        world_check(&world);
        struct engine_stats stats;
        runner_get_stats(world.runner, &stats);
        preemptions += stats.preemptions_total;
        cached_tokens += stats.cached_tokens_total;
        world_close(&world);
    }
    print_message("%d preemptions, %d tokens from the cache\n", (int)preemptions,
                  (int)cached_tokens);
    // The workloads do reach what they are meant to test, though forecasts avoid preemptions.
    assert_true(preemptions > 100);
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
        world_run(&world, &random, 50);
        world_check(&world);
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
        world_run(&world, &random, 0);
        for (int i = 0; i < world.workload.jobs_count; i++) {
            const struct test_job *job = &world.workload.jobs[i];
            if (i % 5 != 0) {
                world_check_output(&world, job);
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

static void test_a_step_that_fails_once_costs_nobody(void **state)
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
        world_run(&world, &random, 0);
        world_check(&world);
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
    world_run(&world, &random, 0);
    for (int i = 0; i < world.workload.jobs_count; i++) {
        assert_int_equal(world.workload.jobs[i].finished_count, 1);
        assert_int_equal(world.workload.jobs[i].sequence.finish_reason, FINISH_ERROR);
    }
    world_close(&world);
}

static void test_a_lost_device_ends_all_that_is_inside_and_what_comes_later(void **state)
{
    (void)state;
    uint64_t seed = random_seed(7);
    for (int round = 0; round < 50; round++) {
        struct random random = {seed * 1000 + (uint64_t)round};
        struct world_options options = random_options(&random);
        struct world world;
        world_open(&world, &options, &random);
        int64_t lost_at = random_between(&random, 1, 30);
        for (int i = 0; i < world.models_count; i++) {
            world.devices[i].lost_at = lost_at;
        }
        world_run(&world, &random, 0);
        int errors_count = 0;
        for (int i = 0; i < world.workload.jobs_count; i++) {
            const struct test_job *job = &world.workload.jobs[i];
            assert_int_equal(job->finished_count, 1);
            if (job->sequence.finish_reason == FINISH_ERROR) {
                assert_int_equal(job->sequence.error.kind, ERROR_FATAL);
                assert_string_equal(job->sequence.error.message, "the simulated device is lost");
                errors_count++;
            } else {
                world_check_output(&world, job);
            }
        }
        // No step is tried on a device that is gone.
        int64_t forwards_count = 0;
        for (int i = 0; i < world.models_count; i++) {
            forwards_count += world.devices[i].forwards_count;
        }
        assert_true(errors_count == 0 || forwards_count < lost_at * world.models_count + 1);
        world_close(&world);
    }
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
        world_run(&world, &random, 0);
        world_check(&world);
        for (int i = 0; i < world.workload.jobs_count; i += 4) {
            assert_int_equal(world.workload.jobs[i].sequence.error.kind, ERROR_INTERNAL);
        }
        world_close(&world);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_workloads_give_what_each_sequence_gives_alone),
        cmocka_unit_test(test_cancelled_sequences_leave_at_any_time),
        cmocka_unit_test(test_a_failing_step_costs_only_the_culprits),
        cmocka_unit_test(test_a_step_that_fails_once_costs_nobody),
        cmocka_unit_test(test_a_dead_device_fails_every_sequence_once),
        cmocka_unit_test(test_a_lost_device_ends_all_that_is_inside_and_what_comes_later),
        cmocka_unit_test(test_logits_that_are_not_finite_fail_their_sequence_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
