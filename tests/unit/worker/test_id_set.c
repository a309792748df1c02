/* id_set: what it knows, its limit and its digest. */
#include "tests/support/cmocka.h"

#include <stdio.h>

#include "worker/id_set.h"

static struct bytes name_of(char *text, size_t size, int number)
{
    int length = snprintf(text, size, "doc-%d", number);
    return (struct bytes){text, (size_t)length};
}

static void test_knows_what_was_added_while_it_grows(void **state)
{
    (void)state;
    struct id_set *set = id_set_open(100000);
    char text[32];
    for (int i = 0; i < 20000; i++) {
        assert_int_equal(id_set_add(set, name_of(text, sizeof text, i)), ID_SET_NEW);
    }
    for (int i = 0; i < 20000; i++) {
        assert_int_equal(id_set_add(set, name_of(text, sizeof text, i)), ID_SET_KNOWN);
    }
    assert_int_equal(id_set_count(set), 20000);
    id_set_close(set);
}

static void test_digest_depends_on_the_ids_but_not_on_their_order(void **state)
{
    (void)state;
    char digests[3][ID_SET_DIGEST_SIZE];
    char text[32];
    for (int order = 0; order < 3; order++) {
        struct id_set *set = id_set_open(1000);
        for (int i = 0; i < 100; i++) {
            int number = order == 1 ? 99 - i : i + (order == 2 ? 1 : 0);
            (void)id_set_add(set, name_of(text, sizeof text, number));
        }
        id_set_digest(set, digests[order]);
        id_set_close(set);
    }
    assert_string_equal(digests[0], digests[1]);
    assert_string_not_equal(digests[0], digests[2]);
}

static void test_is_full_at_its_limit_and_still_knows(void **state)
{
    (void)state;
    struct id_set *set = id_set_open(2);
    assert_int_equal(id_set_add(set, bytes_of("a")), ID_SET_NEW);
    assert_int_equal(id_set_add(set, bytes_of("")), ID_SET_NEW);
    assert_int_equal(id_set_add(set, bytes_of("b")), ID_SET_FULL);
    assert_int_equal(id_set_add(set, bytes_of("a")), ID_SET_KNOWN);
    id_set_close(set);
}

static void test_a_copy_goes_its_own_way(void **state)
{
    (void)state;
    struct id_set *set = id_set_open(10);
    assert_int_equal(id_set_add(set, bytes_of("a")), ID_SET_NEW);
    struct id_set *copy = id_set_open_copy(set);
    assert_true(id_set_has(copy, bytes_of("a")));
    assert_int_equal(id_set_add_hash(copy, id_set_hash(bytes_of("b"))), ID_SET_NEW);
    assert_true(id_set_has(copy, bytes_of("b")));
    assert_false(id_set_has(set, bytes_of("b")));
    assert_int_equal(id_set_count(set), 1);
    id_set_close(set);
    id_set_close(copy);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_knows_what_was_added_while_it_grows),
        cmocka_unit_test(test_digest_depends_on_the_ids_but_not_on_their_order),
        cmocka_unit_test(test_is_full_at_its_limit_and_still_knows),
        cmocka_unit_test(test_a_copy_goes_its_own_way),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
