/* mailbox: order, bound, wakes, many posters. */
#include "pipeline/mailbox.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

#include "schemas/base/check.h"
#include "tests/support/cmocka.h"

enum { POSTERS = 4, POSTS = 20000 };

static void count_wake(void *context)
{
    atomic_fetch_add((_Atomic int *)context, 1);
}

static void test_takes_in_order_and_refuses_when_full(void **state)
{
    (void)state;
    int values[5] = {0, 1, 2, 3, 4};
    void *taken[5];
    struct mailbox *mailbox = mailbox_open(4, NULL, NULL);
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 4; i++) {
            assert_true(mailbox_post(mailbox, &values[i]));
        }
        assert_false(mailbox_post(mailbox, &values[4]));
        assert_int_equal(mailbox_take(mailbox, taken, 3), 3);
        assert_ptr_equal(taken[2], &values[2]);
        assert_int_equal(mailbox_take(mailbox, taken, 5), 1);
        assert_ptr_equal(taken[0], &values[3]);
        assert_int_equal(mailbox_take(mailbox, taken, 5), 0);
    }
    mailbox_close(mailbox);
}

static void test_wakes_only_when_it_was_empty(void **state)
{
    (void)state;
    _Atomic int wakes = 0;
    int value = 0;
    void *taken[2];
    struct mailbox *mailbox = mailbox_open(4, count_wake, &wakes);
    mailbox_post(mailbox, &value);
    mailbox_post(mailbox, &value);
    assert_int_equal(wakes, 1);
    mailbox_take(mailbox, taken, 2);
    mailbox_post(mailbox, &value);
    assert_int_equal(wakes, 2);
    mailbox_close(mailbox);
}

static void *post_many(void *context)
{
    struct mailbox *mailbox = context;
    static char place[POSTS];
    for (int i = 0; i < POSTS;) {
        i += mailbox_post(mailbox, &place[i]) ? 1 : 0;
    }
    return NULL;
}

static void test_nothing_is_lost_between_threads(void **state)
{
    (void)state;
    struct mailbox *mailbox = mailbox_open(64, NULL, NULL);
    pthread_t threads[POSTERS];
    for (int i = 0; i < POSTERS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, post_many, mailbox), 0);
    }
    void *taken[64];
    size_t total = 0;
    while (total < POSTERS * POSTS) {
        total += mailbox_take(mailbox, taken, 64);
    }
    for (int i = 0; i < POSTERS; i++) {
        pthread_join(threads[i], NULL);
    }
    assert_int_equal(mailbox_take(mailbox, taken, 64), 0);
    mailbox_close(mailbox);
}

static _Atomic bool has_begun_waking;
static _Atomic bool may_end_waking;
static _Atomic bool has_woken;

static void wake_slowly(void *context)
{
    (void)context;
    has_begun_waking = true;
    while (!may_end_waking) {
        sched_yield();
    }
    has_woken = true;
}

static void *post_one(void *context)
{
    CHECK(mailbox_post(context, context));
    return NULL;
}

static void *allow_end(void *context)
{
    (void)context;
    may_end_waking = true;
    return NULL;
}

static void test_who_has_taken_an_item_may_close(void **state)
{
    (void)state;
    struct mailbox *mailbox = mailbox_open(4, wake_slowly, NULL);
    pthread_t poster;
    pthread_t other;
    void *taken[1];
    assert_int_equal(pthread_create(&poster, NULL, post_one, mailbox), 0);
    while (!has_begun_waking) {
        sched_yield();
    }
    assert_int_equal(pthread_create(&other, NULL, allow_end, NULL), 0);
    assert_int_equal(mailbox_take(mailbox, taken, 1), 1);
    assert_true(has_woken); // so the poster will not touch the mailbox again
    mailbox_close(mailbox);
    pthread_join(other, NULL);
    pthread_join(poster, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_takes_in_order_and_refuses_when_full),
        cmocka_unit_test(test_wakes_only_when_it_was_empty),
        cmocka_unit_test(test_nothing_is_lost_between_threads),
        cmocka_unit_test(test_who_has_taken_an_item_may_close),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
