/* token_counts: the counts of an output, against counting it anew. */
#include "pipeline/engine/token_counts.h"

#include "tests/support/cmocka.h"
#include "tests/unit/engine/workload.h"

enum { VOCABULARY = 30, TOKENS = 300 };

static void test_counts_are_those_of_the_output_and_sorted(void **state)
{
    (void)state;
    struct random random = {random_seed(1)};
    struct token_count items[VOCABULARY];
    struct token_counts counts = {.items = items, .capacity = VOCABULARY};
    int expected[VOCABULARY] = {0};
    for (int i = 0; i < TOKENS; i++) {
        int32_t token = random_between(&random, 0, VOCABULARY - 1);
        token_counts_add(&counts, token);
        expected[token]++;
        int different = 0;
        for (int32_t t = 0; t < VOCABULARY; t++) {
            different += expected[t] > 0;
        }
        assert_int_equal(counts.count, different);
        for (int j = 0; j < counts.count; j++) {
            assert_true(j == 0 || items[j].token > items[j - 1].token);
            assert_int_equal(items[j].count, expected[items[j].token]);
        }
    }
    assert_int_equal(counts.count, VOCABULARY);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_counts_are_those_of_the_output_and_sorted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
