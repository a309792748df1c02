/* pool: every task runs once, tasks may submit themselves again, close waits for what is queued. */
#include "pipeline/pool.h"

#include <stdatomic.h>

#include "tests/support/cmocka.h"

enum { TASKS = 5000 };

struct counter {
    struct task task;
    struct pool *pool;
    _Atomic int runs;
    int runs_wanted;
};

static void run_counter(struct task *task)
{
    struct counter *counter = (struct counter *)task; // its first member
    if (atomic_fetch_add(&counter->runs, 1) + 1 < counter->runs_wanted) {
        pool_submit(counter->pool, task);
    }
}

static void test_each_task_runs_as_often_as_submitted(void **state)
{
    (void)state;
    static struct counter counters[TASKS];
    struct error error = {0};
    struct pool *pool = NULL;
    assert_true(pool_open(3, &pool, &error));
    for (int i = 0; i < TASKS; i++) {
        counters[i] = (struct counter){{run_counter, NULL}, pool, 0, 1 + i % 3};
        pool_submit(pool, &counters[i].task);
    }
    pool_close(pool);
    for (int i = 0; i < TASKS; i++) {
        assert_int_equal(counters[i].runs, 1 + i % 3);
    }
}

static void test_refuses_a_senseless_number_of_threads(void **state)
{
    (void)state;
    struct error error = {0};
    struct pool *pool = NULL;
    assert_false(pool_open(0, &pool, &error));
    assert_int_equal(error.kind, ERROR_CONFIG);
    assert_false(pool_open(1000, &pool, &error));
    pool_close(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_task_runs_as_often_as_submitted),
        cmocka_unit_test(test_refuses_a_senseless_number_of_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
