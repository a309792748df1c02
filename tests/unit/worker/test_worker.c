/* A whole worker on the mock cluster, with a session that answers without a model: every record
 * that comes in goes out once, whatever the circumstances. */
#include "tests/support/cmocka.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "schemas/base/buffer.h"
#include "schemas/base/check.h"
#include "tests/support/fake_session.h"
#include "tests/support/mock_broker.h"
#include "worker/metrics.h"
#include "worker/worker.h"

enum { RECORDS_MAX = 4000 };

static struct mock_broker broker;

/* One test's topics and group, so that no test sees another's records. */
struct scene {
    struct config config;
    char names[4][64];
};

static void open_scene(struct scene *scene, const char *name, int partitions)
{
    mock_broker_config(&broker, &scene->config);
    static const char *const suffixes[] = {"requests", "responses", "dlq", "group"};
    for (int i = 0; i < 4; i++) {
        (void)snprintf(scene->names[i], sizeof scene->names[i], "%s.%s", name, suffixes[i]);
    }
    scene->config.topics.requests = (struct config_names){.items = {scene->names[0]}, .count = 1};
    scene->config.topics.responses = scene->names[1];
    scene->config.topics.dead_letters = scene->names[2];
    scene->config.kafka[1].value = scene->names[3];
    mock_broker_topic(&broker, scene->names[0], partitions);
    mock_broker_topic(&broker, scene->names[1], partitions);
    mock_broker_topic(&broker, scene->names[2], 1);
    fake_session_reset();
}

struct running {
    const struct config *config;
    pthread_t thread;
    struct worker *worker;
    _Atomic bool is_running;
    bool is_opened;
    bool is_clean; // ended without an error
    struct error error;
};

static void *run_worker(void *context)
{
    struct running *running = context;
    uv_loop_t loop;
    CHECK(uv_loop_init(&loop) == 0);
    running->is_opened = worker_open(&loop, running->config, &running->worker, &running->error);
    running->is_running = true;
    if (running->is_opened) {
        running->is_clean = worker_run(running->worker, &running->error);
        CHECK(worker_close(running->worker));
    }
    CHECK(uv_loop_close(&loop) == 0);
    return NULL;
}

static void wait_ms(long ms)
{
    (void)nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000}, NULL);
}

static void start_worker(struct running *running, const struct config *config)
{
    *running = (struct running){.config = config};
    CHECK(pthread_create(&running->thread, NULL, run_worker, running) == 0);
    while (!running->is_running) {
        wait_ms(5);
    }
}

static void stop_worker(struct running *running)
{
    worker_stop(running->worker);
    CHECK(pthread_join(running->thread, NULL) == 0);
}

static void queue_request(const char *topic, int partition, const char *custom_id)
{
    char line[256];
    (void)snprintf(line, sizeof line,
                   "{\"custom_id\":\"%s\",\"method\":\"POST\",\"url\":\"/v1/chat/completions\","
                   "\"body\":{\"model\":\"m\",\"messages\":[]}}",
                   custom_id);
    mock_broker_queue(&broker, topic, partition, bytes_of(custom_id), bytes_of(line));
}

static void queue_requests(const struct scene *scene, int partitions, int count)
{
    for (int i = 0; i < count; i++) {
        char custom_id[32];
        (void)snprintf(custom_id, sizeof custom_id, "r-%d", i);
        queue_request(scene->names[0], i % partitions, custom_id);
    }
    mock_broker_flush(&broker);
}

/* What is on a topic, and how often each custom_id "r-N" is among the keys. */
struct reading {
    struct arena *arena;
    struct mock_record *records;
    size_t count;
    int times[RECORDS_MAX];
};

static void open_reading(struct reading *reading, const char *topic, size_t expected,
                         int timeout_ms)
{
    memset(reading, 0, sizeof *reading);
    reading->arena = arena_open(64 << 20);
    reading->records = calloc(RECORDS_MAX, sizeof reading->records[0]);
    reading->count =
        mock_broker_read(&broker, topic, reading->arena, reading->records, expected, timeout_ms);
    for (size_t i = 0; i < reading->count; i++) {
        const struct bytes key = reading->records[i].key;
        if (key.size > 2 && key.data[0] == 'r') {
            int number = atoi(key.data + 2); // arena_copy ends it with a NUL
            CHECK(number >= 0 && number < RECORDS_MAX);
            reading->times[number]++;
        }
    }
}

static void close_reading(struct reading *reading)
{
    free(reading->records);
    arena_close(reading->arena);
}

static void assert_each_once(const struct reading *reading, int count)
{
    for (int i = 0; i < count; i++) {
        if (reading->times[i] != 1) {
            fail_msg("r-%d is there %d times", i, reading->times[i]);
        }
    }
}

static void assert_committed(const struct scene *scene, int partition, int64_t position)
{
    assert_int_equal(mock_broker_committed(&broker, scene->names[3], scene->names[0], partition),
                     position);
}

static void test_answers_every_record_and_commits_it(void **state)
{
    (void)state;
    struct scene scene;
    open_scene(&scene, "plain", 3);
    queue_requests(&scene, 3, 900);
    struct running running;
    start_worker(&running, &scene.config);
    assert_true(running.is_opened);
    struct reading reading;
    open_reading(&reading, scene.names[1], 900, 20000);
    assert_int_equal(reading.count, 900);
    assert_each_once(&reading, 900);
    for (size_t i = 0; i < reading.count; i++) {
        const struct mock_record *record = &reading.records[i];
        assert_int_equal(record->partition, atoi(record->key.data + 2) % 3);
        assert_non_null(mock_record_header(record, "ce_id"));
        assert_true(
            bytes_equal_text(mock_record_header(record, "millrace-run-id")->value, "run-1"));
        assert_true(
            bytes_equal_text(mock_record_header(record, "traceparent")->value, "00-0af7-b7ad-01"));
    }
    close_reading(&reading);
    stop_worker(&running);
    assert_true(running.is_clean);
    for (int partition = 0; partition < 3; partition++) {
        assert_committed(&scene, partition, 300);
    }
}

static void test_refuses_exactly_once_on_a_broker_that_cannot(void **state)
{
    (void)state;
    struct scene scene;
    open_scene(&scene, "exact", 1);
    scene.config.delivery_guarantee = GUARANTEE_EXACTLY_ONCE;
    struct running running;
    start_worker(&running, &scene.config);
    CHECK(pthread_join(running.thread, NULL) == 0);
    assert_false(running.is_opened);
    assert_true(running.error.kind == ERROR_CONFIG);
    assert_non_null(strstr(running.error.message, "at_least_once"));
}

static void test_undecodable_values_become_dead_letters(void **state)
{
    (void)state;
    struct scene scene;
    open_scene(&scene, "dead", 1);
    static const char garbage[] = "\xff\x00\x01not a record";
    static const char framed[] = "\x00\x00\x00\x00\x07payload";
    mock_broker_queue(&broker, scene.names[0], 0, bytes_of("k"),
                      (struct bytes){garbage, sizeof garbage - 1});
    mock_broker_queue(&broker, scene.names[0], 0, (struct bytes){0},
                      (struct bytes){framed, sizeof framed - 1});
    mock_broker_queue(&broker, scene.names[0], 0, bytes_of("k"), (struct bytes){0});
    queue_requests(&scene, 1, 20);
    struct running running;
    start_worker(&running, &scene.config);
    struct reading letters;
    open_reading(&letters, scene.names[2], 3, 10000);
    assert_int_equal(letters.count, 3);
    assert_true(bytes_equal(letters.records[0].value, (struct bytes){garbage, sizeof garbage - 1}));
    assert_true(bytes_equal_text(letters.records[0].key, "k"));
    assert_true(bytes_equal(letters.records[1].value, (struct bytes){framed, sizeof framed - 1}));
    assert_null(letters.records[2].value.data);
    const struct header *offset =
        mock_record_header(&letters.records[1], "__connect.errors.offset");
    assert_non_null(offset);
    assert_true(bytes_equal_text(offset->value, "1"));
    close_reading(&letters);
    struct reading responses;
    open_reading(&responses, scene.names[1], 20, 10000);
    assert_each_once(&responses, 20);
    close_reading(&responses);
    stop_worker(&running);
    assert_committed(&scene, 0, 23);
}

static void wait_for_inside(size_t count)
{
    for (int i = 0; i < 200 && fake_session_most() < count; i++) {
        wait_ms(50);
    }
}

static void test_a_full_worker_pauses_and_loses_nothing(void **state)
{
    (void)state;
    struct scene scene;
    open_scene(&scene, "full", 1);
    scene.config.intake_records_max = 40;
    fake_session_hold(true);
    queue_requests(&scene, 1, 3000);
    struct running running;
    start_worker(&running, &scene.config);
    wait_for_inside(40);
    wait_ms(1500); // paused by now, and the metrics set
    assert_int_equal(fake_session_most(), 40);
    assert_int_equal((int)metrics_value(METRIC_RECORDS_INSIDE, 0), 40);
    assert_int_equal((int)metrics_value(METRIC_INTAKE_BYTES, 0), 40 * FAKE_SESSION_CREDIT);
    fake_session_hold(false);
    struct reading reading;
    open_reading(&reading, scene.names[1], 3000, 30000);
    assert_int_equal(reading.count, 3000);
    assert_each_once(&reading, 3000);
    close_reading(&reading);
    stop_worker(&running);
    assert_int_equal(fake_session_most(), 40);
    assert_committed(&scene, 0, 3000);
}

static bool is_ready(struct worker *worker)
{
    struct buffer reason;
    buffer_init(&reason, 1000);
    bool ready = worker_is_ready(worker, &reason);
    buffer_close(&reason);
    return ready;
}

static bool becomes_ready(struct worker *worker, bool ready)
{
    for (int i = 0; i < 200 && is_ready(worker) != ready; i++) {
        wait_ms(50);
    }
    return is_ready(worker) == ready;
}

static void test_a_broker_that_is_away_shows_in_readiness_and_costs_nothing(void **state)
{
    (void)state;
    struct scene scene;
    open_scene(&scene, "away", 1);
    struct running running;
    start_worker(&running, &scene.config);
    assert_true(becomes_ready(running.worker, true));
    CHECK(rd_kafka_mock_broker_set_down(broker.cluster, 1) == RD_KAFKA_RESP_ERR_NO_ERROR);
    assert_true(becomes_ready(running.worker, false));
    CHECK(rd_kafka_mock_broker_set_up(broker.cluster, 1) == RD_KAFKA_RESP_ERR_NO_ERROR);
    queue_requests(&scene, 1, 50);
    struct reading reading;
    open_reading(&reading, scene.names[1], 50, 20000);
    assert_each_once(&reading, 50);
    close_reading(&reading);
    assert_true(becomes_ready(running.worker, true));
    stop_worker(&running);
    assert_committed(&scene, 0, 50);
}

static void test_a_flooded_partition_leaves_room_for_another(void **state)
{
    (void)state;
    enum { SHARE = 30 }; // of one of two partitions, while the other is quiet: 40 * 3 / 4
    struct scene scene;
    open_scene(&scene, "flood", 2);
    scene.config.intake_records_max = 40;
    fake_session_hold(true);
    queue_requests(&scene, 1, 2000); // all on partition 0
    struct running running;
    start_worker(&running, &scene.config);
    wait_for_inside(SHARE);
    wait_ms(1000);
    assert_int_equal(fake_session_most(), SHARE);
    for (int i = 2000; i < 2005; i++) {
        char custom_id[32];
        (void)snprintf(custom_id, sizeof custom_id, "r-%d", i);
        queue_request(scene.names[0], 1, custom_id);
    }
    mock_broker_flush(&broker);
    wait_for_inside(SHARE + 5);
    assert_int_equal(fake_session_most(), SHARE + 5);
    fake_session_hold(false);
    struct reading reading;
    open_reading(&reading, scene.names[1], 2005, 30000);
    assert_each_once(&reading, 2005);
    close_reading(&reading);
    stop_worker(&running);
    assert_committed(&scene, 0, 2000);
    assert_committed(&scene, 1, 5);
}

static void test_a_result_that_is_too_large_becomes_an_error(void **state)
{
    (void)state;
    struct scene scene;
    open_scene(&scene, "large", 1);
    queue_request(scene.names[0], 0, "large-1");
    queue_requests(&scene, 1, 5);
    struct running running;
    start_worker(&running, &scene.config);
    struct reading reading;
    open_reading(&reading, scene.names[1], 6, 10000);
    assert_int_equal(reading.count, 6);
    bool is_found = false;
    for (size_t i = 0; i < reading.count; i++) {
        is_found = is_found || strstr(reading.records[i].value.data, "result_too_large") != NULL;
    }
    assert_true(is_found);
    close_reading(&reading);
    stop_worker(&running);
    assert_committed(&scene, 0, 6);
}

static void test_a_drain_leaves_unfinished_records_to_the_next_worker(void **state)
{
    (void)state;
    struct scene scene;
    open_scene(&scene, "drain", 1);
    scene.config.drain_timeout_ms = 300;
    fake_session_hold(true);
    queue_requests(&scene, 1, 100);
    struct running running;
    start_worker(&running, &scene.config);
    wait_for_inside(100);
    stop_worker(&running);
    assert_true(running.is_clean);
    assert_committed(&scene, 0, 0);
    assert_int_equal(fake_session_answered(), 0);
    fake_session_hold(false);
    start_worker(&running, &scene.config);
    struct reading reading;
    open_reading(&reading, scene.names[1], 100, 20000);
    assert_each_once(&reading, 100);
    close_reading(&reading);
    stop_worker(&running);
    assert_committed(&scene, 0, 100);
}

/* r-0 to r-399 were queued twice, the others to r-999 once. The mock's rebalances cost commits, so
 * results may come again: not the number of results counts, but that none is missing. */
static bool has_all_of_two_rounds(const char *topic)
{
    bool has_all = false;
    for (int attempt = 0; attempt < 10 && !has_all; attempt++) {
        struct reading reading;
        open_reading(&reading, topic, RECORDS_MAX, 3000);
        has_all = true;
        for (int i = 0; i < 1000; i++) {
            has_all = has_all && reading.times[i] >= (i < 400 ? 2 : 1);
        }
        close_reading(&reading);
    }
    return has_all;
}

static void test_a_second_worker_takes_its_share(void **state)
{
    (void)state;
    struct scene scene;
    open_scene(&scene, "group", 4);
    struct running first;
    struct running second;
    queue_requests(&scene, 4, 400);
    start_worker(&first, &scene.config);
    start_worker(&second, &scene.config);
    wait_ms(3000);
    queue_requests(&scene, 4, 1000);
    assert_true(has_all_of_two_rounds(scene.names[1]));
    wait_ms(600); // commits are made by then: the mock takes none while members leave
    stop_worker(&first);
    stop_worker(&second);
    assert_true(first.is_clean && second.is_clean);
    for (int partition = 0; partition < 4; partition++) {
        assert_committed(&scene, partition, 350);
    }
}

static void test_a_missing_result_topic_is_an_error_at_start(void **state)
{
    (void)state;
    struct scene scene;
    open_scene(&scene, "missing", 1);
    rd_kafka_mock_topic_set_error(broker.cluster, scene.names[2],
                                  RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART);
    struct running running;
    start_worker(&running, &scene.config);
    CHECK(pthread_join(running.thread, NULL) == 0);
    assert_false(running.is_opened);
    assert_non_null(strstr(running.error.message, "missing.dlq"));
}

static int open_broker(void **state)
{
    (void)state;
    mock_broker_open(&broker);
    return 0;
}

static int close_broker(void **state)
{
    (void)state;
    mock_broker_close(&broker);
    return 0;
}

int main(void)
{
    const char *filter = getenv("TEST_FILTER"); // of the names, with * and ?
    if (filter != NULL) {
        cmocka_set_test_filter(filter);
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_answers_every_record_and_commits_it),
        cmocka_unit_test(test_refuses_exactly_once_on_a_broker_that_cannot),
        cmocka_unit_test(test_undecodable_values_become_dead_letters),
        cmocka_unit_test(test_a_full_worker_pauses_and_loses_nothing),
        cmocka_unit_test(test_a_broker_that_is_away_shows_in_readiness_and_costs_nothing),
        cmocka_unit_test(test_a_flooded_partition_leaves_room_for_another),
        cmocka_unit_test(test_a_result_that_is_too_large_becomes_an_error),
        cmocka_unit_test(test_a_drain_leaves_unfinished_records_to_the_next_worker),
        cmocka_unit_test(test_a_second_worker_takes_its_share),
        cmocka_unit_test(test_a_missing_result_topic_is_an_error_at_start),
    };
    return cmocka_run_group_tests(tests, open_broker, close_broker);
}
