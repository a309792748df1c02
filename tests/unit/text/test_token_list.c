/* Growth up to the limit, and the error past it. */
#include "pipeline/text/token_list.h"

#include <string.h>

#include "tests/support/cmocka.h"

static void test_grows_to_its_limit_and_names_it(void **state)
{
    (void)state;
    struct token_list list;
    struct error error = {0};
    token_list_init(&list, 1000);
    for (int32_t id = 0; id < 1000; id++) {
        assert_true(token_list_append(&list, id, &error));
    }
    assert_false(token_list_append(&list, 1000, &error));
    assert_int_equal(error.kind, ERROR_INVALID);
    assert_string_equal(error.code, "context_length_exceeded");
    assert_non_null(strstr(error.message, "more than 1000 tokens"));
    for (int32_t id = 0; id < 1000; id++) {
        assert_int_equal(list.ids[id], id);
    }
    token_list_close(&list);
    assert_int_equal(list.count, 0);
}

static void test_a_limit_of_zero_holds_nothing(void **state)
{
    (void)state;
    struct token_list list;
    struct error error = {0};
    token_list_init(&list, 0);
    assert_false(token_list_append(&list, 1, &error));
    token_list_close(&list);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_grows_to_its_limit_and_names_it),
        cmocka_unit_test(test_a_limit_of_zero_holds_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
