/* Characters that are newer than the libraries. */
#include "pipeline/text/unicode_additions.h"

#include "tests/support/cmocka.h"

static void test_knows_the_new_characters_and_only_those(void **state)
{
    (void)state;
    size_t count = 0;
    for (int32_t c = 0; c <= 0x10FFFF; c++) {
        count += unicode_addition_category(c) != 0 ? 1 : 0;
    }
    // 627 of Unicode 15.1 and 5,185 of 16.0, as the standard's announcements count them.
    assert_int_equal(count, 627 + 5185);
    assert_int_equal(unicode_addition_category(0x1FAE9), 'S'); // face with bags under eyes
    assert_int_equal(unicode_addition_category(0x2EBF0), 'L'); // first ideograph of extension I
    assert_int_equal(unicode_addition_category(0x2EE5D), 'L'); // and its last
    assert_int_equal(unicode_addition_category(0x2EE5E), 0);
    assert_int_equal(unicode_addition_category(0x10D40), 'N'); // Garay digit zero
    assert_int_equal(unicode_addition_category('a'), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_knows_the_new_characters_and_only_those),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
