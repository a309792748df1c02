/* Classes of characters: each answer is what Hugging Face tokenizers 0.23.3 does. */
#include "pipeline/text/unicode_classes.h"

#include "tests/support/cmocka.h"

static void test_old_tables_know_no_newer_characters(void **state)
{
    (void)state;
    assert_true(unicode_is_punctuation('$'));
    assert_true(unicode_is_punctuation(0x3002)); // ideographic full stop
    assert_false(unicode_is_punctuation(0x20AC));
    assert_false(unicode_is_punctuation(0x2E43)); // of Unicode 9
    assert_true(unicode_is_nonspacing_mark(0x301));
    assert_false(unicode_is_nonspacing_mark(0x903)); // spacing
    assert_true(unicode_is_mark(0x903));
    assert_false(unicode_is_nonspacing_mark(0x1E944));
    assert_true(unicode_is_mark(0x1E944));    // of Unicode 9
    assert_true(unicode_is_numeric(0xBD));    // one half
    assert_true(unicode_is_numeric(0x11DE0)); // of Unicode 17
    assert_false(unicode_is_numeric('a'));
}

static void test_control_characters_go_but_ends_of_lines_stay(void **state)
{
    (void)state;
    assert_true(unicode_is_control(0));
    assert_true(unicode_is_control(0x85));
    assert_true(unicode_is_control(0x200D)); // zero width joiner
    assert_true(unicode_is_control(0xE000)); // private
    assert_true(unicode_is_control(0xFFFD));
    assert_false(unicode_is_control('\n'));
    assert_false(unicode_is_control(0x378)); // unassigned
}

static void test_lower_case_is_that_of_each_character_alone(void **state)
{
    (void)state;
    int32_t lower[UNICODE_LOWER_MAX];
    assert_int_equal(unicode_lower('A', lower), 1);
    assert_int_equal(lower[0], 'a');
    assert_int_equal(unicode_lower(0x3A3, lower), 1); // sigma, final or not
    assert_int_equal(lower[0], 0x3C3);
    assert_int_equal(unicode_lower(0x130, lower), 2);
    assert_int_equal(lower[1], 0x307);
    assert_int_equal(unicode_lower(0x10D50, lower), 1); // of Unicode 16
    assert_int_equal(lower[0], 0x10D70);
}

static void test_ideographs_are_those_of_bert(void **state)
{
    (void)state;
    assert_true(unicode_is_ideograph(0x4E00));
    assert_true(unicode_is_ideograph(0x2B81F));
    assert_false(unicode_is_ideograph(0x2B820)); // a slip of the original that all keep
    assert_false(unicode_is_ideograph(0x3042));
}

static void test_marks_newer_than_the_normal_forms_are_known(void **state)
{
    (void)state;
    assert_true(unicode_is_later_form(0x8D3));
    assert_true(unicode_is_later_form(0x32FF)); // the square of an era
    assert_false(unicode_is_later_form(0x301));
    assert_false(unicode_is_later_form('a'));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_old_tables_know_no_newer_characters),
        cmocka_unit_test(test_control_characters_go_but_ends_of_lines_stay),
        cmocka_unit_test(test_lower_case_is_that_of_each_character_alone),
        cmocka_unit_test(test_marks_newer_than_the_normal_forms_are_known),
        cmocka_unit_test(test_ideographs_are_those_of_bert),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
