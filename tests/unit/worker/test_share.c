/* share: who may take how much, whoever came first. */
#include "tests/support/cmocka.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "schemas/base/check.h"
#include "worker/share.h"

enum { ROOM = 4096, MEMBERS_MAX = 64 };

static struct share share;
static struct share_member members[MEMBERS_MAX];

static int open_share(void **state)
{
    (void)state;
    share_init(&share, ROOM);
    memset(members, 0, sizeof members);
    return 0;
}

/* A topic of `count` partitions, the first of which is members[first]. */
static void join(size_t first, size_t count, size_t topic)
{
    for (size_t i = first; i < first + count; i++) {
        share_join(&share, &members[i], topic);
    }
}

/* The members take in turn, one at a time, until none of them may. */
static void flood(size_t first, size_t count)
{
    for (bool has_taken = true; has_taken;) {
        has_taken = false;
        for (size_t i = first; i < first + count; i++) {
            if (share_allows(&members[i], 1)) {
                share_take(&members[i], 1);
                has_taken = true;
            }
        }
    }
}

static void test_one_alone_may_take_everything(void **state)
{
    (void)state;
    join(0, 1, 0);
    flood(0, 1);
    assert_int_equal(share.used, ROOM);
}

static void test_a_flooded_partition_leaves_a_quarter(void **state)
{
    (void)state;
    join(0, 3, 0);
    flood(0, 1);
    assert_int_equal(share.used, ROOM * 3 / 4);
    flood(0, 3);
    for (size_t i = 0; i < 3; i++) { // the first has more than its share until it gives back
        assert_true(members[i].used >= ROOM / 16);
    }
}

static void test_a_flooded_topic_leaves_a_quarter_however_many_partitions_it_has(void **state)
{
    (void)state;
    for (size_t count = 1; count < MEMBERS_MAX; count++) {
        open_share(NULL);
        join(0, count, 0);
        join(count, 1, 1);
        flood(0, count);
        assert_true(share.used > ROOM / 2);
        assert_true(share.used <= ROOM * 3 / 4 + count); // the first of each is always allowed
        assert_true(share_left(&members[count]) >= (ROOM / 4 - count) * 3 / 4);
        size_t least = ROOM;
        size_t most = 0;
        for (size_t i = 0; i < count; i++) {
            least = members[i].used < least ? members[i].used : least;
            most = members[i].used > most ? members[i].used : most;
        }
        assert_true(most - least <= 1);
    }
}

static void test_many_flooded_topics_leave_room_for_a_quiet_one(void **state)
{
    (void)state;
    enum { FLOODED = 15 };
    for (size_t topic = 0; topic <= FLOODED; topic++) {
        join(topic, 1, topic);
    }
    flood(0, FLOODED);
    assert_true(share.room - share.used >= ROOM / (SHARE_FACTOR * FLOODED + 1));
    assert_true(share_left(&members[FLOODED]) >= 60);
}

static void test_parts_become_equal_when_a_second_topic_is_flooded_too(void **state)
{
    (void)state;
    join(0, 1, 0);
    join(1, 1, 1);
    flood(0, 1);
    for (int i = 0; i < ROOM; i++) { // each answer makes room for whoever may take it
        share_give(&members[0], 1);
        flood(0, 2);
    }
    assert_true(abs((int)members[0].used - (int)members[1].used) <= 4);
    assert_true(share.used > ROOM * 4 / 5);
}

static void test_the_first_is_always_allowed(void **state)
{
    (void)state;
    join(0, 2, 0);
    share_take(&members[0], ROOM);
    assert_true(share_allows(&members[1], ROOM));
    share_take(&members[1], 1);
    assert_false(share_allows(&members[1], 1));
}

static void test_a_paused_partition_begins_again_when_it_may_take_a_good_part(void **state)
{
    (void)state;
    join(0, 1, 0);
    join(1, 1, 1);
    flood(0, 1);
    assert_false(share_is_ample(&members[0]));
    while (!share_is_ample(&members[0])) {
        share_give(&members[0], 1);
    }
    size_t left = share_left(&members[0]);
    assert_true(left >= ROOM / 8 && left <= ROOM / 3);
}

static void test_what_has_left_counts_no_more_but_may_be_given_back(void **state)
{
    (void)state;
    join(0, 1, 0);
    join(1, 1, 1);
    share_take(&members[0], 100);
    share_take(&members[1], 10);
    share_leave(&members[0]);
    assert_int_equal(share.used, 10);
    assert_int_equal(share.topics_count, 1);
    assert_int_equal(share_left(&members[1]), ROOM - 10);
    share_give(&members[0], 100);
    assert_int_equal(share.used, 10);
}

/* Whatever is taken, given back, joined and left: the sums are those of the members, and who takes
 * only what is allowed never makes the others' exceed the room. */
static void test_sums_hold_in_any_order(void **state)
{
    (void)state;
    const char *given = getenv("TEST_SEED");
    unsigned seed = given == NULL ? (unsigned)time(NULL) : (unsigned)strtoul(given, NULL, 10);
    print_message("TEST_SEED=%u\n", seed);
    srand(seed);
    for (int step = 0; step < 100000; step++) {
        struct share_member *member = &members[rand() % MEMBERS_MAX];
        size_t amount = 1 + (size_t)rand() % 200;
        if (member->share == NULL && member->used == 0) {
            share_join(&share, member, (size_t)rand() % 5);
        } else if (rand() % 50 == 0) {
            share_leave(member);
        } else if (rand() % 2 == 0) {
            share_give(member, member->used < amount ? member->used : amount);
        } else if (share_left(member) >= amount) {
            share_take(member, amount);
        }
        size_t used = 0;
        size_t topics[5] = {0};
        for (size_t i = 0; i < MEMBERS_MAX; i++) {
            if (members[i].share != NULL) {
                used += members[i].used;
                topics[members[i].topic] += members[i].used;
            }
        }
        assert_int_equal(share.used, used);
        assert_true(used <= ROOM);
        for (size_t i = 0; i < 5; i++) {
            assert_int_equal(share.topics[i].used, topics[i]);
        }
    }
}

#define TEST(function) cmocka_unit_test_setup(function, open_share)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_one_alone_may_take_everything),
        TEST(test_a_flooded_partition_leaves_a_quarter),
        TEST(test_a_flooded_topic_leaves_a_quarter_however_many_partitions_it_has),
        TEST(test_many_flooded_topics_leave_room_for_a_quiet_one),
        TEST(test_parts_become_equal_when_a_second_topic_is_flooded_too),
        TEST(test_the_first_is_always_allowed),
        TEST(test_a_paused_partition_begins_again_when_it_may_take_a_good_part),
        TEST(test_what_has_left_counts_no_more_but_may_be_given_back),
        TEST(test_sums_hold_in_any_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
