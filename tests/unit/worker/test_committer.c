/* committer against the mock cluster: what is posted comes back once, in its final state, whatever
 * the broker answers on the way. */
#include "tests/support/cmocka.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "schemas/base/check.h"
#include "tests/support/mock_broker.h"
#include "worker/committer.h"

enum { API_PRODUCE = 0, INSIDE_MAX = 1000 };

static struct mock_broker broker;
static struct config config;

static void ignore_wake(void *context)
{
    (void)context;
}

static struct committer *open_committer(void)
{
    struct committer *committer = NULL;
    struct error error = {0};
    struct committer_wake wake = {ignore_wake, NULL};
    if (!committer_open(&config, false, INSIDE_MAX, wake, &committer, &error)) {
        fail_msg("%s", error.message);
    }
    return committer;
}

static struct delivery delivery_to(const char *topic, const char *value)
{
    return (struct delivery){
        .topic = topic, .partition = 0, .key = bytes_of("key"), .value = bytes_of(value)};
}

/* Takes `count` deliveries back, or fails after ten seconds. */
static void take_all(struct committer *committer, size_t count)
{
    struct delivery *taken[INSIDE_MAX];
    size_t taken_count = 0;
    for (int i = 0; i < 1000 && taken_count < count; i++) {
        taken_count += committer_take(committer, taken, INSIDE_MAX);
        (void)nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
    }
    assert_int_equal(taken_count, count);
}

static size_t count_values(const char *topic, const char *value)
{
    struct arena *arena = arena_open(16 << 20);
    struct mock_record *records = calloc(INSIDE_MAX, sizeof *records);
    size_t count = mock_broker_read(&broker, topic, arena, records, INSIDE_MAX, 1500);
    size_t found = 0;
    for (size_t i = 0; i < count; i++) {
        found += bytes_equal_text(records[i].value, value) ? 1 : 0;
    }
    free(records);
    arena_close(arena);
    return found;
}

static void test_delivers_key_value_and_headers(void **state)
{
    (void)state;
    struct committer *committer = open_committer();
    struct header headers[] = {{bytes_of("a"), bytes_of("1")}, {bytes_of("b"), {0}}};
    struct delivery delivery = delivery_to("plain", "hello");
    delivery.headers = (struct headers){headers, 2};
    committer_post(committer, &delivery);
    take_all(committer, 1);
    assert_int_equal(delivery.state, DELIVERY_DONE);
    committer_close(committer);

    struct arena *arena = arena_open(1 << 20);
    struct mock_record record;
    assert_int_equal(mock_broker_read(&broker, "plain", arena, &record, 1, 5000), 1);
    assert_true(bytes_equal_text(record.key, "key"));
    assert_true(bytes_equal_text(record.value, "hello"));
    assert_true(bytes_equal_text(mock_record_header(&record, "a")->value, "1"));
    assert_null(mock_record_header(&record, "b")->value.data);
    arena_close(arena);
}

static void test_sends_again_after_retriable_errors(void **state)
{
    (void)state;
    struct committer *committer = open_committer();
    rd_kafka_mock_push_request_errors(
        broker.cluster, API_PRODUCE, 3, RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS,
        RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT, RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION);
    struct delivery delivery = delivery_to("retried", "again");
    committer_post(committer, &delivery);
    take_all(committer, 1);
    assert_int_equal(delivery.state, DELIVERY_DONE);
    committer_close(committer);
    assert_int_equal(count_values("retried", "again"), 1);
}

static void test_replaces_a_producer_that_became_fatal(void **state)
{
    (void)state;
    struct committer *committer = open_committer();
    rd_kafka_mock_push_request_errors(broker.cluster, API_PRODUCE, 1,
                                      RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER);
    struct delivery deliveries[50];
    for (int i = 0; i < 50; i++) {
        deliveries[i] = delivery_to("replaced", "survivor");
        committer_post(committer, &deliveries[i]);
    }
    take_all(committer, 50);
    for (int i = 0; i < 50; i++) {
        assert_int_equal(deliveries[i].state, DELIVERY_DONE);
    }
    committer_close(committer);
    assert_true(count_values("replaced", "survivor") >= 50);
}

static void test_a_refused_record_costs_the_others_nothing(void **state)
{
    (void)state;
    struct committer *committer = open_committer();
    char *large = calloc(1, 2 << 20);
    struct delivery deliveries[3] = {delivery_to("mixed", "small"), delivery_to("mixed", "small"),
                                     delivery_to("mixed", "small")};
    deliveries[1].value = (struct bytes){large, 2 << 20};
    for (int i = 0; i < 3; i++) {
        committer_post(committer, &deliveries[i]);
    }
    take_all(committer, 3);
    assert_int_equal(deliveries[0].state, DELIVERY_DONE);
    assert_int_equal(deliveries[1].state, DELIVERY_TOO_LARGE);
    assert_int_equal(deliveries[2].state, DELIVERY_DONE);
    committer_close(committer);
    free(large);
}

static void test_says_that_a_topic_is_not_allowed(void **state)
{
    (void)state;
    struct committer *committer = open_committer();
    rd_kafka_mock_push_request_errors(broker.cluster, API_PRODUCE, 1,
                                      RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED);
    struct delivery delivery = delivery_to("forbidden", "secret");
    committer_post(committer, &delivery);
    take_all(committer, 1);
    assert_int_equal(delivery.state, DELIVERY_REFUSED);
    assert_int_equal(delivery.code, RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED);
    committer_close(committer);
}

static void test_waits_for_a_broker_that_is_away(void **state)
{
    (void)state;
    struct committer *committer = open_committer();
    struct delivery first = delivery_to("away", "patient");
    committer_post(committer, &first);
    take_all(committer, 1);
    CHECK(rd_kafka_mock_broker_set_down(broker.cluster, 1) == RD_KAFKA_RESP_ERR_NO_ERROR);
    struct delivery second = delivery_to("away", "patient");
    committer_post(committer, &second);
    (void)nanosleep(&(struct timespec){.tv_sec = 1}, NULL);
    struct delivery *taken;
    assert_int_equal(committer_take(committer, &taken, 1), 0);
    CHECK(rd_kafka_mock_broker_set_up(broker.cluster, 1) == RD_KAFKA_RESP_ERR_NO_ERROR);
    take_all(committer, 1);
    assert_int_equal(second.state, DELIVERY_DONE);
    committer_close(committer);
    assert_int_equal(count_values("away", "patient"), 2);
}

static void test_abandons_what_no_broker_takes(void **state)
{
    (void)state;
    struct committer *committer = open_committer();
    CHECK(rd_kafka_mock_broker_set_down(broker.cluster, 1) == RD_KAFKA_RESP_ERR_NO_ERROR);
    struct delivery delivery = delivery_to("abandoned", "late");
    committer_post(committer, &delivery);
    (void)nanosleep(&(struct timespec){.tv_nsec = 200000000}, NULL);
    committer_abandon(committer);
    take_all(committer, 1);
    assert_int_equal(delivery.state, DELIVERY_ABANDONED);
    CHECK(rd_kafka_mock_broker_set_up(broker.cluster, 1) == RD_KAFKA_RESP_ERR_NO_ERROR);
    committer_close(committer);
}

static int open_broker(void **state)
{
    (void)state;
    static const char *const topics[] = {"plain", "retried",   "replaced", "mixed",
                                         "away",  "forbidden", "abandoned"};
    mock_broker_open(&broker);
    for (size_t i = 0; i < sizeof topics / sizeof topics[0]; i++) {
        mock_broker_topic(&broker, topics[i], 1);
    }
    mock_broker_config(&broker, &config);
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
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_delivers_key_value_and_headers),
        cmocka_unit_test(test_sends_again_after_retriable_errors),
        cmocka_unit_test(test_replaces_a_producer_that_became_fatal),
        cmocka_unit_test(test_a_refused_record_costs_the_others_nothing),
        cmocka_unit_test(test_says_that_a_topic_is_not_allowed),
        cmocka_unit_test(test_waits_for_a_broker_that_is_away),
        cmocka_unit_test(test_abandons_what_no_broker_takes),
    };
    return cmocka_run_group_tests(tests, open_broker, close_broker);
}
