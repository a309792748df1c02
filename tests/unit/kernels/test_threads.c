/* Worker threads: every task once, whatever the count. */
#include "kernels/cpu/threads.h"

#include <stdatomic.h>
#include <stdint.h>
#include <string.h>

#include "tests/support/cmocka.h"

enum { TASKS = 500, WORTH_IT = 1 << 30 };

struct tally {
    int threads;
    atomic_int runs[TASKS];
    atomic_int strangers; // calls with a thread number out of range
};

static void count_task(void *context, int index, int thread)
{
    struct tally *tally = context;
    atomic_fetch_add(&tally->runs[index], 1);
    if (thread < 0 || thread >= tally->threads) {
        atomic_fetch_add(&tally->strangers, 1);
    }
}

static void test_every_task_runs_once(void **state)
{
    (void)state;
    for (int threads = 1; threads <= 5; threads++) {
        struct threads *pool = threads_open(threads);
        assert_non_null(pool);
        assert_int_equal(threads_count(pool), threads);
        for (int tasks = 0; tasks <= TASKS; tasks += tasks < 4 ? 1 : 31) {
            static struct tally tally;
            memset(&tally, 0, sizeof(tally));
            tally.threads = threads;
            threads_run(pool, count_task, &tally, tasks, WORTH_IT);
            for (int i = 0; i < TASKS; i++) {
                assert_int_equal(tally.runs[i], i < tasks ? 1 : 0);
            }
            assert_int_equal(tally.strangers, 0);
        }
        threads_close(pool);
    }
}

static void fill_scratch(void *context, int index, int thread)
{
    memset(threads_scratch(context, thread), index, 1000);
}

static void test_scratch_is_each_threads_own_and_grows(void **state)
{
    (void)state;
    struct threads *pool = threads_open(3);
    assert_non_null(pool);
    assert_true(threads_reserve(pool, 10));
    assert_true(threads_reserve(pool, 1000));
    for (int i = 0; i < 3; i++) {
        assert_int_equal((uintptr_t)threads_scratch(pool, i) % 64, 0);
        for (int j = 0; j < i; j++) {
            assert_ptr_not_equal(threads_scratch(pool, i), threads_scratch(pool, j));
        }
    }
    threads_run(pool, fill_scratch, pool, 64, WORTH_IT);
    threads_close(pool);
}

static void test_many_short_jobs_follow_each_other(void **state)
{
    (void)state;
    static struct tally tally;
    struct threads *pool = threads_open(4);
    assert_non_null(pool);
    tally.threads = 4;
    for (int i = 0; i < 3000; i++) {
        threads_run(pool, count_task, &tally, 2, WORTH_IT);
    }
    assert_int_equal(tally.runs[0], 3000);
    assert_int_equal(tally.runs[1], 3000);
    threads_close(pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_task_runs_once),
        cmocka_unit_test(test_scratch_is_each_threads_own_and_grows),
        cmocka_unit_test(test_many_short_jobs_follow_each_other),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
