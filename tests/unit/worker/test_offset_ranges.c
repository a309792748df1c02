/* offset_ranges against a plain array of flags. */
#include "tests/support/cmocka.h"

#include <string.h>

#include "tests/support/seed.h"
#include "worker/offset_ranges.h"

enum { OFFSETS = 200, ROUNDS = 2000 };

static void check(const struct offset_ranges *ranges, const bool *flags)
{
    size_t count = 0;
    for (int i = 0; i < OFFSETS; i++) {
        assert_int_equal(offset_ranges_has(ranges, i), flags[i]);
        count += flags[i] && (i == 0 || !flags[i - 1]) ? 1 : 0;
    }
    assert_int_equal(ranges->count, count); // as few ranges as there can be
}

static void test_a_set_is_what_was_added_and_not_pruned(void **state)
{
    (void)state;
    seed_random();
    for (int round = 0; round < ROUNDS / 10; round++) {
        struct offset_ranges ranges = {0};
        struct error error = {0};
        bool flags[OFFSETS] = {false};
        for (int i = 0; i < 20; i++) {
            int first = (int)random_below(OFFSETS);
            int end = first + 1 + (int)random_below(12);
            end = end > OFFSETS ? OFFSETS : end;
            assert_true(offset_ranges_add(&ranges, first, end, &error));
            memset(flags + first, true, (size_t)(end - first));
            check(&ranges, flags);
        }
        int pruned = (int)random_below(OFFSETS);
        offset_ranges_prune(&ranges, pruned);
        memset(flags, false, (size_t)pruned);
        check(&ranges, flags);

        struct offset_ranges copy = {0};
        json_t *value = offset_ranges_json(&ranges);
        assert_true(offset_ranges_parse(&copy, value, &error));
        check(&copy, flags);
        json_decref(value);
        offset_ranges_close(&ranges);
        offset_ranges_close(&copy);
    }
}

static void test_too_many_ranges_are_refused_but_can_be_joined(void **state)
{
    (void)state;
    struct offset_ranges ranges = {0};
    struct error error = {0};
    for (int i = 0; i < OFFSET_RANGES_MAX; i++) {
        assert_true(offset_ranges_add(&ranges, 2 * i, 2 * i + 1, &error));
    }
    assert_false(offset_ranges_add(&ranges, 1000000, 1000001, &error));
    assert_int_equal(error.kind, ERROR_TOO_LARGE);
    error = (struct error){0};
    assert_true(offset_ranges_add(&ranges, 1, 2, &error));
    assert_int_equal(ranges.count, OFFSET_RANGES_MAX - 1);
    assert_true(offset_ranges_add(&ranges, 1000000, 1000001, &error));
    offset_ranges_close(&ranges);
}

static void test_what_is_no_set_of_ranges_is_refused(void **state)
{
    (void)state;
    static const char *const broken[] = {"{}",      "null",      "[1]",
                                         "[[1]]",   "[[2,2]]",   "[[-1,2]]",
                                         "[[3,2]]", "[[1,2,3]]", "[[\"a\",\"b\"]]"};
    for (size_t i = 0; i < sizeof broken / sizeof broken[0]; i++) {
        struct offset_ranges ranges = {0};
        struct error error = {0};
        json_t *value = json_loads(broken[i], JSON_DECODE_ANY, NULL);
        assert_non_null(value);
        if (offset_ranges_parse(&ranges, value, &error)) {
            fail_msg("%s was taken", broken[i]);
        }
        json_decref(value);
        offset_ranges_close(&ranges);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_set_is_what_was_added_and_not_pruned),
        cmocka_unit_test(test_too_many_ranges_are_refused_but_can_be_joined),
        cmocka_unit_test(test_what_is_no_set_of_ranges_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
