/* replay_letters on the mock cluster: what goes back, with which headers, and what is remembered.
 * Kills and isolation are tested on a real broker, in tests/e2e. */
#include "tests/support/cmocka.h"

#include <stdio.h>
#include <string.h>

#include "tests/support/mock_broker.h"
#include "worker/replay_letters.h"
#include "worker/sender.h"

enum { PARTITIONS = 2 };

static struct mock_broker broker;
static struct config config;

/* A letter of the request at partition 1, `offset`; `replays`: NULL for one never sent back. */
static void write_letter(const char *offset, const char *value, const char *replays)
{
    struct error error = {0};
    struct sender *sender = NULL;
    assert_true(sender_open(&config, "letters", &sender, &error));
    struct header headers[] = {
        {bytes_of("__connect.errors.topic"), bytes_of(config.topics.requests.items[0])},
        {bytes_of("__connect.errors.partition"), bytes_of("1")},
        {bytes_of("__connect.errors.offset"), bytes_of(offset)},
        {bytes_of("own"), bytes_of("kept")},
        {bytes_of("millrace-run-id"), bytes_of("r")},
        {bytes_of(REPLAYS_HEADER), bytes_of(replays)},
        {bytes_of(ORIGIN_HEADER), bytes_of("t/5/6")},
    };
    struct sender_record record = {
        .topic = config.topics.dead_letters,
        .partition = 0,
        .key = bytes_of("key"),
        .value = bytes_of(value),
        .headers = {headers, replays == NULL ? 5 : 7},
    };
    assert_true(sender_send(sender, &record, &error));
    assert_true(sender_commit(sender, &error));
    sender_close(sender);
}

static struct replay_result replay(struct letter_filter filter, int64_t replays_max, bool is_dry)
{
    struct replay_options options = {.config = &config,
                                     .filter = filter,
                                     .replays_max = replays_max,
                                     .is_dry = is_dry,
                                     .is_quiet = true};
    struct replay_result result;
    struct error error = {0};
    if (!replay_letters_run(&options, &result, &error)) {
        fail_msg("%s", error.message);
    }
    return result;
}

static void check_header(const struct mock_record *record, const char *name, const char *value)
{
    const struct header *header = mock_record_header(record, name);
    assert_non_null(header);
    assert_true(bytes_equal_text(header->value, value));
}

static void test_each_letter_goes_back_once_and_not_too_often(void **state)
{
    (void)state;
    struct letter_filter all = letter_filter_of_topics(config.topics.requests.items, 1);
    write_letter("10", "first", NULL);
    write_letter("11", "second", "2");
    write_letter("12", "too often", "3");
    write_letter("13", NULL, NULL);
    struct replay_result result = replay(all, 3, true);
    assert_int_equal(result.sent, 2);
    result = replay(all, 3, false);
    assert_int_equal(result.matched, 4);
    assert_int_equal(result.sent, 2);
    assert_int_equal(result.exhausted, 1);
    assert_int_equal(result.without_value, 1);
    result = replay(all, 3, false);
    assert_int_equal(result.sent, 0);
    assert_int_equal(result.sent_before, 2);

    struct arena *arena = arena_open(1 << 20);
    struct mock_record records[3];
    assert_int_equal(
        mock_broker_read(&broker, config.topics.requests.items[0], arena, records, 3, 2000), 2);
    assert_true(bytes_equal_text(records[0].value, "first"));
    assert_true(bytes_equal_text(records[0].key, "key"));
    assert_int_equal(records[0].partition, 1);
    char origin[ORIGIN_BYTES_MAX];
    (void)snprintf(origin, sizeof origin, "%s/1/10", config.topics.requests.items[0]);
    check_header(&records[0], REPLAYS_HEADER, "1");
    check_header(&records[0], ORIGIN_HEADER, origin);
    check_header(&records[0], "own", "kept");
    assert_null(mock_record_header(&records[0], "__connect.errors.offset"));
    check_header(&records[1], REPLAYS_HEADER, "3");
    check_header(&records[1], ORIGIN_HEADER, "t/5/6");
    assert_int_equal(records[1].headers_count, 4); // the old mark is gone
    arena_close(arena);
}

static void test_what_a_filter_left_is_sent_later(void **state)
{
    (void)state;
    struct letter_filter one = letter_filter_of_topics(config.topics.requests.items, 1);
    struct letter_filter all = one;
    write_letter("20", "20", NULL);
    write_letter("21", "21", NULL);
    write_letter("22", "22", NULL);
    one.offset_first = 21;
    one.offset_last = 21;
    assert_int_equal(replay(one, 3, false).sent, 1);
    one.offset_first = 20;
    one.offset_last = 21;
    struct replay_result result = replay(one, 3, false);
    assert_int_equal(result.sent, 1);
    assert_int_equal(result.sent_before, 1);
    assert_int_equal(replay(all, 3, false).sent, 1);
    assert_int_equal(replay(all, 3, false).sent, 0);
}

static int open_all(void **state)
{
    (void)state;
    mock_broker_open(&broker);
    mock_broker_config(&broker, &config);
    mock_broker_topic(&broker, config.topics.requests.items[0], PARTITIONS);
    mock_broker_topic(&broker, config.topics.dead_letters, PARTITIONS);
    mock_broker_topic(&broker, config.topics.runs, 1);
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
        cmocka_unit_test(test_each_letter_goes_back_once_and_not_too_often),
        cmocka_unit_test(test_what_a_filter_left_is_sent_later),
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}
