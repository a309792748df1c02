/* headers: what a result and a dead letter carry, and what a flood of headers cannot do. */
#include "schemas/records/headers.h"

#include <stdlib.h>

#include "tests/support/cmocka.h"
#include "tests/unit/records/samples.h"

struct fixture {
    struct arena *arena;
    struct headers made;
    size_t dropped;
    struct error error;
};

static int setup(void **state)
{
    struct fixture *fixture = calloc(1, sizeof *fixture);
    assert_non_null(fixture);
    fixture->arena = arena_open(1 << 20);
    *state = fixture;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;
    arena_close(fixture->arena);
    free(fixture);
    return 0;
}

static const struct source source = {BYTES("llm.requests.v1"), 3, 1234567890123};

static struct result_event response_event(const struct headers *request)
{
    return (struct result_event){.source = &source,
                                 .kind = RECORD_RESPONSE,
                                 .format = WIRE_JSON,
                                 .origin = bytes_of("/millrace/nightly"),
                                 .time_ms = 1769904000007,
                                 .request = request};
}

static void assert_header(const struct headers *headers, size_t index, const char *name,
                          const char *value)
{
    assert_true(index < headers->count);
    assert_true(bytes_equal_text(headers->items[index].name, name));
    if (value == NULL) {
        assert_null(headers->items[index].value.data);
    } else {
        assert_true(bytes_equal_text(headers->items[index].value, value));
    }
}

static void a_result_carries_cloudevents_and_the_run(void **state)
{
    struct fixture *fixture = *state;
    struct result_event event = response_event(NULL);
    event.run_id = bytes_of("nightly-1");
    assert_true(headers_of_result(&event, fixture->arena, &fixture->made, &fixture->dropped,
                                  &fixture->error));
    assert_int_equal(fixture->made.count, 7);
    assert_header(&fixture->made, 0, "ce_specversion", "1.0");
    assert_header(&fixture->made, 1, "ce_id", "llm.requests.v1/3/1234567890123");
    assert_header(&fixture->made, 2, "ce_type", "millrace.v1.InferenceResponse");
    assert_header(&fixture->made, 3, "ce_source", "/millrace/nightly");
    assert_header(&fixture->made, 4, "ce_time", "2026-02-01T00:00:00.007Z");
    assert_header(&fixture->made, 5, "content-type", "application/json");
    assert_header(&fixture->made, 6, "millrace-run-id", "nightly-1");
}

static void avro_values_say_so(void **state)
{
    struct fixture *fixture = *state;
    for (enum wire_format format = WIRE_AVRO; format <= WIRE_CONFLUENT; format++) {
        struct result_event event = response_event(NULL);
        event.format = format;
        event.kind = RECORD_COMPARISON;
        assert_true(headers_of_result(&event, fixture->arena, &fixture->made, &fixture->dropped,
                                      &fixture->error));
        assert_true(
            bytes_equal_text(headers_find(&fixture->made, "content-type"), "application/avro"));
        assert_true(
            bytes_equal_text(headers_find(&fixture->made, "ce_type"), "millrace.v1.Comparison"));
    }
}

static void unknown_headers_are_copied_and_ours_are_not(void **state)
{
    struct fixture *fixture = *state;
    struct header items[] = {
        {BYTES("tenant"), BYTES("a")},
        {BYTES("ce_id"), BYTES("the request's")},
        {BYTES("content-type"), BYTES("x/y")},
        {BYTES("tenant"), BYTES("b")},
        {BYTES("flag"), {NULL, 0}},
        {BYTES("traceparent"), BYTES("00-1-2-01")},
        {BYTES(""), BYTES("\0\xFF")},
        {BYTES("ce_subject"), BYTES("s")},
        {BYTES("millrace-run-id"), BYTES("r")},
        {BYTES("__connect.errors.stage"), BYTES("old")},
    };
    struct headers request = {items, sizeof items / sizeof items[0]};
    struct result_event event = response_event(&request);
    assert_true(headers_of_result(&event, fixture->arena, &fixture->made, &fixture->dropped,
                                  &fixture->error));
    assert_int_equal(fixture->dropped, 0);
    assert_int_equal(fixture->made.count, 7 + 6);
    assert_header(&fixture->made, 6, "millrace-run-id",
                  "r"); // the header's, for the record has none
    assert_header(&fixture->made, 7, "traceparent", "00-1-2-01");
    assert_header(&fixture->made, 8, "tenant", "a");
    assert_header(&fixture->made, 9, "tenant", "b");
    assert_header(&fixture->made, 10, "flag", NULL);
    assert_int_equal(fixture->made.items[11].value.size, 2);
    assert_header(&fixture->made, 12, "ce_subject", "s");
}

static void the_records_run_wins_over_the_headers(void **state)
{
    struct fixture *fixture = *state;
    struct header items[] = {{BYTES("millrace-run-id"), BYTES("header")}};
    struct headers request = {items, 1};
    struct result_event event = response_event(&request);
    event.run_id = bytes_of("record");
    assert_true(headers_of_result(&event, fixture->arena, &fixture->made, &fixture->dropped,
                                  &fixture->error));
    assert_int_equal(fixture->made.count, 7);
    assert_header(&fixture->made, 6, "millrace-run-id", "record");
}

static void a_run_id_that_is_no_text_counts_for_nothing(void **state)
{
    (void)state;
    char longest[RUN_ID_BYTES_MAX + 1];
    memset(longest, 'r', sizeof longest);
    struct header item = {BYTES("millrace-run-id"), {longest, RUN_ID_BYTES_MAX}};
    struct headers headers = {&item, 1};
    assert_int_equal(headers_run_id(&headers).size, RUN_ID_BYTES_MAX);
    item.value.size++;
    assert_null(headers_run_id(&headers).data);
    item.value = bytes_of("\xFF");
    assert_null(headers_run_id(&headers).data);
    item.value = bytes_of("");
    assert_null(headers_run_id(&headers).data);
    item.value.data = NULL;
    assert_null(headers_run_id(&headers).data);
    headers.count = 0;
    assert_null(headers_run_id(&headers).data);
}

static void a_flood_of_headers_is_cut_and_counted_but_not_the_trace(void **state)
{
    struct fixture *fixture = *state;
    struct header items[1000];
    for (int i = 0; i < 999; i++) {
        items[i] = (struct header){bytes_of("noise"), bytes_of("x")};
    }
    items[999] = (struct header){bytes_of("traceparent"), bytes_of("00-1-2-01")};
    struct headers request = {items, 1000};
    struct result_event event = response_event(&request);
    assert_true(headers_of_result(&event, fixture->arena, &fixture->made, &fixture->dropped,
                                  &fixture->error));
    assert_int_equal(fixture->made.count, 6 + HEADERS_COPIED_MAX);
    assert_int_equal(fixture->dropped, 1000 - HEADERS_COPIED_MAX);
    assert_true(bytes_equal_text(headers_find(&fixture->made, "traceparent"), "00-1-2-01"));
}

static void large_headers_are_left_out_and_small_ones_kept(void **state)
{
    struct fixture *fixture = *state;
    static char large[HEADERS_COPIED_BYTES_MAX];
    struct header items[] = {{BYTES("large"), {large, sizeof large}}, {BYTES("small"), BYTES("x")}};
    struct headers request = {items, 2};
    struct result_event event = response_event(&request);
    assert_true(headers_of_result(&event, fixture->arena, &fixture->made, &fixture->dropped,
                                  &fixture->error));
    assert_int_equal(fixture->dropped, 1);
    assert_header(&fixture->made, 6, "small", "x");
}

static void a_dead_letter_says_where_and_why(void **state)
{
    struct fixture *fixture = *state;
    struct header items[] = {
        {BYTES("ce_id"), BYTES("the request's")},
        {BYTES("__connect.errors.stage"), BYTES("an earlier death")},
        {BYTES("millrace-run-id"), BYTES("r")},
    };
    struct headers request = {items, 3};
    const struct dead_letter letter = {
        .source = source,
        .group = BYTES("nightly"),
        .worker_id = BYTES("worker-1"),
        .stage = BYTES("decode"),
        .class_name = BYTES("millrace.record_codec"),
        .error_kind = BYTES("undecodable"),
        .error_message = BYTES("custom_id is missing"),
    };
    assert_true(headers_of_dead_letter(&letter, &request, fixture->arena, &fixture->made,
                                       &fixture->dropped, &fixture->error));
    assert_int_equal(fixture->made.count, 11);
    assert_header(&fixture->made, 0, "__connect.errors.topic", "llm.requests.v1");
    assert_header(&fixture->made, 1, "__connect.errors.partition", "3");
    assert_header(&fixture->made, 2, "__connect.errors.offset", "1234567890123");
    assert_header(&fixture->made, 3, "__connect.errors.connector.name", "nightly");
    assert_header(&fixture->made, 4, "__connect.errors.task.id", "worker-1");
    assert_header(&fixture->made, 5, "__connect.errors.stage", "decode");
    assert_header(&fixture->made, 6, "__connect.errors.class.name", "millrace.record_codec");
    assert_header(&fixture->made, 7, "__connect.errors.exception.class.name", "undecodable");
    assert_header(&fixture->made, 8, "__connect.errors.exception.message", "custom_id is missing");
    assert_header(&fixture->made, 9, "ce_id", "the request's");
    assert_header(&fixture->made, 10, "millrace-run-id", "r");

    struct dead_letter by_value = letter;
    by_value.run_id = bytes_of("by value");
    assert_true(headers_of_dead_letter(&by_value, &request, fixture->arena, &fixture->made,
                                       &fixture->dropped, &fixture->error));
    assert_int_equal(fixture->made.count, 11);
    request.count = 2; // without a run of its own
    assert_true(headers_of_dead_letter(&by_value, &request, fixture->arena, &fixture->made,
                                       &fixture->dropped, &fixture->error));
    assert_header(&fixture->made, 9, "millrace-run-id", "by value");
}

static void an_arena_that_is_full_is_an_error(void **state)
{
    struct fixture *fixture = *state;
    for (size_t limit = 1; limit < 1500; limit += 50) {
        struct arena *arena = arena_open(limit);
        struct result_event event = response_event(NULL);
        if (!headers_of_result(&event, arena, &fixture->made, &fixture->dropped, &fixture->error)) {
            assert_int_equal(fixture->error.kind, ERROR_TOO_LARGE);
        } else {
            assert_int_equal(fixture->made.count, 6);
        }
        arena_close(arena);
    }
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_result_carries_cloudevents_and_the_run),
        TEST(avro_values_say_so),
        TEST(unknown_headers_are_copied_and_ours_are_not),
        TEST(the_records_run_wins_over_the_headers),
        TEST(a_run_id_that_is_no_text_counts_for_nothing),
        TEST(a_flood_of_headers_is_cut_and_counted_but_not_the_trace),
        TEST(large_headers_are_left_out_and_small_ones_kept),
        TEST(a_dead_letter_says_where_and_why),
        TEST(an_arena_that_is_full_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
