/* Counts of classes against scikit-learn. */
#include "pipeline/compare/confusion.h"

#include <jansson.h>
#include <math.h>

#include "tests/support/cmocka.h"

static double at(const json_t *array, size_t index)
{
    return json_number_value(json_array_get(array, index));
}

static void check_rates(struct confusion_rates given, const json_t *wanted)
{
    assert_true(fabs(given.precision - at(wanted, 0)) < 1e-9);
    assert_true(fabs(given.recall - at(wanted, 1)) < 1e-9);
    assert_true(fabs(given.f1 - at(wanted, 2)) < 1e-9);
}

static void check_case(const json_t *item)
{
    struct arena *arena = arena_open(1 << 20);
    struct confusion confusion;
    size_t classes = (size_t)json_integer_value(json_object_get(item, "classes"));
    const json_t *expected = json_object_get(item, "expected");
    const json_t *given = json_object_get(item, "given");
    assert_true(confusion_init(&confusion, classes, arena, NULL));
    for (size_t i = 0; i < json_array_size(expected); i++) {
        confusion_add(&confusion, (size_t)at(expected, i), (size_t)at(given, i));
    }
    for (size_t i = 0; i < classes; i++) {
        const json_t *rates = json_array_get(json_object_get(item, "each"), i);
        const json_t *row = json_array_get(json_object_get(item, "matrix"), i);
        check_rates(confusion_class(&confusion, i), rates);
        assert_int_equal(confusion_class(&confusion, i).support, at(rates, 3));
        for (size_t j = 0; j < classes; j++) {
            assert_int_equal(confusion.counts[i * classes + j], at(row, j));
        }
    }
    const json_t *means = json_object_get(item, "means");
    check_rates(confusion_macro(&confusion), json_array_get(means, 0));
    check_rates(confusion_weighted(&confusion), json_array_get(means, 1));
    double accuracy = json_number_value(json_object_get(item, "accuracy"));
    assert_true(fabs(confusion_accuracy(&confusion) - accuracy) < 1e-9);
    arena_close(arena);
}

static void test_agrees_with_scikit_learn(void **state)
{
    (void)state;
    json_t *goldens = json_load_file(SOURCE_DIR "/tests/golden/compare/statistics.json", 0, NULL);
    size_t index = 0;
    json_t *item = NULL;
    json_array_foreach (json_object_get(goldens, "confusion"), index, item) {
        check_case(item);
    }
    assert_int_equal(index, 3);
    json_decref(goldens);
}

static void test_nothing_counted_is_all_zero(void **state)
{
    (void)state;
    struct arena *arena = arena_open(1 << 16);
    struct confusion confusion;
    assert_true(confusion_init(&confusion, 2, arena, NULL));
    assert_true(confusion_accuracy(&confusion) == 0 && confusion_weighted(&confusion).f1 == 0);
    arena_close(arena);
}

static void test_the_number_of_classes_is_bounded(void **state)
{
    (void)state;
    struct arena *arena = arena_open(1 << 20);
    struct confusion confusion;
    struct error error = {0};
    assert_true(confusion_init(&confusion, CONFUSION_CLASSES_MAX, arena, NULL));
    assert_false(confusion_init(&confusion, CONFUSION_CLASSES_MAX + 1, arena, &error));
    assert_int_equal(error.kind, ERROR_TOO_LARGE);
    arena_close(arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_agrees_with_scikit_learn),
        cmocka_unit_test(test_nothing_counted_is_all_zero),
        cmocka_unit_test(test_the_number_of_classes_is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
