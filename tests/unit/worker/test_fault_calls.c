/* Every call of a worker to librdkafka that can fail, with every kind of error that it can return:
 * what the worker makes of it, and that nothing is lost, published twice or committed too early. */
#include "tests/support/fault_calls.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/cmocka.h"
#include "tests/support/fault_memory.h"
#include "tests/support/fault_scene.h"
#include "tests/support/seed.h"

enum outcome {
    GOES_ON,  // and nothing more is asked
    AGAIN,    // the same call is made again
    ABORTS,   // the transaction is aborted, and its results go into another one
    REPLACES, // a new producer sends them
    STOPS,    // the worker ends with a typed error; the next one goes on
    REFUSED,  // it does not start
};

struct row {
    struct fault fault;
    enum outcome outcome;
    struct fault trigger;    // what leads to the call
    const char *settings[2]; // beside the scene's
};

#define ERR(name) RD_KAFKA_RESP_ERR_##name
#define CALL(name, ...) .fault = {"rd_kafka_" name, __VA_ARGS__}
#define AFTER(name, ...) .trigger = {"rd_kafka_" name, __VA_ARGS__}
#define AFTER_AN_ABORT                                                                             \
    AFTER("send_offsets_to_transaction", FAULT_ABORTABLE, ERR(ILLEGAL_GENERATION))
#define AFTER_A_BREAK AFTER("send_offsets_to_transaction", FAULT_FATAL, ERR(UNKNOWN_PRODUCER_ID))
#define LATE .is_late = true
#define TIGHT .settings = {"intake.records.max=2", "scripted.latency.ms=300"}

/* Both guarantees: the start, the group, the records. */
static const struct row common[] = {
    {CALL("conf_set", FAULT_PLAIN, ERR(_INVALID_ARG)), REFUSED},
    {CALL("new", FAULT_PLAIN, ERR(_CRIT_SYS_RESOURCE)), REFUSED},
    {CALL("new", FAULT_PLAIN, ERR(_CRIT_SYS_RESOURCE), .skip = 1), REFUSED},
    {CALL("poll_set_consumer", FAULT_PLAIN, ERR(_UNKNOWN_GROUP)), REFUSED},
    {CALL("queue_get_consumer", FAULT_PLAIN, ERR(_UNKNOWN_GROUP)), REFUSED},
    {CALL("subscribe", FAULT_PLAIN, ERR(_INVALID_ARG)), REFUSED},
    {CALL("subscribe", FAULT_PLAIN, ERR(_FATAL)), REFUSED},
    {CALL("topic_new", FAULT_PLAIN, ERR(_INVALID_ARG)), REFUSED},
    {CALL("metadata", FAULT_PLAIN, ERR(_TRANSPORT), .times = 2), AGAIN},
    {CALL("metadata", FAULT_PLAIN, ERR(_TIMED_OUT)), AGAIN},
    {CALL("clusterid", FAULT_PLAIN, ERR(_TIMED_OUT)), GOES_ON},
    {CALL("consumer_poll", FAULT_PLAIN, ERR(_FATAL), .skip = 9), STOPS},
    {CALL("consumer_poll", FAULT_PLAIN, ERR(_AUTO_OFFSET_RESET), .skip = 9), STOPS},
    {CALL("consumer_poll", FAULT_PLAIN, ERR(TOPIC_AUTHORIZATION_FAILED), .skip = 9), STOPS},
    {CALL("consumer_poll", FAULT_PLAIN, ERR(GROUP_AUTHORIZATION_FAILED), .skip = 9), STOPS},
    {CALL("consumer_poll", FAULT_PLAIN, ERR(_TRANSPORT), .skip = 9, .times = 3), AGAIN},
    {CALL("consumer_poll", FAULT_PLAIN, ERR(_ALL_BROKERS_DOWN), .skip = 9), AGAIN},
    {CALL("consumer_poll", FAULT_PLAIN, ERR(_MAX_POLL_EXCEEDED), .skip = 9), AGAIN},
    {CALL("consumer_poll", FAULT_PLAIN, ERR(UNKNOWN_TOPIC_OR_PART), .skip = 9), AGAIN},
    {CALL("consumer_poll", FAULT_PLAIN, ERR(NO_ERROR), .times = 20), AGAIN},
    {CALL("message_headers", FAULT_PLAIN, ERR(_NOENT)), GOES_ON},
    {CALL("message_headers", FAULT_PLAIN, ERR(_BAD_MSG), .skip = 3), GOES_ON},
    {CALL("get_watermark_offsets", FAULT_PLAIN, ERR(_UNKNOWN_PARTITION)), GOES_ON},
    {CALL("pause_partitions", FAULT_PLAIN, ERR(_UNKNOWN_PARTITION), .times = 2), AGAIN, TIGHT},
    {CALL("resume_partitions", FAULT_PLAIN, ERR(_UNKNOWN_PARTITION), .times = 2), AGAIN, TIGHT},
    {CALL("incremental_assign", FAULT_PLAIN, ERR(_CONFLICT)), STOPS},
    {CALL("incremental_assign", FAULT_FATAL, ERR(_FATAL), .skip = 2), STOPS},
    {CALL("incremental_unassign", FAULT_PLAIN, ERR(_STATE)), STOPS},
    {CALL("queue_poll", FAULT_PLAIN, ERR(_TIMED_OUT), .times = 3), AGAIN},
    {CALL("event_error", FAULT_PLAIN, ERR(_TIMED_OUT), .times = 2), AGAIN},
    {CALL("event_error", FAULT_PLAIN, ERR(GROUP_AUTHORIZATION_FAILED)), AGAIN},
    {CALL("event_ListConsumerGroupOffsets_result", FAULT_PLAIN, ERR(_FAIL)), AGAIN},
    {CALL("group_result_error", FAULT_PLAIN, ERR(NOT_COORDINATOR), .times = 2), AGAIN},
    {CALL("group_result_error", FAULT_PLAIN, ERR(UNSTABLE_OFFSET_COMMIT)), AGAIN},
    {CALL("group_result_partitions", FAULT_PLAIN, ERR(_PARTIAL)), AGAIN},
    {CALL("flush", FAULT_PLAIN, ERR(_TIMED_OUT), .times = 3), AGAIN},
    {CALL("producev", FAULT_PLAIN, ERR(_QUEUE_FULL), .times = 3), AGAIN},
    {CALL("producev", FAULT_PLAIN, ERR(MSG_SIZE_TOO_LARGE)), AGAIN},
    {CALL("producev", FAULT_PLAIN, ERR(_FATAL)), REPLACES},
    {CALL("producev", FAULT_PLAIN, ERR(_UNKNOWN_TOPIC)), STOPS},
    {CALL("producev", FAULT_PLAIN, ERR(_UNKNOWN_PARTITION), .skip = 3), STOPS},
    {.fault = {"a delivery report", FAULT_PLAIN, ERR(OUT_OF_ORDER_SEQUENCE_NUMBER)}, REPLACES},
    {.fault = {"a delivery report", FAULT_PLAIN, ERR(TOPIC_AUTHORIZATION_FAILED)}, STOPS},
    {.fault = {"a delivery report", FAULT_PLAIN, ERR(_MSG_TIMED_OUT), .times = 3}, AGAIN},
    {.fault = {"a delivery report", FAULT_PLAIN, ERR(NOT_ENOUGH_REPLICAS), .skip = 2}, AGAIN},
    {.fault = {"a delivery report", FAULT_PLAIN, ERR(MSG_SIZE_TOO_LARGE)}, AGAIN},
    {CALL("consumer_close_queue", FAULT_PLAIN, ERR(_STATE)), GOES_ON},
    {CALL("consumer_closed", FAULT_PLAIN, ERR(NO_ERROR), .times = 3), AGAIN},
};

static const struct row exactly_once[] = {
    {CALL("init_transactions", FAULT_RETRIABLE, ERR(_TIMED_OUT), .times = 2), AGAIN},
    {CALL("init_transactions", FAULT_RETRIABLE, ERR(_TIMED_OUT), LATE), AGAIN},
    {CALL("init_transactions", FAULT_FATAL, ERR(_FATAL)), REFUSED},
    {CALL("init_transactions", FAULT_PLAIN, ERR(TRANSACTIONAL_ID_AUTHORIZATION_FAILED)), REFUSED},
    {CALL("init_transactions", FAULT_PLAIN, ERR(_UNSUPPORTED_FEATURE)), REFUSED,
     .settings = {"delivery.guarantee=exactly_once"}},
    {CALL("init_transactions", FAULT_RETRIABLE, ERR(_TIMED_OUT), .skip = 1), REPLACES,
     AFTER_A_BREAK},
    {CALL("init_transactions", FAULT_FATAL, ERR(_FATAL), .skip = 1), REPLACES, AFTER_A_BREAK},
    {CALL("init_transactions", FAULT_FATAL, ERR(PRODUCER_FENCED), .skip = 1), STOPS, AFTER_A_BREAK},
    {CALL("new", FAULT_PLAIN, ERR(_CRIT_SYS_RESOURCE), .skip = 2), REPLACES, AFTER_A_BREAK},
    {CALL("begin_transaction", FAULT_FATAL, ERR(_FATAL)), REPLACES},
    {CALL("begin_transaction", FAULT_PLAIN, ERR(_STATE), .skip = 1), REPLACES},
    {CALL("begin_transaction", FAULT_FATAL, ERR(_FENCED)), STOPS},
    {CALL("consumer_group_metadata", FAULT_PLAIN, ERR(_UNKNOWN_GROUP), .times = 2), AGAIN},
    {CALL("consumer_group_metadata_write", FAULT_PLAIN, ERR(_INVALID_ARG)), AGAIN},
    {CALL("consumer_group_metadata_write", FAULT_PLAIN, ERR(_INVALID_ARG), .skip = 1), AGAIN},
    {CALL("memberid", FAULT_PLAIN, ERR(_TIMED_OUT)), AGAIN},
    {CALL("memberid", FAULT_PLAIN, ERR(_TIMED_OUT), .skip = 1), AGAIN},
    {CALL("send_offsets_to_transaction", FAULT_RETRIABLE, ERR(_TIMED_OUT), .times = 3), AGAIN},
    {CALL("send_offsets_to_transaction", FAULT_RETRIABLE, ERR(_TIMED_OUT), LATE), AGAIN},
    {CALL("send_offsets_to_transaction", FAULT_ABORTABLE, ERR(ILLEGAL_GENERATION)), ABORTS},
    {CALL("send_offsets_to_transaction", FAULT_ABORTABLE, ERR(UNKNOWN_MEMBER_ID), .times = 3),
     ABORTS},
    {CALL("send_offsets_to_transaction", FAULT_ABORTABLE, ERR(FENCED_INSTANCE_ID), LATE), ABORTS},
    {CALL("send_offsets_to_transaction", FAULT_FATAL, ERR(UNKNOWN_PRODUCER_ID)), REPLACES},
    {CALL("send_offsets_to_transaction", FAULT_FATAL, ERR(UNKNOWN_PRODUCER_ID), LATE), REPLACES},
    {CALL("send_offsets_to_transaction", FAULT_PLAIN, ERR(_FAIL)), REPLACES},
    {CALL("send_offsets_to_transaction", FAULT_PLAIN, ERR(OFFSET_METADATA_TOO_LARGE)), STOPS},
    {CALL("send_offsets_to_transaction", FAULT_ABORTABLE, ERR(GROUP_AUTHORIZATION_FAILED)), STOPS},
    {CALL("send_offsets_to_transaction", FAULT_FATAL, ERR(PRODUCER_FENCED)), STOPS},
    {CALL("send_offsets_to_transaction", FAULT_FATAL, ERR(PRODUCER_FENCED), LATE), STOPS},
    {CALL("commit_transaction", FAULT_RETRIABLE, ERR(_TIMED_OUT), .times = 3), AGAIN},
    {CALL("commit_transaction", FAULT_RETRIABLE, ERR(_TIMED_OUT), LATE), AGAIN},
    {CALL("commit_transaction", FAULT_ABORTABLE, ERR(_TIMED_OUT)), ABORTS},
    {CALL("commit_transaction", FAULT_ABORTABLE, ERR(_TIMED_OUT), LATE), ABORTS},
    {CALL("commit_transaction", FAULT_FATAL, ERR(UNKNOWN_PRODUCER_ID)), REPLACES},
    {CALL("commit_transaction", FAULT_FATAL, ERR(UNKNOWN_PRODUCER_ID), LATE), REPLACES},
    {CALL("commit_transaction", FAULT_FATAL, ERR(UNKNOWN_PRODUCER_ID), LATE, .times = 3), REPLACES},
    {CALL("commit_transaction", FAULT_PLAIN, ERR(_FAIL), LATE, .skip = 2), REPLACES},
    {CALL("commit_transaction", FAULT_FATAL, ERR(PRODUCER_FENCED)), STOPS},
    {CALL("commit_transaction", FAULT_FATAL, ERR(PRODUCER_FENCED), LATE), STOPS},
    {CALL("commit_transaction", FAULT_FATAL, ERR(TRANSACTIONAL_ID_AUTHORIZATION_FAILED), LATE),
     STOPS},
    {CALL("abort_transaction", FAULT_RETRIABLE, ERR(_TIMED_OUT), .times = 2), AGAIN,
     AFTER_AN_ABORT},
    {CALL("abort_transaction", FAULT_RETRIABLE, ERR(_TIMED_OUT), LATE), AGAIN, AFTER_AN_ABORT},
    {CALL("abort_transaction", FAULT_ABORTABLE, ERR(_FAIL)), REPLACES, AFTER_AN_ABORT},
    {CALL("abort_transaction", FAULT_FATAL, ERR(UNKNOWN_PRODUCER_ID)), REPLACES, AFTER_AN_ABORT},
    {CALL("abort_transaction", FAULT_FATAL, ERR(UNKNOWN_PRODUCER_ID), LATE), REPLACES,
     AFTER_AN_ABORT},
    {CALL("abort_transaction", FAULT_FATAL, ERR(PRODUCER_FENCED)), STOPS, AFTER_AN_ABORT},
    {CALL("purge", FAULT_PLAIN, ERR(_INVALID_ARG)), GOES_ON, AFTER_AN_ABORT},
};

static const struct row at_least_once[] = {
    {CALL("commit_queue", FAULT_PLAIN, ERR(_STATE), .times = 2), AGAIN},
    {CALL("commit_queue", FAULT_PLAIN, ERR(_UNKNOWN_GROUP), LATE), AGAIN},
    {CALL("queue_poll_callback", FAULT_PLAIN, ERR(_TIMED_OUT), .times = 3), AGAIN},
    {.fault = {"a commit report", FAULT_PLAIN, ERR(REBALANCE_IN_PROGRESS), .times = 2}, AGAIN},
    {.fault = {"a commit report", FAULT_PLAIN, ERR(ILLEGAL_GENERATION)}, AGAIN},
    {.fault = {"a commit report", FAULT_PLAIN, ERR(_TRANSPORT)}, AGAIN},
    {.fault = {"a commit report", FAULT_PLAIN, ERR(OFFSET_METADATA_TOO_LARGE)}, AGAIN},
    {CALL("new", FAULT_PLAIN, ERR(_CRIT_SYS_RESOURCE), .skip = 2), REPLACES,
     AFTER("producev", FAULT_PLAIN, ERR(_FATAL))},
};

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

static const struct list {
    const struct row *rows;
    size_t count;
} lists[] = {{common, COUNT(common)},
             {exactly_once, COUNT(exactly_once)},
             {at_least_once, COUNT(at_least_once)}};

static enum life_end expected_end(enum outcome outcome)
{
    return outcome == STOPS ? LIFE_FAILED : outcome == REFUSED ? LIFE_REFUSED : LIFE_FINISHED;
}

/* Whether the calls that followed are those of the outcome. */
static bool has_followed(const struct row *row)
{
    enum { CLIENTS = 2 }; // without a new producer
    switch (row->outcome) {
    case AGAIN:
        return fault_calls(row->fault.call) > fault_hits(0);
    case ABORTS:
        return fault_calls("rd_kafka_abort_transaction") > 0;
    case REPLACES:
        return fault_calls("rd_kafka_new") > CLIENTS;
    case GOES_ON:
    case STOPS:
    case REFUSED:
        return true;
    }
    return false;
}

static bool run_row(const struct row *row, bool is_exactly_once)
{
    struct fault faults[] = {row->fault, row->trigger};
    size_t settings_count = 0;
    while (settings_count < COUNT(row->settings) && row->settings[settings_count] != NULL) {
        settings_count++;
    }
    fault_scene_configure(row->settings, settings_count);
    fault_scene_reset(is_exactly_once);
    fault_arm(faults, row->trigger.call == NULL ? 1 : 2);
    struct error error = {0};
    enum life_end end = fault_scene_live(&error);
    const struct fault *fault = &row->fault;
    bool is_as_expected =
        fault_hits(0) > 0 && end == expected_end(row->outcome) && has_followed(row);
    int hits = fault_hits(0);
    fault_arm(NULL, 0);
    if (!is_as_expected) {
        print_error("%s, kind %d, code %s, late %d: %d hits, end %d with \"%s\"\n", fault->call,
                    (int)fault->kind, rd_kafka_err2name(fault->code), fault->is_late, hits,
                    (int)end, error.message);
    }
    if (end != LIFE_FINISHED) {
        assert_int_equal(fault_scene_live(&error), LIFE_FINISHED);
    }
    fault_scene_check_all(fault->code == ERR(MSG_SIZE_TOO_LARGE));
    return is_as_expected;
}

static bool is_chosen(const struct row *row)
{
    const char *filter = getenv("TEST_CALL"); // only rows of this call
    return filter == NULL || strcmp(filter, row->fault.call) == 0;
}

static void run_list(const struct list *list, bool is_exactly_once)
{
    bool are_as_expected = true;
    for (size_t i = 0; i < list->count; i++) {
        if (is_chosen(&list->rows[i])) {
            are_as_expected = run_row(&list->rows[i], is_exactly_once) && are_as_expected;
        }
    }
    assert_true(are_as_expected);
}

/* With one guarantee each, in turn; with both where TEST_FAULTS is set. */
static void test_start_group_and_records(void **state)
{
    (void)state;
    if (getenv("TEST_FAULTS") != NULL) {
        run_list(&lists[0], true);
        run_list(&lists[0], false);
        return;
    }
    bool are_as_expected = true;
    size_t first = random_below(2);
    for (size_t i = 0; i < lists[0].count; i++) {
        if (is_chosen(&lists[0].rows[i])) {
            are_as_expected = run_row(&lists[0].rows[i], (first + i) % 2 == 0) && are_as_expected;
        }
    }
    assert_true(are_as_expected);
}

static void test_transactions(void **state)
{
    (void)state;
    run_list(&lists[1], true);
}

static void test_commits_at_least_once(void **state)
{
    (void)state;
    run_list(&lists[2], false);
}

/* Calls that no table has, and why. */
static const struct harmless {
    const char *why;
    const char *calls[32];
} harmless[] = {
    {"it only allocates, and librdkafka ends the process itself where it finds no memory",
     {"conf_new", "headers_new", "header_add", "queue_new", "topic_partition_list_new",
      "topic_partition_list_add", "topic_partition_list_copy",
      "consumer_group_metadata_new_with_genid", "AdminOptions_new",
      "ListConsumerGroupOffsets_new"}},
    {"it reads what the caller holds, at a place that is there",
     {"error_code", "error_string", "error_is_fatal", "error_is_retriable",
      "error_txn_requires_abort", "err2name", "err2str", "last_error", "fatal_error",
      "message_errstr", "message_timestamp", "topic_name", "header_cnt", "header_get_all",
      "topic_partition_list_find", "topic_partition_list_del_by_idx", "version",
      "ListConsumerGroupOffsets_result_groups"}},
    {"it sets a constant that librdkafka's documentation allows",
     {"AdminOptions_set_request_timeout", "AdminOptions_set_require_stable_offsets",
      "conf_set_dr_msg_cb", "conf_set_error_cb", "conf_set_log_cb", "conf_set_opaque",
      "conf_set_rebalance_cb", "conf_set_stats_cb", "queue_io_event_enable"}},
    {"it says yes or no", {"assignment_lost"}},
    {"it asks; the answer is an event, which is in the tables", {"ListConsumerGroupOffsets"}},
    {"it gives something back",
     {"AdminOptions_destroy", "ListConsumerGroupOffsets_destroy", "conf_destroy",
      "consumer_group_metadata_destroy", "destroy_flags", "error_destroy", "event_destroy",
      "headers_destroy", "mem_free", "message_destroy", "metadata_destroy", "queue_destroy",
      "topic_destroy", "topic_partition_list_destroy"}},
    {"commands alone make it, and end with an error; they commit no offsets of the group",
     {"AdminOptions_set_operation_timeout", "CreateTopics", "NewTopic_destroy", "NewTopic_new",
      "NewTopic_set_config", "assign", "header_get_last", "outq_len", "poll",
      "query_watermark_offsets"}},
    {"the demo broker alone makes it",
     {"destroy", "mock_cluster_bootstraps", "mock_cluster_destroy", "mock_cluster_new",
      "mock_topic_create"}},
};

static const char prefix[] = "rd_kafka_";

static bool is_harmless(const char *call)
{
    for (size_t i = 0; i < COUNT(harmless); i++) {
        for (size_t j = 0; j < COUNT(harmless[i].calls) && harmless[i].calls[j] != NULL; j++) {
            if (strcmp(harmless[i].calls[j], call + sizeof prefix - 1) == 0) {
                return true;
            }
        }
    }
    return false;
}

static bool is_in_a_table(const char *call)
{
    for (size_t i = 0; i < COUNT(lists); i++) {
        for (size_t j = 0; j < lists[i].count; j++) {
            if (strcmp(lists[i].rows[j].fault.call, call) == 0) {
                return true;
            }
        }
    }
    return false;
}

static void test_every_call_of_the_worker_is_in_a_table_or_cannot_fail(void **state)
{
    (void)state;
    FILE *symbols = popen(NM " -u " WORKER_LIBRARY " | sort -u", "r");
    assert_non_null(symbols);
    int count = 0;
    char line[512];
    while (fgets(line, sizeof line, symbols) != NULL) {
        char *call = strstr(line, prefix);
        if (call == NULL) {
            continue;
        }
        call[strcspn(call, " @\n")] = '\0';
        count++;
        if (is_in_a_table(call) == is_harmless(call)) {
            fail_msg("%s is in no table of faults, nor said to be harmless; or both", call);
        }
    }
    assert_int_equal(pclose(symbols), 0);
    assert_true(count > 50);
}

static int open_all(void **state)
{
    (void)state;
    seed_random();
    fault_scene_open();
    return 0;
}

static int close_all(void **state)
{
    (void)state;
    fault_scene_close();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_call_of_the_worker_is_in_a_table_or_cannot_fail),
        cmocka_unit_test(test_start_group_and_records),
        cmocka_unit_test(test_transactions),
        cmocka_unit_test(test_commits_at_least_once),
    };
    const char *filter = getenv("TEST_FILTER"); // of the names, with * and ?
    if (filter != NULL) {
        cmocka_set_test_filter(filter);
    }
    return cmocka_run_group_tests(tests, open_all, close_all);
}
