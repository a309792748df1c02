/* route: names are found, taken names and too many names are refused. */
#include "pipeline/route/route.h"

#include "tests/support/cmocka.h"

static void test_finds_by_whole_name_only(void **state)
{
    (void)state;
    struct error error = {0};
    struct route_table *table = NULL;
    assert_true(route_table_open(4, &table, &error));
    assert_true(
        route_table_add(table, &(struct route){.name = bytes_of("scribe"), .model = 1}, &error));
    assert_true(
        route_table_add(table, &(struct route){.name = bytes_of("gpt-4o"), .model = 2}, &error));
    assert_int_equal(route_table_find(table, bytes_of("gpt-4o"))->model, 2);
    assert_int_equal(route_table_find(table, bytes_of("scribe"))->model, 1);
    assert_null(route_table_find(table, bytes_of("scrib")));
    assert_null(route_table_find(table, bytes_of("scribe2")));
    assert_null(route_table_find(table, bytes_of("")));
    route_table_close(table);
}

static void test_a_star_takes_what_nobody_else_does(void **state)
{
    (void)state;
    struct error error = {0};
    struct route_table *table = NULL;
    assert_true(route_table_open(4, &table, &error));
    assert_true(route_table_add(table, &(struct route){.name = bytes_of("*"), .model = 1}, &error));
    assert_true(route_table_add(table, &(struct route){.name = bytes_of("a"), .model = 2}, &error));
    assert_int_equal(route_table_find(table, bytes_of("a"))->model, 2);
    assert_int_equal(route_table_find(table, bytes_of("b"))->model, 1);
    route_table_close(table);
}

static void test_refuses_taken_names_and_too_many(void **state)
{
    (void)state;
    struct error error = {0};
    struct route_table *table = NULL;
    assert_true(route_table_open(1, &table, &error));
    assert_true(route_table_add(table, &(struct route){.name = bytes_of("a")}, &error));
    assert_false(route_table_add(table, &(struct route){.name = bytes_of("a")}, &error));
    assert_non_null(strstr(error.message, "given to two models"));
    assert_false(route_table_add(table, &(struct route){.name = bytes_of("b")}, &error));
    assert_non_null(strstr(error.message, "more than 1"));
    route_table_close(table);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_finds_by_whole_name_only),
        cmocka_unit_test(test_a_star_takes_what_nobody_else_does),
        cmocka_unit_test(test_refuses_taken_names_and_too_many),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
