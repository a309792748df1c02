/* traces: the scheduler over thousands of real requests, in simulated time. */
#include "tests/support/simulator.h"

#include <inttypes.h>
#include <stdio.h>

#include "tests/support/cmocka.h"
#include "tests/unit/engine/workload.h"

#define AZURE_CODE DATA_DIR "/traces/azure-llm-2023/AzureLLMInferenceTrace_code.csv"
#define AZURE_CHAT DATA_DIR "/traces/azure-llm-2023/AzureLLMInferenceTrace_conv.csv"
#define MOONCAKE DATA_DIR "/traces/mooncake/conversation_trace.jsonl"

enum {
    CONTEXT = 32768,
    BLOCK_TOKENS = 16,
    CHECKED_EVERY = 50, // steps
};

static void open_trace(const char *path, int requests_max, struct trace *trace)
{
    if (!trace_open(path, requests_max, CONTEXT, trace)) {
        print_message("no %s\n", path);
        skip();
    }
}

static struct simulator_options plain_options(int blocks_count)
{
    return (struct simulator_options){
        .scheduler = {.blocks = {.blocks_count = blocks_count, .block_tokens = BLOCK_TOKENS},
                      .enable_prefix_caching = true,
                      .enable_look_ahead = true,
                      .tokens_max = CONTEXT,
                      .running_max = 256,
                      .rows_max = 2048,
                      .waiting_max = 20000,
                      .different_tokens_max = 1},
        .cost = SIMULATOR_8B,
        .is_backlog = true,
        .checked_every = CHECKED_EVERY,
    };
}

static struct simulator_report run(const char *name, const struct trace *trace,
                                   const struct simulator_options *options)
{
    struct simulator_report report;
    simulator_run(trace, options, &report);
    if (report.broken != NULL) {
        fail_msg("%s, step %" PRId64 ": does not hold: %s", name, report.steps, report.broken);
    }
    print_message("%-10s %d requests: %.1f s, of them tail %.1f; %" PRId64 " steps; %.1f %% from "
                  "the cache; %" PRId64 " preemptions, %" PRId64 " rows again\n",
                  name, trace->count, report.makespan_ms / 1e3, report.tail_ms / 1e3, report.steps,
                  100.0 * (double)report.cached_tokens / (double)report.prompt_tokens,
                  report.preemptions, report.computed_again);
    return report;
}

struct comparison {
    struct simulator_report first_come;
    struct simulator_report look_ahead;
};

static struct comparison compare(const struct trace *trace, struct simulator_options options)
{
    struct comparison comparison;
    comparison.look_ahead = run("look-ahead", trace, &options);
    options.is_first_come = true;
    options.scheduler.enable_look_ahead = false;
    comparison.first_come = run("first come", trace, &options);
    return comparison;
}

static void test_a_backlog_with_mixed_outputs_ends_sooner_than_first_come(void **state)
{
    (void)state;
    static const int counts[] = {500, 1000, 4000};
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        struct trace trace;
        open_trace(AZURE_CHAT, counts[i], &trace);
        struct comparison comparison = compare(&trace, plain_options(28000));
        assert_true(comparison.look_ahead.makespan_ms < comparison.first_come.makespan_ms);
        assert_int_equal(comparison.look_ahead.preemptions, 0);
        trace_close(&trace);
    }
}

static void test_a_backlog_with_short_outputs_is_no_worse_than_first_come(void **state)
{
    (void)state;
    struct trace trace;
    open_trace(AZURE_CODE, 4000, &trace);
    struct comparison comparison = compare(&trace, plain_options(28000));
    assert_true(comparison.look_ahead.makespan_ms <= 1.001 * comparison.first_come.makespan_ms);
    trace_close(&trace);
}

/* The pool holds about 50 of these conversations, so what is not used soon is evicted. */
static void test_a_backlog_with_shared_prefixes_computes_each_once(void **state)
{
    (void)state;
    struct trace trace;
    open_trace(MOONCAKE, 1000, &trace);
    struct comparison comparison = compare(&trace, plain_options(28000));
    double ideal = (double)trace.shared_tokens;
    print_message("%" PRId64 " tokens would be ideal\n", trace.shared_tokens);
    assert_true((double)comparison.look_ahead.cached_tokens >= 0.99 * ideal);
    assert_true((double)comparison.first_come.cached_tokens < 0.5 * ideal);
    assert_true(comparison.look_ahead.makespan_ms < 0.9 * comparison.first_come.makespan_ms);
    trace_close(&trace);
}

static void test_arrivals_over_time_are_no_worse_than_first_come(void **state)
{
    (void)state;
    static const char *const paths[] = {AZURE_CHAT, AZURE_CODE, MOONCAKE};
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
        struct trace trace;
        open_trace(paths[i], 1000, &trace);
        struct simulator_options options = plain_options(28000);
        options.is_backlog = false;
        struct comparison comparison = compare(&trace, options);
        assert_true(comparison.look_ahead.makespan_ms <= 1.001 * comparison.first_come.makespan_ms);
        trace_close(&trace);
    }
}

static void test_random_limits_hold_every_invariant(void **state)
{
    (void)state;
    static const char *const paths[] = {AZURE_CHAT, AZURE_CODE, MOONCAKE};
    struct random random = {random_seed(7)};
    int64_t preemptions = 0;
    for (int round = 0; round < 30; round++) {
        struct trace trace;
        open_trace(paths[round % 3], random_between(&random, 20, 300), &trace);
        struct simulator_options options = plain_options(random_between(&random, 2048, 6000));
        options.is_backlog = random_chance(&random, 50);
        options.scheduler.running_max = random_between(&random, 1, 64);
        options.scheduler.rows_max =
            options.scheduler.running_max + random_between(&random, 0, 2000);
        options.scheduler.enable_prefix_caching = random_chance(&random, 80);
        options.checked_every = 7;
        // Forecasts are wrong when outputs end early.
        options.stops_at_percent = random_chance(&random, 50) ? 0 : 10;
        preemptions += run("random", &trace, &options).preemptions;
        trace_close(&trace);
    }
    print_message("%" PRId64 " preemptions\n", preemptions);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_backlog_with_mixed_outputs_ends_sooner_than_first_come),
        cmocka_unit_test(test_a_backlog_with_short_outputs_is_no_worse_than_first_come),
        cmocka_unit_test(test_a_backlog_with_shared_prefixes_computes_each_once),
        cmocka_unit_test(test_arrivals_over_time_are_no_worse_than_first_come),
        cmocka_unit_test(test_random_limits_hold_every_invariant),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
