/* partitioner: the vectors of Kafka's own UtilsTest.testMurmur2, and the rules for results. */
#include "tests/support/cmocka.h"

#include "worker/partitioner.h"

static void test_murmur2_agrees_with_javas_vectors(void **state)
{
    (void)state;
    static const struct {
        const char *key;
        int32_t hash;
    } vectors[] = {
        {"21", -973932308},
        {"foobar", -790332482},
        {"a-little-bit-long-string", -985981536},
        {"a-little-bit-longer-string", -1486304829},
        {"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971},
        {"abc", 479470107},
    };
    for (size_t i = 0; i < sizeof vectors / sizeof vectors[0]; i++) {
        assert_int_equal(murmur2(bytes_of(vectors[i].key)), vectors[i].hash);
    }
}

static void test_negative_hashes_give_partitions_in_range(void **state)
{
    (void)state;
    assert_int_equal(partitioner_of_key(bytes_of("21"), 12), (-973932308 & 0x7fffffff) % 12);
    assert_int_equal(partitioner_of_key(bytes_of("abc"), 7), 479470107 % 7);
}

static void test_equal_counts_keep_the_sources_partition(void **state)
{
    (void)state;
    assert_int_equal(partitioner_of_result(4, 6, bytes_of("abc"), 6), 4);
}

static void test_other_counts_go_by_key_and_without_a_key_wrap(void **state)
{
    (void)state;
    assert_int_equal(partitioner_of_result(4, 6, bytes_of("abc"), 7), 479470107 % 7);
    assert_int_equal(partitioner_of_result(4, 6, (struct bytes){0}, 3), 1);
    assert_int_equal(partitioner_of_result(4, 0, (struct bytes){0}, 6), 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_murmur2_agrees_with_javas_vectors),
        cmocka_unit_test(test_negative_hashes_give_partitions_in_range),
        cmocka_unit_test(test_equal_counts_keep_the_sources_partition),
        cmocka_unit_test(test_other_counts_go_by_key_and_without_a_key_wrap),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
