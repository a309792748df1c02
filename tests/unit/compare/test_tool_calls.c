/* Calls of functions in two messages. */
#include "pipeline/compare/tool_calls.h"

#include <math.h>
#include <string.h>

#include "tests/support/cmocka.h"

#define CALL(name, arguments)                                                                      \
    "{\"type\": \"function\", \"function\": {\"name\": \"" name "\", \"arguments\": \"" arguments  \
    "\"}}"
#define PARIS CALL("weather", "{\\\"city\\\": \\\"Paris\\\"}")
#define ROME CALL("weather", "{\\\"city\\\": \\\"Rome\\\"}")
#define TIME CALL("time", "{}")

static struct tool_calls compare(const char *reference, const char *candidate)
{
    json_t *a = json_loads(reference, 0, NULL);
    json_t *b = json_loads(candidate, 0, NULL);
    struct tool_calls calls;
    struct error error = {0};
    assert_true(tool_calls_compare(a, b, &calls, &error));
    json_decref(a);
    json_decref(b);
    return calls;
}

static void test_the_same_calls_in_another_order_of_names_are_the_same(void **state)
{
    (void)state;
    struct tool_calls calls = compare("[" PARIS "," TIME "]", "[" TIME "," PARIS "]");
    assert_true(calls.is_given && calls.names == 1 && calls.arguments == 1);
    assert_string_equal(calls.difference, "");
}

static void test_wrong_arguments_missing_and_added_calls_count(void **state)
{
    (void)state;
    struct tool_calls calls = compare("[" PARIS "]", "[" ROME "]");
    assert_true(calls.names == 1 && calls.arguments == 0);
    assert_string_equal(calls.difference, "weather: arguments differ at city");
    calls = compare("[" PARIS "," TIME "]", "[" PARIS "]");
    assert_true(fabs(calls.names - 2.0 / 3) < 1e-12 && calls.arguments == 0.5);
    assert_string_equal(calls.difference, "time: is not called");
    calls = compare("[" PARIS "]", "[" PARIS "," PARIS "]");
    assert_true(fabs(calls.names - 2.0 / 3) < 1e-12 && calls.arguments == 0.5);
    assert_string_equal(calls.difference, "weather: the reference does not call it");
    calls = compare("[" PARIS "]", "[" CALL("weather", "{city") "]");
    assert_true(calls.names == 1 && calls.arguments == 0);
}

static void test_messages_without_calls_have_no_scores(void **state)
{
    (void)state;
    assert_false(compare("[]", "[]").is_given);
    struct tool_calls calls;
    assert_true(tool_calls_compare(NULL, NULL, &calls, NULL));
    assert_false(calls.is_given);
}

static void test_the_number_of_calls_is_bounded(void **state)
{
    (void)state;
    json_t *many = json_array();
    for (int i = 0; i <= TOOL_CALLS_MAX; i++) {
        json_array_append_new(many, json_loads(TIME, 0, NULL));
    }
    struct tool_calls calls;
    struct error error = {0};
    assert_false(tool_calls_compare(NULL, many, &calls, &error));
    assert_non_null(strstr(error.message, "129 tool calls"));
    json_decref(many);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_same_calls_in_another_order_of_names_are_the_same),
        cmocka_unit_test(test_wrong_arguments_missing_and_added_calls_count),
        cmocka_unit_test(test_messages_without_calls_have_no_scores),
        cmocka_unit_test(test_the_number_of_calls_is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
