/* limiter: what an endpoint gets at once, by what it says. */
#include "worker/limiter.h"

#include "tests/support/cmocka.h"

static void test_grows_fast_until_the_first_complaint(void **state)
{
    (void)state;
    struct limiter limiter;
    limiter_init(&limiter, 64);
    int first = limiter_limit(&limiter);
    for (int i = 0; i < first; i++) { // one round of answers
        limiter_succeed(&limiter, limiter_limit(&limiter));
    }
    assert_int_equal(limiter_limit(&limiter), 2 * first);
    for (int i = 0; i < 1000; i++) {
        limiter_succeed(&limiter, limiter_limit(&limiter));
    }
    assert_int_equal(limiter_limit(&limiter), 64);
}

static void test_a_complaint_halves_it_once_for_what_was_under_way(void **state)
{
    (void)state;
    struct limiter limiter;
    limiter_init(&limiter, 64);
    limiter.limit = 64;
    for (int i = 0; i < 64; i++) {
        limiter_complain(&limiter, 100, 200 + i);
    }
    assert_int_equal(limiter_limit(&limiter), 32);
    limiter_complain(&limiter, 300, 400); // sent after the first
    assert_int_equal(limiter_limit(&limiter), 16);
    for (int i = 0; i < 16; i++) { // then a round of answers gives one more
        limiter_succeed(&limiter, limiter_limit(&limiter));
    }
    assert_in_range(limiter_limit(&limiter), 16, 17);
    limiter_succeed(&limiter, limiter_limit(&limiter));
    assert_int_equal(limiter_limit(&limiter), 17);
}

static void test_one_request_is_always_allowed(void **state)
{
    (void)state;
    struct limiter limiter;
    limiter_init(&limiter, 1);
    assert_int_equal(limiter_limit(&limiter), 1);
    for (int i = 0; i < 20; i++) {
        limiter_complain(&limiter, 10 * i + 1, 10 * i + 2);
    }
    assert_int_equal(limiter_limit(&limiter), 1);
}

static void test_what_is_not_used_does_not_grow(void **state)
{
    (void)state;
    struct limiter limiter;
    limiter_init(&limiter, 64);
    limiter.limit = 16;
    for (int i = 0; i < 100; i++) {
        limiter_succeed(&limiter, 7);
    }
    assert_int_equal(limiter_limit(&limiter), 16);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_grows_fast_until_the_first_complaint),
        cmocka_unit_test(test_a_complaint_halves_it_once_for_what_was_under_way),
        cmocka_unit_test(test_one_request_is_always_allowed),
        cmocka_unit_test(test_what_is_not_used_does_not_grow),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
