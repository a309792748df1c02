/* Sequences of an encoder: whole prompts, one step each, and faults that cost the culprit alone. */
#include <math.h>
#include <string.h>

#include "pipeline/engine/runner.h"
#include "tests/support/cmocka.h"

enum { JOBS = 60, ROWS_MAX = 40, SEQUENCES_MAX = 7, PROMPT_MAX = 32, POISON = 99, HOLE = 98 };

/* A vector is the sum of the prompt's tokens, and how many they are. */
struct encoder {
    int steps;
    int rows_largest;
};

static bool encode(void *context, const struct model_batch *batch, float *const *vectors_out,
                   struct error *error)
{
    struct encoder *encoder = context;
    encoder->steps++;
    encoder->rows_largest =
        batch->rows_count > encoder->rows_largest ? batch->rows_count : encoder->rows_largest;
    assert_true(batch->rows_count <= ROWS_MAX && batch->sequences_count <= SEQUENCES_MAX);
    assert_int_equal(batch->logit_rows_count, 0);
    for (int s = 0; s < batch->sequences_count; s++) {
        vectors_out[s][0] = 0;
        vectors_out[s][1] = (float)(batch->row_starts[s + 1] - batch->row_starts[s]);
        for (int r = batch->row_starts[s]; r < batch->row_starts[s + 1]; r++) {
            assert_int_equal(batch->positions[r], r - batch->row_starts[s]);
            if (batch->tokens[r] == POISON) {
                return error_set(error, ERROR_INTERNAL, "poison", NULL, "a token is poison");
            }
            vectors_out[s][0] += batch->tokens[r] == HOLE ? NAN : (float)batch->tokens[r];
        }
    }
    return true;
}

struct job {
    struct sequence sequence;
    struct sequence_state state;
    int32_t prompt[PROMPT_MAX];
    float vector[2];
    int finished_count;
};

static void on_finish(void *context, struct sequence_state *state)
{
    (void)context;
    ((struct job *)(void *)state->sequence)->finished_count++;
}

static struct runner *open_runner(struct encoder *encoder)
{
    struct runner *runner = NULL;
    struct error error = {0};
    const struct device device = {.encode = encode,
                                  .context = encoder,
                                  .vocabulary = 100,
                                  .vector_width = 2,
                                  .context_tokens = PROMPT_MAX + 1,
                                  .blocks_count = 30,
                                  .block_tokens = 4};
    const struct runner_options options = {.devices = &device,
                                           .devices_count = 1,
                                           .max_num_seqs = SEQUENCES_MAX,
                                           .max_num_batched_tokens = ROWS_MAX,
                                           .waiting_max = JOBS,
                                           .enable_prefix_caching = true,
                                           .on_finish = on_finish};
    assert_true(runner_open(&options, &runner, &error));
    return runner;
}

static void fill_job(struct job *job, int count, int index)
{
    *job = (struct job){
        .sequence = {.prompt = job->prompt,
                     .prompt_count = count,
                     .params = {.max_tokens = 1},
                     .vector = job->vector},
    };
    for (int p = 0; p < count; p++) {
        job->prompt[p] = (index / 3 * 7 + p) % 90; // many share a prefix
    }
}

static void add_job(struct runner *runner, struct job *job, int index)
{
    sequence_state_init(&job->state, &job->sequence, (uint64_t)index, 0);
    runner_add(runner, &job->state);
}

static void check_job(const struct job *job)
{
    float sum = 0;
    for (int p = 0; p < job->sequence.prompt_count; p++) {
        sum += (float)job->prompt[p];
    }
    assert_int_equal(job->finished_count, 1);
    assert_int_equal(job->sequence.finish_reason, FINISH_STOP);
    assert_true(job->vector[0] == sum);
    assert_true(job->vector[1] == (float)job->sequence.prompt_count);
    assert_int_equal(job->sequence.cached_count, 0);
}

static void test_prompts_are_taken_whole_and_finish_in_one_step(void **state)
{
    (void)state;
    static struct job jobs[JOBS];
    struct encoder encoder = {0};
    struct runner *runner = open_runner(&encoder);
    for (int i = 0; i < JOBS; i++) {
        fill_job(&jobs[i], 1 + i * 11 % PROMPT_MAX, i);
        add_job(runner, &jobs[i], i);
    }
    while (runner_has_work(runner)) {
        runner_step(runner);
        struct engine_stats stats;
        runner_get_stats(runner, &stats);
        assert_int_equal(stats.running, 0);
        assert_int_equal(stats.kv_blocks_used, 0);
    }
    for (int i = 0; i < JOBS; i++) {
        check_job(&jobs[i]);
    }
    assert_true(encoder.steps < JOBS); // they do share steps
    assert_true(encoder.rows_largest > PROMPT_MAX);
    runner_close(runner);
}

static void test_a_fault_costs_the_culprit_alone(void **state)
{
    (void)state;
    static struct job jobs[JOBS];
    struct encoder encoder = {0};
    struct runner *runner = open_runner(&encoder);
    for (int i = 0; i < JOBS; i++) {
        fill_job(&jobs[i], 1 + i % 9, i);
        if (i % 10 == 4) {
            jobs[i].prompt[0] = i % 20 == 4 ? POISON : HOLE;
        }
        add_job(runner, &jobs[i], i);
    }
    while (runner_has_work(runner)) {
        runner_step(runner);
    }
    for (int i = 0; i < JOBS; i++) {
        if (i % 10 != 4) {
            check_job(&jobs[i]);
            continue;
        }
        assert_int_equal(jobs[i].finished_count, 1);
        assert_int_equal(jobs[i].sequence.finish_reason, FINISH_ERROR);
        assert_string_equal(jobs[i].sequence.error.code,
                            i % 20 == 4 ? "poison" : "vector_not_finite");
    }
    runner_close(runner);
}

static void test_what_can_never_run_is_refused(void **state)
{
    (void)state;
    static struct job job;
    struct encoder encoder = {0};
    struct runner *runner = open_runner(&encoder);
    fill_job(&job, PROMPT_MAX, 0);
    job.sequence.vector = NULL;
    add_job(runner, &job, 0);
    assert_int_equal(job.sequence.finish_reason, FINISH_ERROR);
    assert_non_null(strstr(job.sequence.error.message, "generates no text"));
    fill_job(&job, PROMPT_MAX, 0);
    job.sequence.prompt_count = PROMPT_MAX + 1;
    add_job(runner, &job, 0);
    assert_string_equal(job.sequence.error.code, "context_length_exceeded");
    assert_int_equal(encoder.steps, 0);
    runner_close(runner);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_prompts_are_taken_whole_and_finish_in_one_step),
        cmocka_unit_test(test_a_fault_costs_the_culprit_alone),
        cmocka_unit_test(test_what_can_never_run_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
