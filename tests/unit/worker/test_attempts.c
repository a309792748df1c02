/* attempts: who may run together, and what is counted. */
#include "tests/support/cmocka.h"

#include "worker/attempts.h"

enum { LIMIT = 3 };

/* As an owner finds it that its predecessor left: `offset` was begun `count` times. */
static void add_counted(struct offset_map *map, int64_t offset, uint8_t count)
{
    map->attempts[map->attempts_count++] = (struct offset_attempts){offset, count};
}

static void test_untried_records_run_in_a_group_of_bounded_size(void **state)
{
    (void)state;
    struct offset_map map;
    struct attempts attempts;
    offset_map_init(&map, 100, 0);
    attempts_restore(&attempts, &map);
    for (int64_t offset = 100; offset < 100 + ATTEMPTS_FIRST_GROUP; offset++) {
        assert_true(attempts_note(&attempts, offset, LIMIT));
    }
    assert_false(attempts_note(&attempts, 200, LIMIT));
    attempts_drop(&attempts, 105, 106);
    assert_true(attempts_note(&attempts, 200, LIMIT));
}

static void test_the_last_attempt_is_alone(void **state)
{
    (void)state;
    struct offset_map map;
    struct attempts attempts;
    offset_map_init(&map, 100, 0);
    add_counted(&map, 100, 2);
    add_counted(&map, 101, 1);
    attempts_restore(&attempts, &map);
    assert_true(attempts_note(&attempts, 100, LIMIT));
    assert_int_equal(attempts_find(&attempts, 100)->group, 1);
    assert_false(attempts_note(&attempts, 101, LIMIT));
    assert_false(attempts_note(&attempts, 102, LIMIT));
    attempts_drop(&attempts, 100, 101);
    assert_true(attempts_note(&attempts, 101, LIMIT));
    assert_int_equal(attempts_find(&attempts, 101)->group, ATTEMPTS_LATER_GROUP);
    assert_false(attempts_note(&attempts, 103, 1)); // would have to be alone
}

static void test_a_last_attempt_is_told_before_it_is_counted(void **state)
{
    (void)state;
    struct offset_map map;
    struct attempts attempts;
    offset_map_init(&map, 100, 0);
    add_counted(&map, 100, 2);
    add_counted(&map, 101, 1);
    add_counted(&map, 102, 3);
    attempts_restore(&attempts, &map);
    assert_true(attempts_wants_alone(&attempts, 100, LIMIT));
    assert_false(attempts_wants_alone(&attempts, 101, LIMIT));
    assert_false(attempts_wants_alone(&attempts, 102, LIMIT)); // has had it
    assert_false(attempts_wants_alone(&attempts, 103, LIMIT));
    assert_true(attempts_wants_alone(&attempts, 103, 1));
    assert_true(attempts_note(&attempts, 101, LIMIT));
    assert_false(attempts_wants_alone(&attempts, 100, LIMIT)); // it would have to wait
    attempts_drop(&attempts, 101, 102);
    assert_true(attempts_note(&attempts, 100, LIMIT));
    assert_false(attempts_wants_alone(&attempts, 100, LIMIT)); // is counted
}

static void test_an_attempt_counts_when_its_commit_is_confirmed(void **state)
{
    (void)state;
    struct offset_map map;
    struct attempts attempts;
    offset_map_init(&map, 100, 0);
    attempts_restore(&attempts, &map);
    assert_true(attempts_note(&attempts, 100, LIMIT));
    attempts_send(&attempts);
    assert_true(attempts_note(&attempts, 101, LIMIT));
    attempts_confirm(&attempts);
    assert_int_equal(attempts_find(&attempts, 100)->state, ATTEMPT_CONFIRMED);
    assert_int_equal(attempts_find(&attempts, 101)->state, ATTEMPT_NOTED);
    attempts_send(&attempts);
    attempts_confirm(&attempts);
    assert_int_equal(attempts_find(&attempts, 101)->state, ATTEMPT_CONFIRMED);
    assert_null(attempts_find(&attempts, 102));
}

static void test_an_end_in_good_order_takes_back_what_had_begun(void **state)
{
    (void)state;
    struct offset_map map;
    struct attempts attempts;
    offset_map_init(&map, 100, 0);
    add_counted(&map, 100, 1);
    add_counted(&map, 101, 2);
    attempts_restore(&attempts, &map);
    assert_true(attempts_note(&attempts, 100, 9));
    assert_true(attempts_note(&attempts, 102, 9));
    attempts_write(&attempts, false, &map);
    assert_int_equal(map.attempts_count, 3);
    assert_int_equal(map.attempts[0].count, 2);
    attempts_write(&attempts, true, &map);
    assert_int_equal(map.attempts_count, 2);
    assert_int_equal(map.attempts[0].count, 1);
    assert_int_equal(map.attempts[1].count, 2);
}

static void test_what_the_map_has_as_done_is_not_written(void **state)
{
    (void)state;
    struct offset_map map;
    struct attempts attempts;
    offset_map_init(&map, 100, 0);
    for (int64_t offset = 100; offset < 104; offset++) {
        add_counted(&map, offset, 1);
    }
    attempts_restore(&attempts, &map);
    offset_map_init(&map, 101, 0);
    offset_map_set_done(&map, 1);
    map.span = 2;
    attempts_write(&attempts, false, &map);
    assert_int_equal(map.attempts_count, 2);
    assert_int_equal(map.attempts[0].offset, 101);
    assert_int_equal(map.attempts[1].offset, 103);
}

static void test_a_full_list_never_keeps_a_lower_offset_waiting(void **state)
{
    (void)state;
    struct offset_map map;
    struct attempts attempts;
    offset_map_init(&map, 100, 0);
    for (int64_t i = 0; i < OFFSET_MAP_ATTEMPTS_MAX; i++) {
        add_counted(&map, 200 + i, 1);
    }
    attempts_restore(&attempts, &map);
    for (int64_t offset = 100; offset < 100 + ATTEMPTS_FIRST_GROUP; offset++) {
        assert_true(attempts_note(&attempts, offset, LIMIT));
    }
    assert_int_equal(attempts.count, OFFSET_MAP_ATTEMPTS_MAX);
    assert_non_null(attempts_find(&attempts, 100));
    assert_non_null(attempts_find(&attempts, 200));
    assert_null(attempts_find(&attempts, 200 + OFFSET_MAP_ATTEMPTS_MAX - 1));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_untried_records_run_in_a_group_of_bounded_size),
        cmocka_unit_test(test_the_last_attempt_is_alone),
        cmocka_unit_test(test_a_last_attempt_is_told_before_it_is_counted),
        cmocka_unit_test(test_an_attempt_counts_when_its_commit_is_confirmed),
        cmocka_unit_test(test_an_end_in_good_order_takes_back_what_had_begun),
        cmocka_unit_test(test_what_the_map_has_as_done_is_not_written),
        cmocka_unit_test(test_a_full_list_never_keeps_a_lower_offset_waiting),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
