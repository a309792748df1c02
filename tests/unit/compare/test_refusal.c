/* Openings of refusals. */
#include "pipeline/compare/refusal.h"

#include "tests/support/cmocka.h"

static void test_refusals_are_found_by_their_openings(void **state)
{
    (void)state;
    assert_true(refusal_is_likely(bytes_of("I'm sorry, but I can't help with that.")));
    assert_true(refusal_is_likely(bytes_of("\n  I\xE2\x80\x99m unable to read the document.")));
    assert_true(refusal_is_likely(bytes_of("AS AN AI language model")));
    assert_true(refusal_is_likely(bytes_of("Es tut mir leid, aber das kann ich nicht.")));
    assert_true(refusal_is_likely(bytes_of("Je suis désolé, mais je ne peux pas")));
    assert_true(refusal_is_likely(bytes_of("申し訳ありませんが、お手伝いできません。")));
}

static void test_answers_are_no_refusals(void **state)
{
    (void)state;
    assert_false(refusal_is_likely(bytes_of("")));
    assert_false(refusal_is_likely(bytes_of("The customer says: I'm sorry, but I can't pay.")));
    assert_false(refusal_is_likely(bytes_of("Sorry, wrong warehouse: it was number 9.")));
    assert_false(refusal_is_likely(bytes_of("I can")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refusals_are_found_by_their_openings),
        cmocka_unit_test(test_answers_are_no_refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
