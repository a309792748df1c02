/* spend: prices, days, the cap. */
#include "worker/spend.h"

#include <math.h>

#include "tests/support/cmocka.h"

static const int64_t noon_ms = 20000 * INT64_C(86400000) + 43200000;

static void test_prices_are_per_million_tokens_of_each_kind(void **state)
{
    (void)state;
    struct prices prices = {.prompt = 2.5, .cached = 1.25, .completion = 10, .has_cached = true};
    struct usage usage = {.prompt_tokens = 3000, .cached_tokens = 1000, .completion_tokens = 500};
    assert_true(fabs(prices_cost_usd(&prices, &usage) - (0.005 + 0.00125 + 0.005)) < 1e-12);
    prices.has_cached = false;
    assert_true(fabs(prices_cost_usd(&prices, &usage) - (0.0075 + 0.005)) < 1e-12);
}

static void test_a_reached_cap_waits_for_the_next_day(void **state)
{
    (void)state;
    struct spend spend;
    spend_init(&spend, 1);
    spend_add(&spend, 0.75, noon_ms);
    assert_int_equal(spend_wait_ms(&spend, noon_ms), 0);
    spend_add(&spend, 0.25, noon_ms);
    assert_int_equal(spend_wait_ms(&spend, noon_ms), 43200000);
    assert_int_equal(spend_wait_ms(&spend, noon_ms + 43199999), 1);
    assert_int_equal(spend_wait_ms(&spend, noon_ms + 43200000), 0);
    assert_true(spend.total_usd == 1);
}

static void test_without_a_cap_nothing_waits(void **state)
{
    (void)state;
    struct spend spend;
    spend_init(&spend, 0);
    spend_add(&spend, 1e6, noon_ms);
    assert_int_equal(spend_wait_ms(&spend, noon_ms), 0);
}

static void test_a_clock_that_is_set_back_gives_no_money(void **state)
{
    (void)state;
    struct spend spend;
    spend_init(&spend, 1);
    spend_add(&spend, 1, noon_ms);
    assert_true(spend_wait_ms(&spend, noon_ms - 86400000) > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_prices_are_per_million_tokens_of_each_kind),
        cmocka_unit_test(test_a_reached_cap_waits_for_the_next_day),
        cmocka_unit_test(test_without_a_cap_nothing_waits),
        cmocka_unit_test(test_a_clock_that_is_set_back_gives_no_money),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
