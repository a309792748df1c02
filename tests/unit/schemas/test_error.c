/* error: one line sets it, success leaves it alone, the table is whole. */
#include "schemas/base/error.h"

#include <string.h>

#include "tests/support/cmocka.h"

static void test_set_fills_and_returns_false(void **state)
{
    (void)state;
    struct error error = {0};
    assert_false(error_set(&error, ERROR_INVALID, "invalid_value", "top_p", "top_p is %g", 2.0));
    assert_int_equal(error.kind, ERROR_INVALID);
    assert_string_equal(error.code, "invalid_value");
    assert_string_equal(error.param, "top_p");
    assert_string_equal(error.message, "top_p is 2");
    assert_false(error_set(NULL, ERROR_FATAL, NULL, NULL, "nobody listens"));
}

static void test_message_is_cut_not_overflown(void **state)
{
    (void)state;
    char text[2000];
    memset(text, 'x', sizeof text);
    text[sizeof text - 1] = '\0';
    struct error error = {0};
    error_set(&error, ERROR_INTERNAL, NULL, NULL, "%s", text);
    assert_int_equal(strlen(error.message), sizeof error.message - 1);
    error_prefix(&error, "%s", "context");
    assert_int_equal(strlen(error.message), sizeof error.message - 1);
    assert_memory_equal(error.message, "context: xxx", 12);
}

static void test_message_is_one_line(void **state)
{
    (void)state;
    struct error error = {0};
    error_set(&error, ERROR_INVALID, NULL, NULL, "a\nb\x1B[2Jc");
    assert_string_equal(error.message, "a b [2Jc");
}

static void test_message_is_utf8_wherever_it_is_cut(void **state)
{
    (void)state;
    struct error error = {0};
    error_set(&error, ERROR_INVALID, NULL, NULL, "%.3s is 'a\xC3\xA9', must not be \xFF",
              "a\xC3\xA9\xC3\xA9");
    assert_string_equal(error.message, "a\xC3\xA9 is 'a\xC3\xA9', must not be ?");
    error_set(&error, ERROR_INVALID, NULL, NULL, "%.2s is cut", "a\xC3\xA9");
    assert_string_equal(error.message, "a? is cut");
    char text[sizeof error.message + 1];
    for (size_t i = 0; i + 1 < sizeof text; i += 2) {
        memcpy(text + i, "\xC3\xA9", 3);
    }
    error_set(&error, ERROR_INVALID, NULL, NULL, "%s", text);
    assert_int_equal(error.message[sizeof error.message - 2], '?');
    error_set(&error, ERROR_INVALID, NULL, NULL, "a%s", text); // fits by the byte
    assert_true(error.message[sizeof error.message - 2] == (char)0xA9);
    error_prefix(&error, "b");
    assert_int_equal(error.message[sizeof error.message - 2], '?');
}

static void test_table_gives_type_status_and_fate(void **state)
{
    (void)state;
    assert_string_equal(error_type(ERROR_NOT_FOUND), "invalid_request_error");
    assert_int_equal(error_status(ERROR_NOT_FOUND), 404);
    assert_int_equal(error_fate(ERROR_UNDECODABLE), FATE_DEAD_LETTER);
    assert_int_equal(error_fate(ERROR_FATAL), FATE_STOP);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_set_fills_and_returns_false),
        cmocka_unit_test(test_message_is_cut_not_overflown),
        cmocka_unit_test(test_message_is_one_line),
        cmocka_unit_test(test_message_is_utf8_wherever_it_is_cut),
        cmocka_unit_test(test_table_gives_type_status_and_fate),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
