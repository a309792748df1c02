/* remote_queue: arrival and priority, and who may pass whom. */
#include "worker/remote_queue.h"

#include <stdio.h>
#include <stdlib.h>

#include "tests/support/cmocka.h"
#include "tests/support/seed.h"

enum { MANY = 300 };

static struct remote_queue_entry entry(const char *prompt, double arrived_ms)
{
    return (struct remote_queue_entry){.prompt = bytes_of(prompt), .arrived_ms = arrived_ms};
}

static void expect(struct remote_queue *queue, const struct remote_queue_entry *wanted)
{
    assert_ptr_equal(remote_queue_take(queue), wanted);
}

static void test_prompts_that_begin_alike_go_together(void **state)
{
    (void)state;
    struct remote_queue_entry entries[] = {
        entry("aaa: 1", 0), entry("bbb: 1", 1), entry("aaa: 2", 2),
        entry("bbb: 2", 3), entry("aaa: 3", 4),
    };
    struct remote_queue queue;
    assert_true(remote_queue_open(&queue, 8));
    for (int i = 0; i < 5; i++) {
        remote_queue_add(&queue, &entries[i]);
    }
    static const int order[] = {0, 2, 4, 1, 3};
    for (int i = 0; i < 5; i++) {
        expect(&queue, &entries[order[i]]);
    }
    assert_int_equal(queue.count, 0);
    remote_queue_close(&queue);
}

static void test_nobody_is_passed_by_what_came_a_minute_later(void **state)
{
    (void)state;
    struct remote_queue_entry entries[] = {entry("aaa: 1", 0), entry("bbb", 1),
                                           entry("aaa: 2", 60002)};
    struct remote_queue queue;
    assert_true(remote_queue_open(&queue, 3));
    for (int i = 0; i < 3; i++) {
        remote_queue_add(&queue, &entries[i]);
    }
    for (int i = 0; i < 3; i++) {
        expect(&queue, &entries[i]);
    }
    remote_queue_close(&queue);
}

static void test_deadlines_and_better_priorities_are_not_passed(void **state)
{
    (void)state;
    struct remote_queue_entry entries[] = {entry("aaa: 1", 0), entry("bbb", 1), entry("aaa: 2", 2),
                                           entry("ccc", 3)};
    entries[1].has_deadline = true;
    entries[3].priority = -1;
    struct remote_queue queue;
    assert_true(remote_queue_open(&queue, 4));
    for (int i = 0; i < 4; i++) {
        remote_queue_add(&queue, &entries[i]);
    }
    static const int order[] = {3, 0, 1, 2};
    for (int i = 0; i < 4; i++) {
        expect(&queue, &entries[order[i]]);
    }
    remote_queue_close(&queue);
}

static void test_everything_comes_out_once_in_any_mix(void **state)
{
    (void)state;
    seed_random();
    static struct remote_queue_entry entries[MANY];
    static char prompts[MANY][16];
    int taken[MANY] = {0};
    struct remote_queue queue;
    assert_true(remote_queue_open(&queue, MANY));
    for (int i = 0; i < MANY; i++) {
        (void)snprintf(prompts[i], sizeof prompts[i], "p%zu", random_below(20));
        entries[i] = entry(prompts[i], i);
        entries[i].priority = (int)random_below(3);
        remote_queue_add(&queue, &entries[i]);
    }
    for (int i = 0; i < MANY; i += 7) {
        remote_queue_remove(&queue, &entries[i]);
        taken[i]++;
    }
    while (queue.count > 0) {
        taken[remote_queue_take(&queue) - entries]++;
    }
    for (int i = 0; i < MANY; i++) {
        assert_int_equal(taken[i], 1);
    }
    assert_null(queue.first);
    assert_null(queue.last);
    remote_queue_close(&queue);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_prompts_that_begin_alike_go_together),
        cmocka_unit_test(test_nobody_is_passed_by_what_came_a_minute_later),
        cmocka_unit_test(test_deadlines_and_better_priorities_are_not_passed),
        cmocka_unit_test(test_everything_comes_out_once_in_any_mix),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
