/* Fields of two JSON values, path by path. */
#include "pipeline/compare/fields.h"

#include "tests/support/cmocka.h"

static void check(const char *reference, const char *candidate, size_t equal, size_t total,
                  const char *difference)
{
    json_t *a = json_loads(reference, JSON_DECODE_ANY, NULL);
    json_t *b = json_loads(candidate, JSON_DECODE_ANY, NULL);
    struct fields fields = fields_compare(a, b);
    assert_int_equal(fields.equal, equal);
    assert_int_equal(fields.total, total);
    assert_string_equal(fields.difference, difference);
    json_decref(a);
    json_decref(b);
}

static void test_counts_paths_of_either_side(void **state)
{
    (void)state;
    check("{\"a\": 1, \"b\": [1, {\"c\": \"x\"}]}", "{\"b\": [1, {\"c\": \"x\"}], \"a\": 1.0}", 3,
          3, "");
    check("{\"a\": 1, \"b\": 2}", "{\"a\": 1, \"c\": 2}", 1, 3, "b");
    check("{\"a\": [1, 2]}", "{\"a\": [1, 2, 3]}", 2, 3, "a[2]");
    check("{\"a\": {\"b\": 1}}", "{\"a\": [1]}", 0, 2, "a.b");
    check("{\"a\": {\"b\": 1, \"c\": 2}}", "{\"a\": 5}", 0, 3, "a.b");
    check("{\"a\": {}}", "{\"a\": {}}", 1, 1, "");
    check("{\"a\": {}}", "{\"a\": []}", 0, 1, "a");
    check("[]", "null", 0, 1, "(root)");
    check("[null, true, \"1\"]", "[null, true, 1]", 2, 3, "[2]");
}

static void test_a_missing_side_has_no_fields(void **state)
{
    (void)state;
    json_t *a = json_pack("{s:i, s:i}", "a", 1, "b", 2);
    struct fields fields = fields_compare(a, NULL);
    assert_int_equal(fields.equal, 0);
    assert_int_equal(fields.total, 2);
    assert_true(fields_accuracy(&fields) == 0);
    json_decref(a);
}

static void test_depth_is_bounded(void **state)
{
    (void)state;
    json_t *deep = json_array();
    for (int i = 0; i < 1000; i++) {
        deep = json_pack("[o]", deep);
    }
    struct fields fields = fields_compare(deep, deep);
    assert_int_equal(fields.total, 1);
    assert_int_equal(fields.equal, 1);
    json_decref(deep);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_counts_paths_of_either_side),
        cmocka_unit_test(test_a_missing_side_has_no_fields),
        cmocka_unit_test(test_depth_is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
