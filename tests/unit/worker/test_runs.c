/* runs, and what it is made from: a sender, scans of topics, what a run has already. On the mock
 * cluster, which has no isolation; that is tested on a real broker, in tests/e2e. */
#include "tests/support/cmocka.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/mock_broker.h"
#include "worker/run_present.h"
#include "worker/run_reader.h"
#include "worker/runs.h"
#include "worker/sender.h"
#include "worker/topic_scan.h"

enum { PARTITIONS = 3 };

static struct mock_broker broker;
static struct config config;

static struct sender *open_sender(const char *id)
{
    struct error error = {0};
    struct sender *sender = NULL;
    if (!sender_open(&config, id, &sender, &error)) {
        fail_msg("%s", error.message);
    }
    return sender;
}

static void put(struct sender *sender, const char *topic, int32_t partition, const char *key,
                const char *value, const char *run_id)
{
    struct error error = {0};
    struct header header = {bytes_of("millrace-run-id"), bytes_of(run_id)};
    struct sender_record record = {
        .topic = topic,
        .partition = partition,
        .key = bytes_of(key),
        .value = bytes_of(value),
        .headers = {&header, run_id == NULL ? 0 : 1},
    };
    assert_true(sender_send(sender, &record, &error));
}

struct seen {
    int count;
    int64_t offset; // of the last
};

static bool see(void *context, const rd_kafka_message_t *message, struct error *error)
{
    struct seen *seen = context;
    if (message->offset == 7) {
        return error_set(error, ERROR_FATAL, NULL, NULL, "seven");
    }
    seen->count++;
    seen->offset = message->offset;
    return true;
}

static void test_a_scan_ends_where_the_topic_ended_and_starts_where_it_is_told(void **state)
{
    (void)state;
    struct sender *sender = open_sender("scan");
    struct error error = {0};
    for (int i = 0; i < 5; i++) {
        put(sender, "scanned", 1, "key", "value", NULL);
    }
    assert_true(sender_commit(sender, &error));
    const int64_t from[] = {0, 3};
    struct seen seen = {0};
    struct topic_scan scan = {.config = &config,
                              .topic = "scanned",
                              .from = from,
                              .from_count = 2,
                              .what = "records",
                              .is_quiet = true,
                              .take = see,
                              .context = &seen};
    assert_true(topic_scan_run(&scan, &error));
    assert_int_equal(seen.count, 2);
    assert_int_equal(seen.offset, 4);

    const int64_t beyond[] = {0, 1000}; // of another topic of that name, long ago
    scan.from = beyond;
    seen = (struct seen){0};
    assert_true(topic_scan_run(&scan, &error));
    assert_int_equal(seen.count, 5);

    for (int i = 0; i < 5; i++) {
        put(sender, "scanned", 1, "key", "value", NULL);
    }
    assert_true(sender_commit(sender, &error));
    assert_false(topic_scan_run(&scan, &error));
    assert_string_equal(error.message, "seven");

    struct topic_range *range;
    error = (struct error){0};
    assert_true(topic_range_open(&config, "scanned", &range, &error));
    assert_int_equal(range->partitions_count, PARTITIONS);
    assert_int_equal(range->end[1], 10);
    topic_range_close(range);
    sender_close(sender);
}

static void test_a_run_is_found_by_its_id_alone(void **state)
{
    (void)state;
    struct error error = {0};
    struct sender *sender = open_sender("manifest");
    struct manifest *manifest = manifest_open();
    struct run_state found;
    assert_true(runs_create(&config, sender, &error));
    assert_true(runs_find(&config, "a", manifest, &found, &error));
    assert_false(found.has_manifest);

    (void)snprintf(manifest->run_id, sizeof manifest->run_id, "a");
    for (int i = 1; i <= 2; i++) { // the last one counts
        manifest->records = i;
        assert_true(runs_send_manifest(&config, sender, manifest, &error));
    }
    (void)snprintf(manifest->run_id, sizeof manifest->run_id, "t/a");
    manifest->records = 9;
    assert_true(runs_send_manifest(&config, sender, manifest, &error));
    assert_true(
        runs_send(&config, sender, "replayed/t/a", json_pack("{s:i}", "records", 3), &error));
    assert_true(
        runs_send(&config, sender, "replayed/u/a", json_pack("{s:i}", "records", 4), &error));
    assert_true(
        runs_send(&config, sender, "replayed/t/ab", json_pack("{s:i}", "records", 5), &error));
    put(sender, config.topics.runs, 0, "replayed/t/b", "broken", NULL);
    put(sender, config.topics.runs, 0, "manifest/b", "{\"run_id\":\"other\"", NULL);
    assert_true(sender_commit(sender, &error));

    assert_true(runs_find(&config, "a", manifest, &found, &error));
    assert_true(found.has_manifest);
    assert_int_equal(manifest->records, 2);
    assert_int_equal(found.replayed, 7);
    assert_true(runs_find(&config, "b", manifest, &found, &error));
    assert_false(found.has_manifest);
    assert_int_equal(found.replayed, 0);
    manifest_close(manifest);
    sender_close(sender);
}

#define LINE(id, run) "{\"custom_id\":\"" id "\",\"body\":{}" run "}"
#define RUN(name) ",\"millrace\":{\"run_id\":\"" name "\"}"

static void test_a_run_has_what_its_values_or_headers_say(void **state)
{
    (void)state;
    struct error error = {0};
    struct sender *sender = open_sender("present");
    const char *topic = config.topics.requests.items[0];
    put(sender, topic, 0, "x", LINE("by value", RUN("r")), NULL);
    put(sender, topic, 0, "x", LINE("by header", ""), "r");
    put(sender, topic, 1, "x", LINE("by both", RUN("r")), "r");
    put(sender, topic, 1, "x", LINE("other", RUN("s")), "r");
    put(sender, topic, 1, "x", LINE("other", ""), "s");
    put(sender, topic, 1, "x", LINE("other", ""), NULL);
    put(sender, topic, 2, "by key", "undecodable", "r");
    put(sender, topic, 2, "x", LINE("by both", RUN("r")), "r"); // again
    assert_true(sender_commit(sender, &error));
    sender_close(sender);

    struct manifest *manifest = manifest_open();
    (void)snprintf(manifest->run_id, sizeof manifest->run_id, "r");
    struct id_set *ids = id_set_open(100);
    struct run_present present;
    assert_true(run_present_read(&config, manifest, true, ids, &present, &error));
    assert_int_equal(present.records, 5);
    assert_int_equal(present.duplicates, 1);
    assert_int_equal(id_set_count(ids), 4);
    assert_true(id_set_has(ids, bytes_of("by value")));
    assert_true(id_set_has(ids, bytes_of("by header")));
    assert_true(id_set_has(ids, bytes_of("by key")));
    assert_false(id_set_has(ids, bytes_of("other")));

    struct id_set *few = id_set_open(2);
    assert_false(run_present_read(&config, manifest, true, few, &present, &error));
    assert_non_null(strstr(error.message, "too many"));
    id_set_close(few);
    id_set_close(ids);
    manifest_close(manifest);
}

static bool count_record(void *context, const struct run_record *record, struct error *error)
{
    (void)error;
    int *counts = context;
    counts[0]++;
    counts[1] += bytes_equal_text(record->custom_id, "a") ? 1 : 0;
    return true;
}

static void test_outcomes_of_a_run_are_read_by_id(void **state)
{
    (void)state;
    struct error error = {0};
    struct sender *sender = open_sender("outcomes");
    put(sender, config.topics.responses, 0, "x",
        "{\"id\":\"batch_req_1\",\"custom_id\":\"a\",\"response\":{\"status_code\":200,"
        "\"request_id\":\"q\",\"body\":{}},\"error\":null}",
        "r");
    put(sender, config.topics.responses, 0, "x", "undecodable", "r");
    put(sender, config.topics.dead_letters, 0, "a", NULL, "r");
    put(sender, config.topics.dead_letters, 0, "a", "value", "s");
    assert_true(sender_commit(sender, &error));
    sender_close(sender);
    static const struct manifest_offsets from_beginning;
    int counts[2] = {0};
    struct run_reader reader = {.config = &config,
                                .run_id = "r",
                                .is_quiet = true,
                                .take = count_record,
                                .context = counts};
    assert_true(run_reader_responses(&reader, &from_beginning, &error));
    assert_int_equal(counts[0], 2);
    assert_int_equal(counts[1], 1);
    assert_true(run_reader_dead_letters(&reader, &from_beginning, &error));
    assert_int_equal(counts[0], 3);
    assert_int_equal(counts[1], 2);
}

static void test_a_sender_says_when_it_is_time_to_commit(void **state)
{
    (void)state;
    struct error error = {0};
    struct sender *sender = open_sender("due");
    assert_true(sender_is_transactional(sender));
    assert_true(sender_commit(sender, &error)); // nothing
    assert_false(sender_is_due(sender));
    for (int i = 0; i < 10000; i++) {
        put(sender, "due", 0, "key", "value", NULL);
    }
    assert_true(sender_is_due(sender));
    assert_true(sender_commit(sender, &error));
    assert_false(sender_is_due(sender));
    sender_close(sender);

    config.delivery_guarantee = GUARANTEE_AT_LEAST_ONCE;
    sender = open_sender("due");
    assert_false(sender_is_transactional(sender));
    put(sender, "due", 0, "key", "value", NULL);
    assert_true(sender_commit(sender, &error));
    sender_close(sender);
    config.delivery_guarantee = GUARANTEE_AUTO;
}

static int open_all(void **state)
{
    (void)state;
    mock_broker_open(&broker);
    mock_broker_config(&broker, &config);
    const char *topics[] = {config.topics.requests.items[0],
                            config.topics.responses,
                            config.topics.dead_letters,
                            config.topics.runs,
                            "scanned",
                            "due"};
    for (size_t i = 0; i < sizeof topics / sizeof topics[0]; i++) {
        mock_broker_topic(&broker, topics[i], PARTITIONS);
    }
    return 0;
}

static int close_all(void **state)
{
    (void)state;
    mock_broker_close(&broker);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_scan_ends_where_the_topic_ended_and_starts_where_it_is_told),
        cmocka_unit_test(test_a_run_is_found_by_its_id_alone),
        cmocka_unit_test(test_a_run_has_what_its_values_or_headers_say),
        cmocka_unit_test(test_outcomes_of_a_run_are_read_by_id),
        cmocka_unit_test(test_a_sender_says_when_it_is_time_to_commit),
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}
