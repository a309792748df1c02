/* stream and sse: events are put together to the answer that they came from. */
#include "pipeline/openai/stream.h"

#include <jansson.h>

#include "pipeline/openai/sse.h"
#include "tests/support/cmocka.h"

#define EVENT(json) "data: " json "\n\n"
#define CHUNK(choices)                                                                             \
    EVENT("{\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"created\":7,\"model\":\"m\","      \
          "\"choices\":[" choices "]}")
#define DELTA(delta) "{\"index\":0,\"delta\":" delta ",\"finish_reason\":null}"
#define END(reason) "{\"index\":0,\"delta\":{},\"finish_reason\":\"" reason "\"}"
#define DONE EVENT("[DONE]")

/* Joins and compares as JSON; an empty `wanted` is a refusal. Returns the size of the first token.
 */
static size_t expect(const char *stream, const char *wanted)
{
    struct buffer out;
    struct error error = {0};
    size_t first = 0;
    buffer_init(&out, 1 << 20);
    bool is_joined = openai_stream_join(bytes_of(stream), &out, &first, &error);
    assert_int_equal(is_joined, wanted[0] != '\0');
    if (is_joined) {
        json_t *given = json_loadb(out.data, out.size, JSON_ALLOW_NUL, NULL);
        json_t *right = json_loads(wanted, JSON_ALLOW_NUL, NULL);
        assert_non_null(right);
        if (!json_equal(given, right)) {
            fail_msg("%s\nis not\n%s", out.data, wanted);
        }
        json_decref(given);
        json_decref(right);
    } else {
        assert_int_equal(error.kind, ERROR_UPSTREAM);
    }
    buffer_close(&out);
    return first;
}

static void test_texts_are_joined_and_the_last_usage_kept(void **state)
{
    (void)state;
    size_t first = expect(
        CHUNK(DELTA("{\"role\":\"assistant\",\"content\":\"\",\"refusal\":null}"))
            CHUNK(DELTA("{\"content\":\"He\\u0000\"}")) CHUNK(DELTA("{\"content\":\"llo\"}"))
                CHUNK(END("stop"))
                    EVENT("{\"id\":\"c\",\"choices\":[],\"usage\":{\"prompt_tokens\":3}}") DONE,
        "{\"id\":\"c\",\"object\":\"chat.completion\",\"created\":7,\"model\":\"m\",\"choices\":[{"
        "\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":\"He\\u0000llo\",\"refusal\":"
        "null},\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":3}}");
    size_t two = sizeof(CHUNK(DELTA("{\"role\":\"assistant\",\"content\":\"\",\"refusal\":null}"))
                            CHUNK(DELTA("{\"content\":\"He\\u0000\"}"))) -
                 1;
    assert_int_equal(first, two); // an empty text is no token
}

static void test_tool_calls_are_joined_by_their_index(void **state)
{
    (void)state;
    expect(
        CHUNK(DELTA("{\"role\":\"assistant\",\"content\":null}"))
            CHUNK(DELTA("{\"tool_calls\":[{\"index\":0,\"id\":\"a\",\"type\":\"function\","
                        "\"function\":{\"name\":\"f\",\"arguments\":\"\"}}]}"))
                CHUNK(DELTA("{\"tool_calls\":[{\"index\":1,\"id\":\"b\",\"type\":\"function\","
                            "\"function\":{\"name\":\"g\",\"arguments\":\"[\"}}]}"))
                    CHUNK(DELTA("{\"tool_calls\":[{\"index\":0,\"id\":\"a\",\"function\":{"
                                "\"arguments\":\"{}\"}},{\"index\":1,\"function\":{"
                                "\"arguments\":\"]\"}}]}")) CHUNK(END("tool_calls")),
        "{\"id\":\"c\",\"object\":\"chat.completion\",\"created\":7,\"model\":\"m\",\"choices\":"
        "[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":null,\"tool_calls\":["
        "{\"id\":\"a\",\"type\":\"function\",\"function\":{\"name\":\"f\",\"arguments\":\"{}\"}},"
        "{\"id\":\"b\",\"type\":\"function\",\"function\":{\"name\":\"g\",\"arguments\":\"[]\"}}"
        "]},\"finish_reason\":\"tool_calls\"}]}");
}

static void test_choices_and_log_probabilities_are_kept_apart(void **state)
{
    (void)state;
    expect(CHUNK("{\"index\":1,\"text\":\"b\",\"logprobs\":{\"tokens\":[\"b\"]},"
                 "\"finish_reason\":null}")
               CHUNK("{\"index\":0,\"text\":\"a\",\"logprobs\":null,\"finish_reason\":\"length\"}")
                   CHUNK("{\"index\":1,\"text\":\"B\",\"logprobs\":{\"tokens\":[\"B\"]},"
                         "\"finish_reason\":\"stop\"}"),
           "{\"id\":\"c\",\"object\":\"chat.completion\",\"created\":7,\"model\":\"m\",\"choices\":"
           "[{\"index\":0,\"text\":\"a\",\"logprobs\":null,\"finish_reason\":\"length\"},"
           "{\"index\":1,\"text\":\"bB\",\"logprobs\":{\"tokens\":[\"b\",\"B\"]},"
           "\"finish_reason\":\"stop\"}]}");
}

static void test_what_is_no_whole_stream_is_refused(void **state)
{
    (void)state;
    static const char *const streams[] = {
        "",
        DONE,
        CHUNK(DELTA("{\"content\":\"x\"}")),                         // cut
        CHUNK(END("stop")) "data: {\"id\"",                          // this one is whole
        EVENT("{\"error\":{\"message\":\"no\"}}") DONE,              // failed midway
        EVENT("{") DONE,                                             // no JSON
        EVENT("[]") DONE,                                            // no object
        CHUNK("{\"index\":128,\"delta\":{}}") DONE,                  // out of range
        CHUNK("{\"index\":-1,\"delta\":{}}") DONE,                   //
        CHUNK(DELTA("{\"tool_calls\":[{\"index\":1000000}]}")) DONE, //
        CHUNK(DELTA("{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":"
                    "{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{}}}}}}}}}}}}}}}}}}")) DONE,
    };
    for (size_t i = 0; i < sizeof streams / sizeof streams[0]; i++) {
        if (i != 3) {
            expect(streams[i], "");
        }
    }
    expect(streams[3], "{\"id\":\"c\",\"object\":\"chat.completion\",\"created\":7,\"model\":\"m\","
                       "\"choices\":[{\"index\":0,\"message\":{\"content\":null},"
                       "\"finish_reason\":\"stop\"}]}");
}

static void test_a_stream_is_told_from_a_body(void **state)
{
    (void)state;
    assert_true(openai_stream_is(bytes_of("data: {}\n\n")));
    assert_true(openai_stream_is(bytes_of(": ping\n\n")));
    assert_false(openai_stream_is(bytes_of("  \r\n{\"a\":1}")));
    assert_false(openai_stream_is(bytes_of("[1]")));
    assert_false(openai_stream_is(bytes_of("")));
}

static void test_events_are_told_apart_as_the_standard_says(void **state)
{
    (void)state;
    static const char text[] = "\xEF\xBB\xBF: comment\r\n\r\nevent: x\rdata: one\r\rdata:two\n"
                               "data:  three\nid: 4\n\n\ndata\n\nretry: 1\n\ndata: cut\n";
    static const char *const wanted[] = {"one", "two\n three", ""};
    struct sse sse = sse_start(bytes_of(text));
    struct buffer data;
    buffer_init(&data, 64);
    for (int i = 0; i < 3; i++) {
        assert_true(sse_next(&sse, &data));
        assert_true(bytes_equal_text(buffer_bytes(&data), wanted[i]));
    }
    assert_false(sse_next(&sse, &data));
    buffer_close(&data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_texts_are_joined_and_the_last_usage_kept),
        cmocka_unit_test(test_tool_calls_are_joined_by_their_index),
        cmocka_unit_test(test_choices_and_log_probabilities_are_kept_apart),
        cmocka_unit_test(test_what_is_no_whole_stream_is_refused),
        cmocka_unit_test(test_a_stream_is_told_from_a_body),
        cmocka_unit_test(test_events_are_told_apart_as_the_standard_says),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
