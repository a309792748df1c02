/* forecast: the peak of KV blocks, and how long outputs get. */
#include "pipeline/engine/forecast.h"

#include "tests/support/cmocka.h"
#include "tests/unit/engine/workload.h"

enum { BLOCK_TOKENS = 16, ITEMS = 40 };

static void test_lengths_are_learned_as_a_share_of_max_tokens(void **state)
{
    (void)state;
    struct forecast forecast;
    forecast_init(&forecast);
    for (int i = 0; i < 2000; i++) {
        forecast_learn(&forecast, 200, 1000);
    }
    assert_in_range(forecast_remaining(&forecast, 0, 1000), 195, 205);
    assert_in_range(forecast_remaining(&forecast, 100, 2000), 295, 305);
    // Short limits that are used up say nothing about long ones that are not.
    for (int i = 0; i < 500; i++) {
        forecast_learn(&forecast, 8, 8);
        forecast_learn(&forecast, 200, 1000);
    }
    assert_in_range(forecast_remaining(&forecast, 0, 1000), 190, 220);
}

static void test_what_outlives_the_forecast_goes_on_a_little(void **state)
{
    (void)state;
    struct forecast forecast;
    forecast_init(&forecast);
    for (int i = 0; i < 2000; i++) {
        forecast_learn(&forecast, 10, 1000);
    }
    assert_in_range(forecast_remaining(&forecast, 500, 1000), 1, 64);
    assert_int_equal(forecast_remaining(&forecast, 999, 1000), 1);
}

/* The same figure token by token. */
static int64_t exact_peak(const struct forecast_item *items, int count)
{
    int64_t peak = count;
    for (int tokens = 0; tokens <= 400; tokens++) {
        int64_t blocks = 0;
        for (int i = 0; i < count; i++) {
            blocks +=
                items[i].remaining >= tokens ? tokens / BLOCK_TOKENS + 1 : -items[i].own_blocks;
        }
        peak = blocks > peak ? blocks : peak;
    }
    return peak;
}

static void test_the_peak_is_never_below_the_true_one_and_near_it(void **state)
{
    (void)state;
    struct random random = {random_seed(1)};
    for (int round = 0; round < 500; round++) {
        struct forecast_item items[ITEMS];
        int count = random_between(&random, 1, ITEMS);
        int64_t alone = 0; // if nobody left before the others end
        for (int i = 0; i < count; i++) {
            items[i] = (struct forecast_item){random_between(&random, 1, 400),
                                              random_between(&random, 0, 60)};
            alone += items[i].remaining / BLOCK_TOKENS + 1;
        }
        int64_t peak = forecast_peak(items, count, BLOCK_TOKENS);
        int64_t exact = exact_peak(items, count);
        assert_true(peak >= exact);
        assert_true(peak <= alone || peak == count);
        // One moment's width of growth and one sixteenth of those that leave, at most.
        assert_true(peak <= exact + count * 3 + count * 60 / 8);
    }
}

static void test_one_that_ends_soon_makes_room_for_one_that_grows(void **state)
{
    (void)state;
    const struct forecast_item items[] = {{.remaining = 16, .own_blocks = 100},
                                          {.remaining = 1600, .own_blocks = 0}};
    assert_in_range(forecast_peak(items, 2, BLOCK_TOKENS), 2, 10);
    assert_in_range(forecast_peak(items + 1, 1, BLOCK_TOKENS), 100, 102);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lengths_are_learned_as_a_share_of_max_tokens),
        cmocka_unit_test(test_what_outlives_the_forecast_goes_on_a_little),
        cmocka_unit_test(test_the_peak_is_never_below_the_true_one_and_near_it),
        cmocka_unit_test(test_one_that_ends_soon_makes_room_for_one_that_grows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
