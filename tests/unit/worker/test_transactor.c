/* transactor, through the committer, against the mock cluster: which calls follow which error, and
 * what is said of the transaction in the end. The mock neither isolates nor fences by itself: that
 * is for the end-to-end tests. */
#include "tests/support/cmocka.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "schemas/base/check.h"
#include "tests/support/mock_broker.h"
#include "worker/committer.h"

enum {
    API_PRODUCE = 0,
    API_INIT_PRODUCER_ID = 22,
    API_ADD_PARTITIONS = 24,
    API_ADD_OFFSETS = 25,
    API_END_TXN = 26,
    API_TXN_OFFSET_COMMIT = 28,
    RECORDS = 20,
};

static struct mock_broker broker;
static struct config config;

struct scene {
    struct committer *committer;
    struct transaction *transaction;
    struct delivery deliveries[RECORDS];
};

static void ignore_wake(void *context)
{
    (void)context;
}

static int open_scene(void **state)
{
    struct scene *scene = calloc(1, sizeof *scene);
    struct committer_wake wake = {ignore_wake, NULL};
    struct transaction_limits limits = {RECORDS, 1 << 20, 100};
    struct error error = {0};
    if (!committer_open(&config, true, RECORDS, wake, &scene->committer, &error)) {
        fail_msg("%s", error.message);
    }
    CHECK(transaction_open(&limits, &scene->transaction, &error));
    for (int i = 0; i < RECORDS; i++) {
        scene->deliveries[i] =
            (struct delivery){.topic = "responses", .key = bytes_of("k"), .value = bytes_of("v")};
    }
    *state = scene;
    return 0;
}

static int close_scene(void **state)
{
    struct scene *scene = *state;
    committer_close(scene->committer);
    scene->transaction->count = 0;
    transaction_close(scene->transaction);
    free(scene);
    rd_kafka_mock_clear_request_errors(broker.cluster, API_END_TXN);
    config.worker_id_is_unique = true;
    return 0;
}

static void wait_ms(long ms)
{
    (void)nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000}, NULL);
}

static void post(struct scene *scene)
{
    struct transaction *transaction = scene->transaction;
    for (int i = 0; i < RECORDS; i++) {
        transaction->deliveries[i] = &scene->deliveries[i];
    }
    transaction->count = RECORDS;
    transaction->offsets = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(transaction->offsets, "requests", 0)->offset = RECORDS;
    transaction->group = rd_kafka_consumer_group_metadata_new_with_genid("test", 1, "me", NULL);
    transaction->state = TRANSACTION_SENT;
    committer_post_transaction(scene->committer, transaction);
}

static void await_end(struct scene *scene)
{
    for (int i = 0; i < 2000; i++) {
        if (committer_take_transaction(scene->committer) != NULL) {
            return;
        }
        wait_ms(10);
    }
    fail_msg("the transaction did not end");
}

static enum transaction_result run(struct scene *scene)
{
    post(scene);
    await_end(scene);
    enum transaction_result result = scene->transaction->result;
    scene->transaction->count = 0;
    transaction_end(scene->transaction);
    return result;
}

static void assert_all(const struct scene *scene, enum delivery_state expected)
{
    for (int i = 0; i < RECORDS; i++) {
        assert_int_equal(scene->deliveries[i].state, expected);
    }
}

/* After whatever happened, the same results go through. */
static void assert_goes_on(struct scene *scene)
{
    assert_int_equal(run(scene), TRANSACTION_COMMITTED);
    assert_all(scene, DELIVERY_DONE);
}

static void test_commits_one_after_the_other(void **state)
{
    struct scene *scene = *state;
    for (int i = 0; i < 3; i++) {
        assert_goes_on(scene);
        for (int j = 0; j < RECORDS; j++) {
            scene->deliveries[j].state = DELIVERY_ENCODED;
        }
    }
}

static void test_retriable_errors_cost_nothing(void **state)
{
    static const int16_t apis[] = {API_ADD_PARTITIONS, API_ADD_OFFSETS, API_TXN_OFFSET_COMMIT,
                                   API_END_TXN};
    struct scene *scene = *state;
    for (size_t i = 0; i < sizeof apis / sizeof apis[0]; i++) {
        rd_kafka_mock_push_request_errors(broker.cluster, apis[i], 2,
                                          RD_KAFKA_RESP_ERR_COORDINATOR_NOT_AVAILABLE,
                                          RD_KAFKA_RESP_ERR_NOT_COORDINATOR);
        assert_int_equal(run(scene), TRANSACTION_COMMITTED);
        for (int j = 0; j < RECORDS; j++) {
            scene->deliveries[j].state = DELIVERY_ENCODED;
        }
    }
    rd_kafka_mock_push_request_errors(broker.cluster, API_PRODUCE, 2,
                                      RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS,
                                      RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION);
    assert_goes_on(scene);
}

static void test_offsets_of_a_stale_member_abort(void **state)
{
    static const rd_kafka_resp_err_t codes[] = {RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID,
                                                RD_KAFKA_RESP_ERR_ILLEGAL_GENERATION};
    struct scene *scene = *state;
    for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++) {
        rd_kafka_mock_push_request_errors(broker.cluster, API_TXN_OFFSET_COMMIT, 1, codes[i]);
        assert_int_equal(run(scene), TRANSACTION_ABORTED);
        assert_all(scene, DELIVERY_ENCODED);
    }
    assert_goes_on(scene);
}

static void test_a_broken_sequence_aborts(void **state)
{
    struct scene *scene = *state;
    rd_kafka_mock_push_request_errors(broker.cluster, API_PRODUCE, 1,
                                      RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER);
    assert_int_equal(run(scene), TRANSACTION_ABORTED);
    assert_all(scene, DELIVERY_ENCODED);
    assert_goes_on(scene);
}

static void test_what_the_topic_does_not_take_aborts_and_is_named(void **state)
{
    struct scene *scene = *state;
    char *large = calloc(1, 2 << 20);
    scene->deliveries[3].value = (struct bytes){large, 2 << 20};
    assert_int_equal(run(scene), TRANSACTION_ABORTED);
    assert_int_equal(scene->deliveries[3].state, DELIVERY_TOO_LARGE);
    assert_int_equal(scene->deliveries[2].state, DELIVERY_ENCODED);
    scene->deliveries[3].value = bytes_of("smaller");
    scene->deliveries[3].state = DELIVERY_ENCODED;
    assert_goes_on(scene);
    free(large);
}

static void test_a_topic_that_is_not_allowed_stops_the_worker(void **state)
{
    struct scene *scene = *state;
    rd_kafka_mock_push_request_errors(broker.cluster, API_ADD_PARTITIONS, 1,
                                      RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED);
    assert_int_equal(run(scene), TRANSACTION_FAILED);
    assert_true(scene->transaction->error.kind == ERROR_FATAL);
}

static void test_a_timeout_of_the_broker_before_the_commit_means_aborted(void **state)
{
    struct scene *scene = *state;
    config.worker_id_is_unique = true;
    rd_kafka_mock_push_request_errors(broker.cluster, API_TXN_OFFSET_COMMIT, 1,
                                      RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH);
    assert_int_equal(run(scene), TRANSACTION_ABORTED);
    assert_all(scene, DELIVERY_ENCODED);
    assert_goes_on(scene);
}

static void test_a_fence_at_the_commit_leaves_the_outcome_to_the_groups_offsets(void **state)
{
    struct scene *scene = *state;
    config.worker_id_is_unique = true;
    rd_kafka_mock_push_request_errors(broker.cluster, API_END_TXN, 1,
                                      RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH);
    assert_int_equal(run(scene), TRANSACTION_UNKNOWN);
    assert_all(scene, DELIVERY_ENCODED);
    assert_goes_on(scene);
}

static void test_an_abort_that_the_commit_asks_for_leaves_it_to_them_too(void **state)
{
    struct scene *scene = *state;
    rd_kafka_mock_push_request_errors(broker.cluster, API_END_TXN, 1,
                                      RD_KAFKA_RESP_ERR_UNKNOWN_PRODUCER_ID);
    assert_int_equal(run(scene), TRANSACTION_UNKNOWN);
    assert_goes_on(scene);
}

static void test_another_process_with_the_same_id_stops_the_worker(void **state)
{
    static const struct {
        int16_t api;
        rd_kafka_resp_err_t code;
    } fences[] = {
        {API_ADD_PARTITIONS, RD_KAFKA_RESP_ERR_PRODUCER_FENCED},
        {API_ADD_PARTITIONS, RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH},
        {API_PRODUCE, RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH},
        {API_ADD_OFFSETS, RD_KAFKA_RESP_ERR_PRODUCER_FENCED},
        {API_TXN_OFFSET_COMMIT, RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH},
        {API_END_TXN, RD_KAFKA_RESP_ERR_PRODUCER_FENCED},
    };
    (void)state;
    for (size_t i = 0; i < sizeof fences / sizeof fences[0]; i++) {
        void *opened = NULL;
        (void)open_scene(&opened);
        struct scene *scene = opened;
        config.worker_id_is_unique = false;
        rd_kafka_mock_push_request_errors(broker.cluster, fences[i].api, 1, fences[i].code);
        assert_int_equal(run(scene), TRANSACTION_FAILED);
        assert_non_null(strstr(scene->transaction->error.message, "worker.id worker-1"));
        (void)close_scene(&opened);
    }
}

static void test_a_broker_that_is_away_for_a_moment_costs_nothing(void **state)
{
    struct scene *scene = *state;
    CHECK(rd_kafka_mock_broker_set_down(broker.cluster, 1) == RD_KAFKA_RESP_ERR_NO_ERROR);
    post(scene);
    wait_ms(1000);
    assert_null(committer_take_transaction(scene->committer));
    CHECK(rd_kafka_mock_broker_set_up(broker.cluster, 1) == RD_KAFKA_RESP_ERR_NO_ERROR);
    await_end(scene);
    assert_int_equal(scene->transaction->result, TRANSACTION_COMMITTED);
    scene->transaction->count = 0;
    transaction_end(scene->transaction);
}

static void test_stopping_waits_for_no_broker(void **state)
{
    struct scene *scene = *state;
    CHECK(rd_kafka_mock_broker_set_down(broker.cluster, 1) == RD_KAFKA_RESP_ERR_NO_ERROR);
    post(scene);
    wait_ms(300);
    committer_abandon(scene->committer);
    await_end(scene);
    CHECK(rd_kafka_mock_broker_set_up(broker.cluster, 1) == RD_KAFKA_RESP_ERR_NO_ERROR);
    assert_true(scene->transaction->result == TRANSACTION_ABANDONED ||
                scene->transaction->result == TRANSACTION_ABORTED);
    assert_all(scene, DELIVERY_ENCODED);
}

static void test_begins_although_the_coordinator_is_loading(void **state)
{
    (void)state;
    rd_kafka_mock_push_request_errors(broker.cluster, API_INIT_PRODUCER_ID, 2,
                                      RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS,
                                      RD_KAFKA_RESP_ERR_NOT_COORDINATOR);
    void *scene = NULL;
    (void)open_scene(&scene);
    assert_goes_on(scene);
    (void)close_scene(&scene);
}

static void test_says_when_its_transactional_id_is_not_allowed(void **state)
{
    (void)state;
    rd_kafka_mock_push_request_errors(broker.cluster, API_INIT_PRODUCER_ID, 1,
                                      RD_KAFKA_RESP_ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED);
    struct committer *committer = NULL;
    struct committer_wake wake = {ignore_wake, NULL};
    struct error error = {0};
    assert_false(committer_open(&config, true, RECORDS, wake, &committer, &error));
    assert_true(error.kind == ERROR_FATAL);
    assert_non_null(strstr(error.message, "transactions cannot begin"));
}

static int open_broker(void **state)
{
    (void)state;
    mock_broker_open(&broker);
    mock_broker_topic(&broker, "responses", 1);
    mock_broker_topic(&broker, "requests", 1);
    mock_broker_config(&broker, &config);
    config.worker_id_is_unique = true;
    return 0;
}

static int close_broker(void **state)
{
    (void)state;
    mock_broker_close(&broker);
    return 0;
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, open_scene, close_scene)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_commits_one_after_the_other),
        TEST(test_retriable_errors_cost_nothing),
        TEST(test_offsets_of_a_stale_member_abort),
        TEST(test_a_broken_sequence_aborts),
        TEST(test_what_the_topic_does_not_take_aborts_and_is_named),
        TEST(test_a_topic_that_is_not_allowed_stops_the_worker),
        TEST(test_a_timeout_of_the_broker_before_the_commit_means_aborted),
        TEST(test_a_fence_at_the_commit_leaves_the_outcome_to_the_groups_offsets),
        TEST(test_an_abort_that_the_commit_asks_for_leaves_it_to_them_too),
        cmocka_unit_test(test_another_process_with_the_same_id_stops_the_worker),
        TEST(test_a_broker_that_is_away_for_a_moment_costs_nothing),
        TEST(test_stopping_waits_for_no_broker),
        cmocka_unit_test(test_begins_although_the_coordinator_is_loading),
        cmocka_unit_test(test_says_when_its_transactional_id_is_not_allowed),
    };
    return cmocka_run_group_tests(tests, open_broker, close_broker);
}
