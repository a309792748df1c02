/* breaker: opens after failures in a row, lets one probe through, waits longer each time. */
#include "worker/breaker.h"

#include "tests/support/cmocka.h"

static void fail_times(struct breaker *breaker, int count, double now_ms)
{
    for (int i = 0; i < count; i++) {
        breaker_fail(breaker, now_ms, 0);
    }
}

static void test_opens_after_five_failures_in_a_row(void **state)
{
    (void)state;
    struct breaker breaker;
    breaker_init(&breaker);
    fail_times(&breaker, 4, 0);
    breaker_succeed(&breaker);
    fail_times(&breaker, 4, 0);
    assert_true(breaker_admits(&breaker, 0));
    fail_times(&breaker, 1, 0);
    assert_int_equal(breaker.state, BREAKER_OPEN);
    assert_false(breaker_admits(&breaker, 999));
}

static void test_one_probe_decides(void **state)
{
    (void)state;
    struct breaker breaker;
    breaker_init(&breaker);
    fail_times(&breaker, 5, 0);
    assert_true(breaker_admits(&breaker, 1000));
    assert_int_equal(breaker.state, BREAKER_HALF_OPEN);
    assert_false(breaker_admits(&breaker, 1e9)); // while the probe is out
    breaker_fail(&breaker, 1500, 0);
    assert_false(breaker_admits(&breaker, 3499)); // twice as long
    assert_true(breaker_admits(&breaker, 3500));
    breaker_succeed(&breaker);
    assert_int_equal(breaker.state, BREAKER_CLOSED);
    assert_true(breaker_admits(&breaker, 3501));
}

static void test_waits_at_most_a_minute_and_a_spread(void **state)
{
    (void)state;
    struct breaker breaker;
    breaker_init(&breaker);
    fail_times(&breaker, 5, 0);
    for (int i = 0; i < 100; i++) {
        assert_true(breaker_admits(&breaker, breaker.open_till_ms));
        breaker_fail(&breaker, 0, 0.5);
        assert_true(breaker.open_till_ms <= 75000);
    }
    assert_true(breaker.open_till_ms == 75000);
}

static void test_failures_of_what_was_under_way_do_not_lengthen_it(void **state)
{
    (void)state;
    struct breaker breaker;
    breaker_init(&breaker);
    fail_times(&breaker, 64, 0);
    assert_true(breaker.open_till_ms == 1000);
}

static void test_a_withdrawn_probe_gives_way_to_another(void **state)
{
    (void)state;
    struct breaker breaker;
    breaker_init(&breaker);
    fail_times(&breaker, 5, 0);
    assert_true(breaker_admits(&breaker, 1000));
    breaker_withdraw(&breaker, 1100);
    assert_true(breaker_admits(&breaker, 1100));
    assert_int_equal(breaker.state, BREAKER_HALF_OPEN);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_opens_after_five_failures_in_a_row),
        cmocka_unit_test(test_one_probe_decides),
        cmocka_unit_test(test_waits_at_most_a_minute_and_a_spread),
        cmocka_unit_test(test_failures_of_what_was_under_way_do_not_lengthen_it),
        cmocka_unit_test(test_a_withdrawn_probe_gives_way_to_another),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
