/* world: the steps, and what must hold after each. */
#include "tests/unit/engine/world.h"

#include <stdlib.h>

#include "pipeline/engine/kv_blocks.h"
#include "pipeline/engine/prefix_order.h"
#include "schemas/base/check.h"
#include "tests/support/cmocka.h"

enum { SUBMITTED_PER_STEP_MAX = 8 };

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

void world_open(struct world *world, const struct world_options *options, struct random *random)
{
    struct device tables[MODELS_MAX];
    *world = (struct world){.options = options->device, .models_count = options->models_count};
    world->options.rows_max = options->max_num_batched_tokens;
    world->options.sequences_max = options->max_num_seqs;
    world->options.checks_chains = true;
    world->has_look_ahead = options->enable_prefix_caching;
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

void world_close(struct world *world)
{
    runner_close(world->runner);
    workload_close(&world->workload);
    for (int i = 0; i < world->models_count; i++) {
        simulated_device_close(&world->devices[i]);
    }
}

void world_submit(struct world *world, int index)
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

/* No token is sampled before its sequence was ready for it. */
static void check_ready(const struct world *world)
{
    for (int i = 0; i < world->workload.jobs_count; i++) {
        const struct sequence *sequence = &world->workload.jobs[i].sequence;
        assert_true(!sequence->params.waits_for_ready ||
                    atomic_load(&sequence->output_count) <= atomic_load(&sequence->ready_count));
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

static bool is_running(const struct test_job *job)
{
    return job->submitted_at >= 0 && job->finished_count == 0 && job->state.running != NULL;
}

static void note_scheduled(struct world *world)
{
    for (int i = 0; i < world->workload.jobs_count; i++) {
        struct test_job *job = &world->workload.jobs[i];
        // What is not ready may have a place and no rows yet.
        if (job->scheduled_at < 0 && (job->sequence.timing.scheduled_ms != 0 || is_running(job))) {
            job->scheduled_at = world->steps_count;
        }
    }
}

/* Marks those that run, and gives the preemptions so far. */
static int64_t note_running(struct world *world)
{
    struct engine_stats stats;
    for (int i = 0; i < world->workload.jobs_count; i++) {
        world->workload.jobs[i].was_running = is_running(&world->workload.jobs[i]);
    }
    runner_get_stats(world->runner, &stats);
    return stats.preemptions_total;
}

/* Those preempted come after all others that ran, and make room for nobody new. */
static void check_preempted(const struct world *world, int64_t preempted_before)
{
    struct engine_stats stats;
    const struct test_job *preempted = NULL; // the first in the order
    int64_t preempted_count = 0;
    runner_get_stats(world->runner, &stats);
    for (int i = 0; i < world->workload.jobs_count; i++) {
        const struct test_job *job = &world->workload.jobs[i];
        if (job->was_running && job->finished_count == 0 && !is_running(job)) {
            preempted_count++;
            if (preempted == NULL || sequence_state_precedes(&job->state, &preempted->state)) {
                preempted = job;
            }
        }
    }
    assert_int_equal(preempted_count, stats.preemptions_total - preempted_before);
    for (int i = 0; preempted != NULL && i < world->workload.jobs_count; i++) {
        const struct test_job *job = &world->workload.jobs[i];
        if (job->sequence.model == preempted->sequence.model && is_running(job)) {
            assert_true(job->was_running);
            assert_true(sequence_state_precedes(&job->state, &preempted->state));
        }
    }
}

void world_step(struct world *world)
{
    int64_t preempted_before = note_running(world);
    runner_step(world->runner);
    note_scheduled(world);
    world->steps_count++;
    check_invariants(world);
    check_references(world);
    check_ready(world);
    check_preempted(world, preempted_before);
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

/* About half of those that wait for it. */
static void make_some_ready(struct world *world, struct random *random)
{
    for (int i = 0; i < world->workload.jobs_count; i++) {
        struct sequence *sequence = &world->workload.jobs[i].sequence;
        if (sequence->params.waits_for_ready && random_chance(random, 50) &&
            atomic_load(&sequence->ready_count) == atomic_load(&sequence->output_count)) {
            atomic_fetch_add(&sequence->ready_count, 1);
        }
    }
    runner_wake(world->runner);
}

/* Submits everything over time and steps until all is done. */
void world_run(struct world *world, struct random *random, int cancel_percent)
{
    int submitted_count = 0;
    int bound = steps_bound(world);
    while (world->finished_count < world->workload.jobs_count) {
        int burst = random_between(random, 0, SUBMITTED_PER_STEP_MAX);
        while (burst-- > 0 && submitted_count < world->workload.jobs_count) {
            world_submit(world, submitted_count++);
        }
        if (random_chance(random, cancel_percent)) {
            cancel_some(world, random);
        }
        make_some_ready(world, random);
        world_step(world);
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

void world_check_output(const struct world *world, const struct test_job *job)
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

/* `late` may have run before one that precedes it, for a prefix that it shares with another. */
static bool may_pass(const struct world *world, const struct test_job *early,
                     const struct test_job *late)
{
    if (!world->has_look_ahead || late->state.rank_ms - early->state.rank_ms > LOOK_AHEAD_MS) {
        return false;
    }
    for (int i = 0; i < world->workload.jobs_count; i++) {
        const struct test_job *other = &world->workload.jobs[i];
        if (other != late && other->sequence.model == late->sequence.model &&
            other->scheduled_at >= 0 && other->scheduled_at <= late->scheduled_at &&
            prefix_order_shared(&other->sequence, &late->sequence) >= world->options.block_tokens) {
            return true;
        }
    }
    return false;
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
                assert_true(early->scheduled_at <= late->scheduled_at ||
                            may_pass(world, early, late));
            }
        }
    }
}

void world_check(const struct world *world)
{
    for (int i = 0; i < world->workload.jobs_count; i++) {
        const struct test_job *job = &world->workload.jobs[i];
        assert_int_equal(job->finished_count, 1);
        world_check_output(world, job);
    }
    check_order(world);
}
