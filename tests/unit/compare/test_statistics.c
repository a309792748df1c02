/* Intervals and tests against scipy and statsmodels. */
#include "pipeline/compare/statistics.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>

#include "tests/support/cmocka.h"

static json_t *goldens;

static double number(const json_t *object, const char *name)
{
    return json_number_value(json_object_get(object, name));
}

static size_t size(const json_t *object, const char *name)
{
    return (size_t)json_integer_value(json_object_get(object, name));
}

static void test_wilson_is_that_of_statsmodels(void **state)
{
    (void)state;
    size_t index = 0;
    json_t *item = NULL;
    json_array_foreach (json_object_get(goldens, "wilson"), index, item) {
        struct interval given = statistics_wilson(size(item, "passed"), size(item, "count"));
        assert_true(fabs(given.low - number(item, "low")) < 1e-9);
        assert_true(fabs(given.high - number(item, "high")) < 1e-9);
    }
    assert_int_equal(index, 8);
    struct interval none = statistics_wilson(0, 0);
    assert_true(none.low == 0 && none.high == 1);
}

static void test_mcnemar_is_that_of_statsmodels(void **state)
{
    (void)state;
    size_t index = 0;
    json_t *item = NULL;
    json_array_foreach (json_object_get(goldens, "mcnemar"), index, item) {
        double given = statistics_mcnemar(size(item, "first"), size(item, "second"));
        double wanted = number(item, "p");
        if (fabs(given - wanted) > 1e-9 * wanted) {
            fail_msg("%zu, %zu: %g, must be %g", size(item, "first"), size(item, "second"), given,
                     wanted);
        }
        assert_true(given == statistics_mcnemar(size(item, "second"), size(item, "first")));
    }
    assert_int_equal(index, 8);
}

static double *values_of(const json_t *item, size_t *count_out)
{
    const json_t *array = json_object_get(item, "values");
    *count_out = json_array_size(array);
    double *values = malloc(*count_out * sizeof *values);
    assert_non_null(values);
    for (size_t i = 0; i < *count_out; i++) {
        values[i] = json_number_value(json_array_get(array, i));
    }
    return values;
}

static void test_the_bootstrap_agrees_with_scipy_s_and_repeats_itself(void **state)
{
    (void)state;
    size_t index = 0;
    json_t *item = NULL;
    json_array_foreach (json_object_get(goldens, "bootstrap"), index, item) {
        size_t count = 0;
        struct interval given;
        struct interval again;
        struct interval other;
        double *values = values_of(item, &count);
        assert_true(statistics_bootstrap_mean(values, count, 7, &given, NULL));
        assert_true(statistics_bootstrap_mean(values, count, 7, &again, NULL));
        assert_true(statistics_bootstrap_mean(values, count, 8, &other, NULL));
        assert_true(given.low == again.low && given.high == again.high);
        assert_true(count < 30 || given.low != other.low);
        // Both draw at random, scipy 25 times as often.
        double room = 0.05 * (number(item, "high") - number(item, "low"));
        assert_true(fabs(given.low - number(item, "low")) <= room);
        assert_true(fabs(given.high - number(item, "high")) <= room);
        free(values);
    }
    assert_int_equal(index, 4);
}

static void test_the_bootstrap_needs_values(void **state)
{
    (void)state;
    struct interval interval;
    struct error error = {0};
    double one = 0.25;
    assert_false(statistics_bootstrap_mean(&one, 0, 1, &interval, &error));
    assert_int_equal(error.kind, ERROR_INVALID);
    assert_false(statistics_bootstrap_mean(&one, STATISTICS_VALUES_MAX + 1, 1, &interval, &error));
    assert_true(statistics_bootstrap_mean(&one, 1, 1, &interval, &error));
    assert_true(interval.low == 0.25 && interval.high == 0.25);
}

int main(void)
{
    goldens = json_load_file(SOURCE_DIR "/tests/golden/compare/statistics.json", 0, NULL);
    if (goldens == NULL) {
        return 1;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_wilson_is_that_of_statsmodels),
        cmocka_unit_test(test_mcnemar_is_that_of_statsmodels),
        cmocka_unit_test(test_the_bootstrap_agrees_with_scipy_s_and_repeats_itself),
        cmocka_unit_test(test_the_bootstrap_needs_values),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    json_decref(goldens);
    return failed;
}
