/* omit: what is left of a body. */
#include "pipeline/openai/omit.h"

#include "tests/support/cmocka.h"

static struct arena *arena;
static struct bytes left;
static struct names omitted;

static void omit(const char *body)
{
    struct error error = {0};
    assert_true(openai_body_omit(bytes_of(body), &openai_streaming_parameters, arena, &left,
                                 &omitted, &error));
}

static void test_a_body_without_them_stays_the_bytes_that_it_is(void **state)
{
    (void)state;
    static const char *const bodies[] = {
        "{ \"model\" : \"m\", \"n\":1.50 }",
        "{\"messages\":[{\"content\":\"\\\"stream\\\"\"}], \"user\" :\"stream\"}",
        "{\"metadata\":{\"stream\":\"x\"} }",
        "{\"stream\":",
        "[\"stream\"]",
        "\"",
        "",
    };
    for (size_t i = 0; i < sizeof bodies / sizeof bodies[0]; i++) {
        omit(bodies[i]);
        assert_ptr_equal(left.data, bodies[i]);
        assert_int_equal(left.size, strlen(bodies[i]));
        assert_int_equal(omitted.count, 0);
    }
}

static void test_what_is_left_out_is_named_and_the_rest_keeps_order_and_numbers(void **state)
{
    (void)state;
    omit("{\"model\": \"m\", \"stream\": true, \"temperature\": 0.1, "
         "\"stream_options\": {\"include_usage\": true}, \"seed\": 9007199254740993}");
    assert_true(bytes_equal_text(
        left, "{\"model\":\"m\",\"temperature\":0.10000000000000001,\"seed\":9007199254740993}"));
    assert_int_equal(omitted.count, 2);
    assert_true(bytes_equal_text(omitted.items[0], "stream"));
    assert_true(bytes_equal_text(omitted.items[1], "stream_options"));
    omit("{\"stream\":false}");
    assert_true(bytes_equal_text(left, "{}"));
    assert_int_equal(omitted.count, 1);
}

static void test_a_body_beyond_the_arena_is_refused(void **state)
{
    (void)state;
    struct arena *small = arena_open(256);
    struct error error = {0};
    char body[1024] = "{\"stream\":true,\"user\":\"";
    size_t size = strlen(body);
    memset(body + size, 'x', 900);
    memcpy(body + size + 900, "\"}", 3);
    assert_false(openai_body_omit(bytes_of(body), &openai_streaming_parameters, small, &left,
                                  &omitted, &error));
    assert_int_equal(error.kind, ERROR_INVALID);
    arena_close(small);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_body_without_them_stays_the_bytes_that_it_is),
        cmocka_unit_test(test_what_is_left_out_is_named_and_the_rest_keeps_order_and_numbers),
        cmocka_unit_test(test_a_body_beyond_the_arena_is_refused),
    };
    arena = arena_open(1 << 20);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    arena_close(arena);
    return failed;
}
