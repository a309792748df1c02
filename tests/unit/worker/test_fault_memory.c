/* Every allocation of the delivery path fails, one after the other: a worker goes on, or stops with
 * a typed error and another one takes over. Nothing is lost, nothing is committed too early,
 * nothing leaks. */
#include "tests/support/fault_memory.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "pipeline/openai/parse_memory.h"
#include "schemas/base/error.h"
#include "tests/support/cmocka.h"
#include "tests/support/fault_scene.h"
#include "tests/support/seed.h"

enum {
    LIVES_MAX = 2000,
    STARVED_LIVES = 10, // in the short form; TEST_FAULTS says more
    STARVED_SKIP_MAX = 400,
    STARVED_COUNT_MAX = 40, // a worker that waits for memory asks ten times a second
};

/* Absent where there is no sanitizer. */
__attribute__((weak)) int __lsan_do_recoverable_leak_check(void);

static void check_leaks(void)
{
    if (__lsan_do_recoverable_leak_check != NULL && __lsan_do_recoverable_leak_check() != 0) {
        fault_memory_print();
        fail_msg("memory leaked");
    }
}

/* A CHECK that fails in a worker's thread: says which allocation it was. */
static void on_abort(int signal_number)
{
    (void)signal_number;
    fault_memory_print();
}

/* Workers, until one meets no new fault. Returns how many there were. */
static int sweep(bool is_exactly_once)
{
    int ends[LIFE_FAILED + 1] = {0};
    fault_memory_forget();
    fault_scene_reset(is_exactly_once);
    for (int lives = 1; lives < LIVES_MAX; lives++) {
        struct error error = {0};
        size_t before = fault_memory_failed();
        fault_memory_sweep();
        enum life_end end = fault_scene_live(&error);
        fault_memory_stop();
        ends[end]++;
        if (fault_memory_failed() == before) {
            assert_int_equal(end, LIFE_FINISHED);
            fault_scene_check_all(false);
            printf("%zu paths: %d lives, %d refused, %d failed\n", fault_memory_paths(), lives,
                   ends[LIFE_REFUSED], ends[LIFE_FAILED]);
            return lives;
        }
        if (end == LIFE_FINISHED) { // else the next one goes on with what it has left
            fault_scene_check_all(false);
            fault_scene_reset(is_exactly_once);
        }
    }
    fail_msg("the faults never ended");
    return 0;
}

static void test_each_allocation_fails_once_exactly_once(void **state)
{
    (void)state;
    assert_true(sweep(true) > 1);
    check_leaks();
}

static void test_each_allocation_fails_once_at_least_once(void **state)
{
    (void)state;
    assert_true(sweep(false) > 1);
    check_leaks();
}

static void test_memory_that_is_short_for_a_while_costs_no_record(void **state)
{
    (void)state;
    const char *given = getenv("TEST_FAULTS");
    int lives = given == NULL ? STARVED_LIVES : atoi(given);
    fault_memory_forget();
    for (int i = 0; i < lives; i++) {
        struct error error = {0};
        fault_scene_reset(i % 2 == 0);
        fault_memory_starve(random_below(STARVED_SKIP_MAX), random_below(STARVED_COUNT_MAX));
        enum life_end end = fault_scene_live(&error);
        fault_memory_stop();
        if (end != LIFE_FINISHED) {
            assert_int_equal(fault_scene_live(&error), LIFE_FINISHED);
        }
        fault_scene_check_all(false);
    }
    assert_true(fault_memory_failed() > 0);
    check_leaks();
}

static int open_all(void **state)
{
    (void)state;
    seed_random();
    (void)signal(SIGABRT, on_abort);
    parse_memory_watch(malloc); // which is this executable's, and can fail
    fault_scene_open();
    return 0;
}

static int close_all(void **state)
{
    (void)state;
    fault_scene_close();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_allocation_fails_once_exactly_once),
        cmocka_unit_test(test_each_allocation_fails_once_at_least_once),
        cmocka_unit_test(test_memory_that_is_short_for_a_while_costs_no_record),
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}
