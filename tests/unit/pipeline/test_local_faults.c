/* local: operations that fail in a step with many requests cost only the request that makes them
 * fail. */
#include "pipeline/local.h"

#include <string.h>

#include "tests/support/cmocka.h"
#include "tests/support/faulty_backend.h"
#include "tests/support/local_fixture.h"

enum { CALLS = 9, CULPRIT = 4, PROMPT_TOKENS = 40, OUTPUT_TOKENS = 12, POISON = 1021 };

static struct local_fixture fixture;
static char *references[CALLS]; // the text of each without a fault

/* Prompts of ids; only the culprit's has the token that the fault looks for, at its end, which the
 * prefix cache never saves. */
static json_t *body_of(int index)
{
    json_t *ids = json_array();
    for (int i = 0; i < PROMPT_TOKENS; i++) {
        int token = 300 + (index * 37 + i * 11) % 200;
        bool is_poison = index == CULPRIT && i == PROMPT_TOKENS - 1;
        (void)json_array_append_new(ids, json_integer(is_poison ? POISON : token));
    }
    return json_pack("{s:o, s:i, s:f, s:b}", "prompt", ids, "max_tokens", OUTPUT_TOKENS,
                     "temperature", 0.0, "ignore_eos", 1);
}

static void run_calls(struct job *jobs[CALLS])
{
    for (int i = 0; i < CALLS; i++) {
        jobs[i] = local_fixture_job(&fixture, ENDPOINT_COMPLETIONS, body_of(i));
    }
    for (int i = 0; i < CALLS; i++) {
        assert_true(local_fixture_submit(&fixture, jobs[i]));
    }
    local_fixture_wait(&fixture, CALLS);
}

static char *text_of(const struct job *job)
{
    json_t *answer = local_fixture_answer(job);
    assert_int_equal(answer_usage(answer, "completion_tokens"), OUTPUT_TOKENS);
    char *text = strdup(choice_text(answer_choice(answer, 0)));
    json_decref(answer);
    return text;
}

static void assert_answered(const struct job *job, int index)
{
    char *text = text_of(job);
    assert_string_equal(text, references[index]);
    free(text);
}

static int open_fixture(void **state)
{
    (void)state;
    struct job *jobs[CALLS];
    local_fixture_open(&fixture, SCRIBE, 4 * CALLS, CALLS);
    run_calls(jobs);
    for (int i = 0; i < CALLS; i++) {
        references[i] = text_of(jobs[i]);
        job_close(jobs[i]);
    }
    return 0;
}

static int close_fixture(void **state)
{
    (void)state;
    for (int i = 0; i < CALLS; i++) {
        free(references[i]);
    }
    local_fixture_close(&fixture);
    return 0;
}

/* Runs all, and checks that only the culprit has failed, with this code. */
static void check_culprit(const struct fault *fault, const char *code)
{
    struct job *jobs[CALLS];
    faulty_backend_set(fault);
    run_calls(jobs);
    assert_true(faulty_backend_failed() > 0);
    faulty_backend_set(&(struct fault){.status = KERNEL_OK});
    for (int i = 0; i < CALLS; i++) {
        const struct error *error = &jobs[i]->calls->answer.error;
        if (i != CULPRIT) {
            assert_answered(jobs[i], i);
        } else {
            assert_int_equal(error->kind, ERROR_INTERNAL);
            assert_int_equal(error_fate(error->kind), FATE_RETRY);
            assert_string_equal(error->code, code);
        }
        job_close(jobs[i]);
    }
}

static void test_an_operation_that_fails_on_a_row_costs_only_its_request(void **state)
{
    (void)state;
    static const enum kernel_status statuses[] = {KERNEL_BAD_SHAPE, KERNEL_OUT_OF_MEMORY};
    for (int operation = 0; operation < FAULTY_OPERATIONS; operation++) {
        for (size_t i = 0; i < 2; i++) {
            const struct fault fault = {
                .operation = (enum faulty_operation)operation,
                .status = statuses[i],
                .token = POISON,
                .calls_before = operation == FAULTY_LINEAR ? 5 : 0, // within a layer, too
            };
            check_culprit(&fault, "backend_failed");
        }
    }
}

static void test_logits_that_are_not_finite_cost_only_their_request(void **state)
{
    (void)state;
    const struct fault fault = {
        .operation = FAULTY_SAMPLE, .status = KERNEL_BAD_SHAPE, .token = POISON, .gives_nan = true};
    check_culprit(&fault, "logits_not_finite");
}

static void test_an_operation_that_fails_once_costs_nobody(void **state)
{
    (void)state;
    for (int operation = 0; operation < FAULTY_OPERATIONS; operation++) {
        for (int calls_before = 0; calls_before < 40; calls_before += 13) {
            struct job *jobs[CALLS];
            faulty_backend_set(&(struct fault){.operation = (enum faulty_operation)operation,
                                               .status = KERNEL_OUT_OF_MEMORY,
                                               .token = FAULTY_ANY_TOKEN,
                                               .calls_before = calls_before,
                                               .times = 1});
            run_calls(jobs);
            for (int i = 0; i < CALLS; i++) {
                assert_answered(jobs[i], i);
                job_close(jobs[i]);
            }
        }
    }
    faulty_backend_set(&(struct fault){.status = KERNEL_OK});
}

/* The last test: the engine does not come back. */
static void test_a_lost_device_answers_nobody_wrongly(void **state)
{
    (void)state;
    struct job *jobs[CALLS];
    faulty_backend_set(&(struct fault){.operation = FAULTY_ATTENTION,
                                       .status = KERNEL_DEVICE_LOST,
                                       .token = FAULTY_ANY_TOKEN,
                                       .calls_before = 11});
    for (int round = 0; round < 2; round++) {
        run_calls(jobs);
        for (int i = 0; i < CALLS; i++) {
            const struct error *error = &jobs[i]->calls->answer.error;
            assert_int_equal(error->kind, ERROR_FATAL);
            assert_int_equal(error_fate(error->kind), FATE_STOP);
            assert_string_equal(error->code, "device_lost");
            job_close(jobs[i]);
        }
    }
    assert_int_equal(faulty_backend_failed(), 1); // nothing more was tried
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_an_operation_that_fails_on_a_row_costs_only_its_request),
        cmocka_unit_test(test_logits_that_are_not_finite_cost_only_their_request),
        cmocka_unit_test(test_an_operation_that_fails_once_costs_nobody),
        cmocka_unit_test(test_a_lost_device_answers_nobody_wrongly),
    };
    return cmocka_run_group_tests(tests, open_fixture, close_fixture);
}
