/* Categories and lower case, characters newer than utf8proc's tables included. */
#include "pipeline/text/character.h"

#include "tests/support/cmocka.h"

static void test_knows_letters_marks_and_numbers(void **state)
{
    (void)state;
    assert_true(character_is_letter('a') && character_is_letter(0x4E00));
    assert_true(character_is_mark(0x301) && character_is_number(0xBD) && character_is_number('7'));
    assert_false(character_is_letter('7') || character_is_letter(0x301) || character_is_mark('a'));
    assert_false(character_is_letter(' ') || character_is_number(0x1F600));
    assert_true(character_is_letter(0x1C89)); // of Unicode 16
    assert_false(character_is_mark(0x1C89));
    assert_true(character_is_mark(0x897));
}

static void test_lowers_one_for_one(void **state)
{
    (void)state;
    assert_int_equal(character_lower('A'), 'a');
    assert_int_equal(character_lower(0xC4), 0xE4);
    assert_int_equal(character_lower(0x130), 'i');
    assert_int_equal(character_lower('!'), '!');
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_knows_letters_marks_and_numbers),
        cmocka_unit_test(test_lowers_one_for_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
