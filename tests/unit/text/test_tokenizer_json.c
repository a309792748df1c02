/* Members of a file: the value, the fallback, or an error that names the member. */
#include "pipeline/text/tokenizer_json.h"

#include "tests/support/cmocka.h"

static int setup(void **state)
{
    *state = json_loads("{\"text\": \"a\\u00e9\", \"yes\": true, \"none\": null, \"list\": [1], "
                        "\"number\": 5, \"pattern\": {\"Regex\": \"a+\"}}",
                        0, NULL);
    return *state == NULL;
}

static int teardown(void **state)
{
    json_decref(*state);
    return 0;
}

static void test_reads_members_of_the_right_type(void **state)
{
    struct bytes text = {NULL, 0};
    bool value = false;
    const json_t *array = NULL;
    long long number = 0;
    struct pattern *pattern = NULL;
    struct error error = {0};
    assert_true(member_text(*state, "text", &text, &error));
    assert_true(bytes_equal_text(text, "a\xC3\xA9"));
    assert_true(member_bool(*state, "yes", false, &value, &error) && value);
    assert_true(member_bool(*state, "none", true, &value, &error) && value);
    assert_true(member_bool(*state, "absent", false, &value, &error) && !value);
    assert_true(member_array(*state, "list", &array, &error));
    assert_int_equal(json_array_size(array), 1);
    assert_true(member_integer(*state, "number", 0, 5, &number, &error));
    assert_int_equal(number, 5);
    assert_true(member_pattern(*state, &pattern, &error));
    pattern_close(pattern);
    assert_int_equal(error.kind, ERROR_NONE);
}

static void test_names_the_member_that_is_wrong(void **state)
{
    struct bytes text = {NULL, 0};
    bool value = false;
    const json_t *array = NULL;
    long long number = 0;
    struct error error = {0};
    assert_false(member_text(*state, "number", &text, &error));
    assert_string_equal(error.message, "\"number\" is of another type, must be a string");
    assert_false(member_bool(*state, "text", false, &value, &error));
    assert_string_equal(error.message, "\"text\" is of another type, must be true or false");
    assert_false(member_array(*state, "absent", &array, &error));
    assert_string_equal(error.message, "\"absent\" is missing, must be an array");
    assert_false(member_integer(*state, "number", 0, 4, &number, &error));
    assert_string_equal(error.message, "\"number\" is 5, must be 0 to 4");
    assert_false(refuse_type("model", bytes_of("Unigram"), &error));
    assert_string_equal(error.message, "model Unigram is not supported");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reads_members_of_the_right_type),
        cmocka_unit_test(test_names_the_member_that_is_wrong),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
