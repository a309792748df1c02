/* remote_body: which bytes an endpoint gets, and what is listed as changed or dropped. */
#include "worker/remote_body.h"

#include "schemas/base/buffer.h"
#include "tests/support/cmocka.h"

static void write_names(struct buffer *out, const struct names *names)
{
    for (size_t i = 0; i < names->count; i++) {
        buffer_append_text(out, i == 0 ? "" : ",");
        buffer_append_bytes(out, names->items[i]);
    }
}

/* Makes the body of a chat and compares it with "BODY|changed,...|dropped,...". */
static void expect(const char *source, const struct remote_body_options *options,
                   const char *wanted)
{
    struct arena *arena = arena_open(1 << 20);
    struct remote_body body;
    struct error error = {0};
    assert_true(remote_body_make(bytes_of(source), ENDPOINT_CHAT, options, arena, &body, &error));
    struct buffer text;
    buffer_init(&text, 4096);
    buffer_append_bytes(&text, body.bytes);
    buffer_append_text(&text, "|");
    write_names(&text, &body.changed);
    buffer_append_text(&text, "|");
    write_names(&text, &body.dropped);
    assert_string_equal(text.data, wanted);
    buffer_close(&text);
    arena_close(arena);
}

static void test_only_the_model_is_put_in(void **state)
{
    (void)state;
    // Numbers, escapes, white space and parameters of tomorrow stay as they are.
    expect("{ \"model\" : \"m\", \"temperature\": 1.00 ,\"x\\u0079z\":[1e400, \"\\u00e9\\/\"],"
           "\"messages\": [ {\"role\":\"user\",\"content\":[{\"type\":\"image_url\"}]} ],"
           "\"tools\":[{}], \"response_format\":{\"type\":\"json_schema\"}}",
           &(struct remote_body_options){.model = "gpt-4o"},
           "{\"model\":\"gpt-4o\",\"temperature\":1.00,\"xyz\":[1e400, \"\\u00e9\\/\"],"
           "\"messages\":[ {\"role\":\"user\",\"content\":[{\"type\":\"image_url\"}]} ],"
           "\"tools\":[{}],\"response_format\":{\"type\":\"json_schema\"}}|model|");
    expect("{\"model\":\"m\"}", &(struct remote_body_options){.model = "m"}, "{\"model\":\"m\"}||");
}

static void test_stream_is_dropped_or_asked_for(void **state)
{
    (void)state;
    const char *source = "{\"stream\":true,\"model\":\"m\",\"stream_options\":{}}";
    expect(source, &(struct remote_body_options){.model = "m"},
           "{\"model\":\"m\"}||stream,stream_options");
    expect(source, &(struct remote_body_options){.model = "m", .streams = true},
           "{\"model\":\"m\",\"stream\":true,\"stream_options\":{\"include_usage\":true}}"
           "|stream,stream_options|");
    expect("{\"model\":\"m\"}", &(struct remote_body_options){.model = "m", .streams = true},
           "{\"model\":\"m\",\"stream\":true,\"stream_options\":{\"include_usage\":true}}"
           "|stream,stream_options|");
}

static void test_the_limit_of_tokens_takes_the_name_that_is_wanted(void **state)
{
    (void)state;
    struct remote_body_options old = {.model = "m", .max_tokens = REMOTE_MAX_TOKENS};
    struct remote_body_options now = {.model = "m", .max_tokens = REMOTE_MAX_COMPLETION_TOKENS};
    expect("{\"model\":\"m\",\"max_tokens\":5}", &now,
           "{\"model\":\"m\",\"max_completion_tokens\":5}|max_tokens|");
    expect("{\"model\":\"m\",\"max_completion_tokens\":5}", &old,
           "{\"model\":\"m\",\"max_tokens\":5}|max_completion_tokens|");
    expect("{\"model\":\"m\",\"max_tokens\":5,\"max_completion_tokens\":5}", &now,
           "{\"model\":\"m\",\"max_completion_tokens\":5}||max_tokens");
    expect("{\"model\":\"m\",\"max_tokens\":5}", &old, "{\"model\":\"m\",\"max_tokens\":5}||");
}

static void test_the_prompt_is_found_for_the_order(void **state)
{
    (void)state;
    struct arena *arena = arena_open(1 << 20);
    struct remote_body_options options = {.model = "m"};
    struct remote_body body;
    struct error error = {0};
    const char *source = "{\"model\":\"m\",\"prompt\": \"once upon\" ,\"n\":1}";
    assert_true(
        remote_body_make(bytes_of(source), ENDPOINT_COMPLETIONS, &options, arena, &body, &error));
    assert_true(bytes_equal_text(body.prompt, "\"once upon\""));
    arena_close(arena);
}

static void test_a_body_with_a_name_twice_is_refused(void **state)
{
    (void)state;
    struct arena *arena = arena_open(1 << 20);
    struct remote_body_options options = {.model = "m"};
    struct remote_body body;
    struct error error = {0};
    assert_false(remote_body_make(bytes_of("{\"model\":\"a\",\"model\":\"b\"}"), ENDPOINT_CHAT,
                                  &options, arena, &body, &error));
    assert_int_equal(error.kind, ERROR_INVALID);
    arena_close(arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_only_the_model_is_put_in),
        cmocka_unit_test(test_stream_is_dropped_or_asked_for),
        cmocka_unit_test(test_the_limit_of_tokens_takes_the_name_that_is_wanted),
        cmocka_unit_test(test_the_prompt_is_found_for_the_order),
        cmocka_unit_test(test_a_body_with_a_name_twice_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
