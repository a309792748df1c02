/* letter, its filter and its mark: what the command line and headers say. The way of a message's
 * headers through a broker is in test_replay_letters. */
#include "tests/support/cmocka.h"

#include <string.h>

#include "worker/letter.h"
#include "worker/letter_filter.h"
#include "worker/replay_mark.h"

static char topic[] = "t";
static char *const topics[] = {topic};

static void test_an_origin_is_a_topic_a_partition_and_an_offset(void **state)
{
    (void)state;
    struct source source;
    assert_true(replay_mark_parse_origin(bytes_of("llm.requests.v1/12/3456789012"), &source));
    assert_true(bytes_equal_text(source.topic, "llm.requests.v1"));
    assert_int_equal(source.partition, 12);
    assert_int_equal(source.offset, 3456789012);
    char text[ORIGIN_BYTES_MAX];
    replay_mark_print_origin(&source, text);
    assert_string_equal(text, "llm.requests.v1/12/3456789012");

    static const char *const broken[] = {"",
                                         "t",
                                         "t/1",
                                         "t//1",
                                         "/1/2",
                                         "t/1/",
                                         "t/1/x",
                                         "t/-1/2",
                                         "t/1/-2",
                                         "t/1/2/3",
                                         "t/ 1/2",
                                         "t/4294967296/0",
                                         "t/1/9999999999999999999"};
    for (size_t i = 0; i < sizeof broken / sizeof broken[0]; i++) {
        if (replay_mark_parse_origin(bytes_of(broken[i]), &source)) {
            fail_msg("%s was taken", broken[i]);
        }
    }
}

static struct letter letter_at(int32_t partition, int64_t offset)
{
    return (struct letter){.source = {bytes_of("t"), partition, offset},
                           .run_id = bytes_of("r"),
                           .reason = bytes_of("internal"),
                           .time_ms = 1000};
}

static void test_a_filter_lets_through_what_it_does_not_speak_of(void **state)
{
    (void)state;
    struct letter_filter filter = letter_filter_of_topics(topics, 1);
    struct letter letter = letter_at(0, 0);
    assert_true(letter_filter_matches(&filter, &letter));
    letter.run_id = letter.reason = (struct bytes){0};
    letter.time_ms = -1;
    assert_true(letter_filter_matches(&filter, &letter));
    letter.source.topic = (struct bytes){0}; // no request to go back to
    assert_false(letter_filter_matches(&filter, &letter));
}

static void test_a_filter_holds_back_each_thing_it_speaks_of(void **state)
{
    (void)state;
    const struct letter_filter any = letter_filter_of_topics(topics, 1);
    struct letter letter = letter_at(1, 7);
    struct letter_filter right[] = {any, any, any, any, any, any};
    right[0].run_id = "r";
    right[1].reason = "internal";
    right[2].partition = 1;
    right[3].offset_first = 7;
    right[3].offset_last = 7;
    right[4].since_ms = 1000;
    right[5].until_ms = 1001;
    struct letter_filter wrong[] = {any, any, any, any, any, any, any, any};
    wrong[0].run_id = "s";
    wrong[1].reason = "undecodable";
    wrong[2].partition = 0;
    wrong[3].offset_first = 8;
    wrong[4].offset_last = 6;
    wrong[5].since_ms = 1001;
    wrong[6].until_ms = 1000;
    wrong[7].topics[0] = "u";
    for (size_t i = 0; i < sizeof right / sizeof right[0]; i++) {
        assert_true(letter_filter_matches(&right[i], &letter));
    }
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        assert_false(letter_filter_matches(&wrong[i], &letter));
    }
}

static void test_offsets_are_one_or_a_range(void **state)
{
    (void)state;
    struct letter_filter filter;
    assert_true(letter_filter_parse_offsets(&filter, "7"));
    assert_int_equal(filter.offset_first, 7);
    assert_int_equal(filter.offset_last, 7);
    assert_true(letter_filter_parse_offsets(&filter, "7-4294967296"));
    assert_int_equal(filter.offset_last, 4294967296);
    static const char *const broken[] = {"", "-", "-7", "7-", "7-6", "7-8-9", "a", "7-b", " 7"};
    for (size_t i = 0; i < sizeof broken / sizeof broken[0]; i++) {
        if (letter_filter_parse_offsets(&filter, broken[i])) {
            fail_msg("%s was taken", broken[i]);
        }
    }
}

static void test_times_are_days_or_seconds_in_utc(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t time_ms;
    } right[] = {{"1970-01-01", 0},
                 {"1970-01-01T00:00:01Z", 1000},
                 {"2000-02-29", 951782400000},
                 {"2026-01-31T22:15:00Z", 1769897700000},
                 {"2100-03-01", 4107542400000}};
    int64_t time_ms;
    for (size_t i = 0; i < sizeof right / sizeof right[0]; i++) {
        assert_true(letter_filter_parse_time(right[i].text, &time_ms));
        assert_int_equal(time_ms, right[i].time_ms);
    }
    static const char *const broken[] = {"",
                                         "yesterday",
                                         "2026-02-29",
                                         "2026-13-01",
                                         "2026-00-01",
                                         "2026-01-00",
                                         "1969-12-31",
                                         "2026-01-31 22:15:00Z",
                                         "2026-01-31T24:00:00Z",
                                         "2026-01-31T22:15:00+01:00",
                                         "2026-1-31",
                                         "2026-01-311"};
    for (size_t i = 0; i < sizeof broken / sizeof broken[0]; i++) {
        if (letter_filter_parse_time(broken[i], &time_ms)) {
            fail_msg("%s was taken", broken[i]);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_an_origin_is_a_topic_a_partition_and_an_offset),
        cmocka_unit_test(test_a_filter_lets_through_what_it_does_not_speak_of),
        cmocka_unit_test(test_a_filter_holds_back_each_thing_it_speaks_of),
        cmocka_unit_test(test_offsets_are_one_or_a_range),
        cmocka_unit_test(test_times_are_days_or_seconds_in_utc),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
