/* metrics: the page in Prometheus' text format, and bounded labels. Values are process-wide, so
 * tests look at differences or at metrics of their own. */
#include "worker/metrics.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "schemas/base/buffer.h"
#include "tests/support/cmocka.h"

static struct buffer page;

static const char *write_page(void)
{
    buffer_close(&page);
    buffer_init(&page, 1 << 20);
    metrics_write(&page);
    assert_false(buffer_failed(&page));
    return page.data;
}

static void assert_line(const char *line)
{
    if (strstr(write_page(), line) == NULL) {
        fail_msg("no line %s in\n%s", line, page.data);
    }
}

static void test_counters_add_up(void **state)
{
    (void)state;
    assert_line("\nmillrace_records_total{outcome=\"dead_letter\"} 0\n");
    metrics_add(METRIC_RECORDS, METRIC_OUTCOME_DEAD_LETTER, 2);
    metrics_add(METRIC_RECORDS, METRIC_OUTCOME_DEAD_LETTER, 1);
    assert_line("\nmillrace_records_total{outcome=\"dead_letter\"} 3\n");
    assert_line("\nmillrace_records_total{outcome=\"response\"} 0\n");
    assert_true(metrics_value(METRIC_RECORDS, METRIC_OUTCOME_DEAD_LETTER) == 3);
    metrics_set_total(METRIC_STEPS, 0, INT64_MAX);
    assert_line("\nmillrace_engine_steps_total 9223372036854775807\n");
}

static void test_gauges_keep_the_last_value(void **state)
{
    (void)state;
    metrics_set(METRIC_KV_USAGE, 0, 0.25);
    metrics_set(METRIC_KV_USAGE, 0, 0.125);
    metrics_set(METRIC_PARTITIONS, METRIC_PARTITIONS_PAUSED, 7);
    assert_line("\nmillrace_kv_cache_usage_ratio 0.125\n");
    assert_line("\nmillrace_partitions{state=\"paused\"} 7\n");
}

static void test_histograms_are_cumulative(void **state)
{
    (void)state;
    metrics_observe(METRIC_COMMIT_TIME, 0, 0.001); // a bound belongs to its bucket
    metrics_observe(METRIC_COMMIT_TIME, 0, 0.3);
    metrics_observe(METRIC_COMMIT_TIME, 0, 1e9);
    assert_line("# TYPE millrace_commit_duration_seconds histogram\n"
                "millrace_commit_duration_seconds_bucket{le=\"0.001\"} 1\n"
                "millrace_commit_duration_seconds_bucket{le=\"0.0025\"} 1\n");
    assert_line("\nmillrace_commit_duration_seconds_bucket{le=\"0.25\"} 1\n"
                "millrace_commit_duration_seconds_bucket{le=\"0.5\"} 2\n");
    assert_line("\nmillrace_commit_duration_seconds_bucket{le=\"2560\"} 2\n"
                "millrace_commit_duration_seconds_bucket{le=\"+Inf\"} 3\n"
                "millrace_commit_duration_seconds_sum 1e+09\n"
                "millrace_commit_duration_seconds_count 3\n");
}

static void test_models_are_labels_and_bounded(void **state)
{
    (void)state;
    assert_null(strstr(write_page(), "\nmillrace_prompt_tokens_total{"));
    int first = metrics_model("a\"b\\c\nd");
    assert_int_equal(metrics_model("a\"b\\c\nd"), first);
    metrics_add(METRIC_PROMPT_TOKENS, first, 5);
    assert_line("\nmillrace_prompt_tokens_total{model=\"a\\\"b\\\\c\\nd\"} 5\n");
    metrics_observe(METRIC_LATENCY, first, 0.002);
    assert_line(
        "millrace_e2e_request_latency_seconds_bucket{model=\"a\\\"b\\\\c\\nd\",le=\"0.001\"} "
        "0\n");
    int last = first;
    for (int i = 0; i < 2 * METRICS_LABELS_MAX; i++) {
        char name[16];
        snprintf(name, sizeof name, "m%d", i);
        last = metrics_model(name);
        metrics_add(METRIC_PROMPT_TOKENS, last, 1);
    }
    assert_int_equal(last, METRICS_LABELS_MAX - 1);
    assert_int_equal(metrics_model("one more"), last);
    assert_line("\nmillrace_prompt_tokens_total{model=\"other\"} 18\n");
}

static void *observe_often(void *context)
{
    for (int i = 0; i < 10000; i++) {
        metrics_observe(METRIC_QUEUE, *(int *)context, 0.5);
        metrics_add(METRIC_RETRIES, 0, 1);
    }
    return NULL;
}

static void test_threads_lose_nothing(void **state)
{
    (void)state;
    enum { THREADS = 4 };
    int model = metrics_model("threads");
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, observe_often, &model), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    }
    assert_line("\nmillrace_retries_total 40000\n");
    assert_non_null(strstr(write_page(), "millrace_request_queue_time_seconds_sum"));
    assert_non_null(strstr(page.data, "} 20000\n"));
}

static void test_the_process_is_sampled(void **state)
{
    (void)state;
    write_page();
    assert_true(metrics_value(METRIC_RESIDENT, 0) > 1 << 20);
    assert_line("\nmillrace_build_info{version=\"" MILLRACE_VERSION "\"} 1\n");
}

/* Every line is a comment or "name{labels} value", and every metric has its help and type once. */
static void test_the_page_is_well_formed(void **state)
{
    (void)state;
    write_page();
    int helps = 0;
    for (const char *line = page.data; *line != '\0'; line = strchr(line, '\n') + 1) {
        helps += strncmp(line, "# HELP millrace_", 16) == 0;
        bool is_comment = strncmp(line, "# HELP ", 7) == 0 || strncmp(line, "# TYPE ", 7) == 0;
        assert_true(is_comment || strncmp(line, "millrace_", 9) == 0);
    }
    assert_int_equal(helps, METRICS_COUNT);
}

static void test_the_page_in_deploy_is_what_the_table_gives(void **state)
{
    (void)state;
    buffer_clear(&page);
    metrics_write_reference(&page);
    char text[1 << 16];
    FILE *file = fopen(SOURCE_DIR "/deploy/METRICS.md", "rb");
    assert_non_null(file);
    size_t size = fread(text, 1, sizeof text - 1, file);
    fclose(file);
    text[size] = '\0';
    if (strcmp(text, page.data) != 0) {
        fail_msg("deploy/METRICS.md is stale: run millrace settings --metrics > deploy/METRICS.md");
    }
    buffer_close(&page);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_counters_add_up),
        cmocka_unit_test(test_gauges_keep_the_last_value),
        cmocka_unit_test(test_histograms_are_cumulative),
        cmocka_unit_test(test_models_are_labels_and_bounded),
        cmocka_unit_test(test_threads_lose_nothing),
        cmocka_unit_test(test_the_process_is_sampled),
        cmocka_unit_test(test_the_page_is_well_formed),
        cmocka_unit_test(test_the_page_in_deploy_is_what_the_table_gives),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
