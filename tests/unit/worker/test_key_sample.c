/* key_sample: which keys belong to a part. */
#include "worker/key_sample.h"

#include <stdio.h>

#include "tests/support/cmocka.h"

enum { KEYS = 20000 };

static bool is_in(int number, double share)
{
    char key[32];
    (void)snprintf(key, sizeof key, "request-%d", number);
    return key_sample_has(bytes_of(key), share);
}

static void test_a_part_has_about_its_share_and_larger_ones_hold_it(void **state)
{
    (void)state;
    int tenth = 0;
    int half = 0;
    for (int i = 0; i < KEYS; i++) {
        assert_true(!is_in(i, 0.1) || is_in(i, 0.5));
        tenth += is_in(i, 0.1) ? 1 : 0;
        half += is_in(i, 0.5) ? 1 : 0;
    }
    // Five standard deviations.
    assert_in_range(tenth, KEYS / 10 - 212, KEYS / 10 + 212);
    assert_in_range(half, KEYS / 2 - 354, KEYS / 2 + 354);
}

static void test_all_and_nothing_are_exact(void **state)
{
    (void)state;
    assert_true(key_sample_has((struct bytes){0}, 1));
    assert_false(key_sample_has((struct bytes){0}, 0));
    for (int i = 0; i < KEYS; i++) {
        assert_true(is_in(i, 1));
        assert_false(is_in(i, 0));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_part_has_about_its_share_and_larger_ones_hold_it),
        cmocka_unit_test(test_all_and_nothing_are_exact),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
