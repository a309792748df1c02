/* totals: every record is counted once, and only answers with status 200 are ok. */
#include "worker/totals.h"

#include <stdlib.h>
#include <string.h>

#include "tests/support/cmocka.h"

static void test_counts_each_record_in_one_place(void **state)
{
    (void)state;
    struct usage usage = {10, 4, 3};
    struct failure late = {bytes_of("deadline_exceeded"), bytes_of("late")};
    struct failure large = {bytes_of("result_too_large"), bytes_of("large")};
    struct totals totals = {0};
    assert_true(totals_all_ok(&totals));
    totals_add_response(&totals, &(struct inference_response){.status_code = 200, .usage = &usage});
    assert_true(totals_all_ok(&totals));
    totals_add_response(&totals, &(struct inference_response){.status_code = 404});
    totals_add_response(&totals, &(struct inference_response){.error = &late});
    totals_add_response(&totals, &(struct inference_response){.error = &large});
    totals_add_dead_letter(&totals);
    assert_false(totals_all_ok(&totals));
    assert_int_equal(totals.records, 5);
    assert_int_equal(totals.ok, 1);
    assert_int_equal(totals.failed, 2);
    assert_int_equal(totals.expired, 1);
    assert_int_equal(totals.dead_lettered, 1);
    assert_int_equal(totals.prompt_tokens, 10);
}

static void test_json_says_the_same(void **state)
{
    (void)state;
    struct totals totals = {0};
    totals_add_dead_letter(&totals);
    json_t *json = totals_json(&totals, 0.5);
    assert_int_equal(json_integer_value(json_object_get(json, "records")), 1);
    assert_int_equal(json_integer_value(json_object_get(json, "ok")), 0);
    assert_int_equal(json_integer_value(json_object_get(json, "dead_lettered")), 1);
    assert_true(json_real_value(json_object_get(json, "records_per_second")) == 2.0);
    json_decref(json);
}

static void test_text_leaves_out_a_time_that_is_not_known(void **state)
{
    (void)state;
    char *text = NULL;
    size_t size = 0;
    struct totals totals = {.records = 3, .ok = 3};
    FILE *file = open_memstream(&text, &size);
    totals_print(&totals, 0, file);
    assert_int_equal(fclose(file), 0);
    assert_non_null(strstr(text, "3 records: 3 ok"));
    assert_null(strstr(text, "seconds"));
    free(text);
}

static void test_a_dead_letter_with_a_later_outcome_counts_no_more(void **state)
{
    (void)state;
    struct totals totals = {0};
    totals_add_dead_letter(&totals);
    totals_add_dead_letter(&totals);
    totals_remove_dead_letters(&totals, 1);
    assert_int_equal(totals.records, 1);
    assert_int_equal(totals.dead_lettered, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_counts_each_record_in_one_place),
        cmocka_unit_test(test_json_says_the_same),
        cmocka_unit_test(test_text_leaves_out_a_time_that_is_not_known),
        cmocka_unit_test(test_a_dead_letter_with_a_later_outcome_counts_no_more),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
