/* observe: each job counts in exactly one outcome, and answers in tokens and times. */
#include "worker/observe.h"

#include "pipeline/engine/engine.h"
#include "pipeline/job.h"
#include "schemas/base/buffer.h"
#include "tests/support/cmocka.h"
#include "worker/metrics.h"

static double records(enum metric_outcome outcome)
{
    return metrics_value(METRIC_RECORDS, (int)outcome);
}

static void test_each_job_counts_in_one_outcome(void **state)
{
    (void)state;
    static const struct failure expired = {{"deadline_exceeded", 17}, {"late", 4}};
    static const struct failure broken = {{"internal_error", 14}, {"broken", 6}};
    const struct {
        struct job job;
        enum metric_outcome outcome;
    } rows[] = {
        {{.outcome = OUTCOME_RESPONSE, .response = {.status_code = 200}}, METRIC_OUTCOME_RESPONSE},
        {{.outcome = OUTCOME_RESPONSE, .response = {.status_code = 400}}, METRIC_OUTCOME_ERROR},
        {{.outcome = OUTCOME_RESPONSE, .response = {.error = &expired}}, METRIC_OUTCOME_EXPIRED},
        {{.outcome = OUTCOME_RESPONSE, .response = {.error = &broken}}, METRIC_OUTCOME_ERROR},
        {{.outcome = OUTCOME_DEAD_LETTER}, METRIC_OUTCOME_DEAD_LETTER},
        {{.outcome = OUTCOME_DROPPED}, METRIC_OUTCOME_DROPPED},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        double before[METRIC_OUTCOME_DROPPED + 1];
        for (int j = 0; j <= METRIC_OUTCOME_DROPPED; j++) {
            before[j] = records((enum metric_outcome)j);
        }
        observe_outcome(&rows[i].job);
        for (int j = 0; j <= METRIC_OUTCOME_DROPPED; j++) {
            assert_true(records((enum metric_outcome)j) - before[j] ==
                        ((int)rows[i].outcome == j ? 1 : 0));
        }
    }
}

static void test_an_answer_counts_tokens_and_times_of_its_model(void **state)
{
    (void)state;
    const struct served_by served_by = {.model = {"scribe and more", 6}};
    const struct usage usage = {.prompt_tokens = 7, .completion_tokens = 3};
    const struct timing timing = {
        .queued_ms = 20, .total_ms = 300, .has_first_token_ms = true, .first_token_ms = 30};
    const struct job job = {
        .outcome = OUTCOME_RESPONSE,
        .attempt = 3,
        .response = {
            .status_code = 200, .served_by = &served_by, .usage = &usage, .timing = &timing}};
    observe_outcome(&job);
    struct buffer page;
    buffer_init(&page, 1 << 20);
    metrics_write(&page);
    static const char *const lines[] = {
        "\nmillrace_prompt_tokens_total{model=\"scribe\"} 7\n",
        "\nmillrace_generation_tokens_total{model=\"scribe\"} 3\n",
        "\nmillrace_request_queue_time_seconds_sum{model=\"scribe\"} 0.02\n",
        "\nmillrace_time_to_first_token_seconds_sum{model=\"scribe\"} 0.03\n",
        "\nmillrace_e2e_request_latency_seconds_sum{model=\"scribe\"} 0.3\n",
        "\nmillrace_retries_total 2\n",
    };
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        if (strstr(page.data, lines[i]) == NULL) {
            fail_msg("no line %s in\n%s", lines[i], page.data);
        }
    }
    buffer_close(&page);
}

static void test_the_engine_gives_gauges_and_totals(void **state)
{
    (void)state;
    observe_engine(&(struct engine_stats){.kv_blocks_total = 0});
    assert_true(metrics_value(METRIC_KV_USAGE, 0) == 0);
    observe_engine(&(struct engine_stats){.running = 2,
                                          .waiting = 5,
                                          .kv_blocks_used = 3,
                                          .kv_blocks_total = 12,
                                          .steps_total = 9,
                                          .prompt_tokens_total = 70,
                                          .cached_tokens_total = 30,
                                          .preemptions_total = 1});
    assert_true(metrics_value(METRIC_RUNNING, 0) == 2);
    assert_true(metrics_value(METRIC_WAITING, 0) == 5);
    assert_true(metrics_value(METRIC_KV_USAGE, 0) == 0.25);
    assert_true(metrics_value(METRIC_STEPS, 0) == 9);
    assert_true(metrics_value(METRIC_PREFIX_QUERIES, 0) == 100);
    assert_true(metrics_value(METRIC_PREFIX_HITS, 0) == 30);
    assert_true(metrics_value(METRIC_PREEMPTIONS, 0) == 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_job_counts_in_one_outcome),
        cmocka_unit_test(test_an_answer_counts_tokens_and_times_of_its_model),
        cmocka_unit_test(test_the_engine_gives_gauges_and_totals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
