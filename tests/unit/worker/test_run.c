/* A run from files to file on the mock cluster: produce, a worker without a model, collect. */
#include "tests/support/cmocka.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "schemas/base/check.h"
#include "tests/support/fake_session.h"
#include "tests/support/mock_broker.h"
#include "worker/collect.h"
#include "worker/produce.h"
#include "worker/worker.h"

enum { JOBS = 300 };

static struct mock_broker broker;
static struct config config;
static char folder[] = "/tmp/millrace-run-XXXXXX";
static char input[128];
static char output[128];

/* JOBS requests, of which the last has the first one's custom_id; with `is_broken` two bad lines.
 */
static void write_input(bool is_broken)
{
    FILE *file = fopen(input, "wb");
    assert_non_null(file);
    for (int i = 0; i < JOBS; i++) {
        fprintf(file,
                "{\"custom_id\":\"doc-%d\",\"method\":\"POST\",\"url\":\"/v1/chat/completions\","
                "\"body\":{\"model\":\"m\",\"messages\":[]}}\n",
                i == JOBS - 1 ? 0 : i);
        if (is_broken && i % 200 == 0) {
            fprintf(file, "broken\n");
        }
    }
    assert_int_equal(fclose(file), 0);
}

static bool produce_run_named(const char *run_id, bool skips_invalid, struct produce_result *result,
                              struct error *error)
{
    static const char *files[1];
    files[0] = input;
    FILE *complaints = fopen("/dev/null", "wb");
    struct produce_options options = {
        .config = &config,
        .source = {.files = files, .files_count = 1, .record_bytes_max = 1 << 20},
        .run_id = run_id,
        .topic = config.topics.requests.items[0],
        .format = WIRE_AVRO,
        .skips_invalid = skips_invalid,
        .is_quiet = true,
        .complaints = complaints,
    };
    bool ok = produce_run(&options, result, error);
    assert_int_equal(fclose(complaints), 0);
    return ok;
}

struct running {
    pthread_t thread;
    struct worker *worker;
    _Atomic bool is_running;
};

static void *run_worker(void *context)
{
    struct running *running = context;
    struct error error = {0};
    uv_loop_t loop;
    CHECK(uv_loop_init(&loop) == 0);
    CHECK(worker_open(&loop, &config, &running->worker, &error));
    running->is_running = true;
    CHECK(worker_run(running->worker, &error));
    CHECK(worker_close(running->worker));
    CHECK(uv_loop_close(&loop) == 0);
    return NULL;
}

static char *read_output(void)
{
    FILE *file = fopen(output, "rb");
    assert_non_null(file);
    char *text = calloc(1, 1 << 20);
    assert_non_null(text);
    assert_true(fread(text, 1, (1 << 20) - 1, file) > 0);
    assert_int_equal(fclose(file), 0);
    return text;
}

static struct collect_result collect_run_named(const char *run_id, int64_t expected,
                                               const char *digest, int64_t timeout_ms)
{
    struct collect_options options = {.config = &config,
                                      .run_id = run_id,
                                      .expected = expected,
                                      .digest = digest,
                                      .output = output,
                                      .timeout_ms = timeout_ms,
                                      .is_quiet = true};
    struct collect_result result;
    struct error error = {0};
    if (!collect_run(&options, &result, &error)) {
        fail_msg("%s", error.message);
    }
    if (result.missing > 0) { // the topic has all that were sent, so the others were not
        assert_int_equal(json_array_size(result.missing_named), 0);
        assert_int_equal(result.unsent, result.missing);
    }
    collect_result_close(&result);
    return result;
}

static void test_nothing_is_sent_when_a_line_is_invalid(void **state)
{
    (void)state;
    struct produce_result result;
    struct error error = {0};
    write_input(true);
    assert_false(produce_run_named("broken", false, &result, &error));
    assert_int_equal(result.records, 0);
    assert_int_equal(result.invalid, 2);
    assert_true(produce_run_named("broken", true, &result, &error));
    assert_int_equal(result.records, JOBS);
    assert_int_equal(result.invalid, 2);
}

static void test_a_run_has_each_outcome_once_and_in_order(void **state)
{
    (void)state;
    struct produce_result sent;
    struct error error = {0};
    write_input(false);
    assert_true(produce_run_named("nightly", false, &sent, &error));
    assert_int_equal(sent.records, JOBS);
    assert_int_equal(sent.duplicates, 1);

    fake_session_reset();
    struct running running = {0};
    CHECK(pthread_create(&running.thread, NULL, run_worker, &running) == 0);
    struct collect_result result = collect_run_named("nightly", JOBS, sent.digest, 30000);
    char *first = read_output();
    assert_int_equal(result.totals.ok, JOBS);
    assert_int_equal(result.missing + result.totals.failed + result.totals.expired +
                         result.totals.dead_lettered,
                     0);
    assert_int_equal(result.duplicates, 0);
    assert_int_equal(result.duplicate_ids, 1);
    assert_false(result.has_other_ids);

    (void)collect_run_named("nightly", JOBS, sent.digest, 30000);
    char *second = read_output();
    assert_string_equal(first, second);
    free(first);
    free(second);
    worker_stop(running.worker);
    CHECK(pthread_join(running.thread, NULL) == 0);
}

static void test_what_is_missing_or_of_other_ids_is_told(void **state)
{
    (void)state;
    struct collect_result result = collect_run_named("nightly", JOBS + 7, "", 2000);
    assert_int_equal(result.totals.ok, JOBS);
    assert_int_equal(result.missing, 7);
    assert_int_equal(result.unexpected, 0);
    result = collect_run_named("nightly", JOBS - 3, "", 5000);
    assert_int_equal(result.missing, 0);
    assert_int_equal(result.unexpected, 3);
    result = collect_run_named("nightly", JOBS, "00000000000000000000000000000000", 5000);
    assert_true(result.has_other_ids);
    result = collect_run_named("another", 1, "", 1000);
    assert_int_equal(result.missing, 1);
}

static void test_more_than_the_demo_broker_keeps_is_refused(void **state)
{
    (void)state;
    FILE *file = fopen(input, "wb");
    assert_non_null(file);
    char *text = malloc(20001);
    assert_non_null(text);
    memset(text, 'x', 20000);
    text[20000] = '\0';
    for (int i = 0; i < 1000; i++) {
        fprintf(file, "{\"custom_id\":\"%d\",\"body\":{\"x\":\"%s\"}}\n", i, text);
    }
    free(text);
    assert_int_equal(fclose(file), 0);
    struct produce_result result;
    struct error error = {0};
    assert_false(produce_run_named("large", false, &result, &error));
    assert_int_equal(result.records, 0);
    assert_non_null(strstr(error.message, "demo broker"));
}

static int open_all(void **state)
{
    (void)state;
    mock_broker_open(&broker);
    mock_broker_config(&broker, &config);
    mock_broker_topic(&broker, config.topics.requests.items[0], 3);
    mock_broker_topic(&broker, config.topics.responses, 2);
    mock_broker_topic(&broker, config.topics.dead_letters, 1);
    if (mkdtemp(folder) == NULL) {
        return -1;
    }
    (void)snprintf(input, sizeof input, "%s/in.jsonl", folder);
    (void)snprintf(output, sizeof output, "%s/out.jsonl", folder);
    return 0;
}

static int close_all(void **state)
{
    (void)state;
    mock_broker_close(&broker);
    (void)unlink(input);
    (void)unlink(output);
    char partial[160];
    (void)snprintf(partial, sizeof partial, "%s.partial", output);
    (void)unlink(partial);
    return rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing_is_sent_when_a_line_is_invalid),
        cmocka_unit_test(test_a_run_has_each_outcome_once_and_in_order),
        cmocka_unit_test(test_what_is_missing_or_of_other_ids_is_told),
        cmocka_unit_test(test_more_than_the_demo_broker_keeps_is_refused),
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}
