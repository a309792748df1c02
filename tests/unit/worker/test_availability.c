/* availability: what counts as available, one look a second. */
#include "worker/availability.h"

#include "tests/support/cmocka.h"

enum { SECOND_MS = 1000, START_MS = 5000 };

static struct availability availability;
static uint64_t now_ms;

static int setup(void **state)
{
    (void)state;
    now_ms = START_MS;
    availability_init(&availability, now_ms);
    return 0;
}

static void look(int seconds, bool is_ready, bool has_work, uint64_t progress)
{
    for (int i = 0; i < seconds; i++) {
        now_ms += SECOND_MS;
        availability_look(&availability, now_ms, is_ready, has_work, progress);
    }
}

static void assert_seconds(uint64_t up, uint64_t available)
{
    assert_int_equal(availability.up_ms, up * SECOND_MS);
    assert_int_equal(availability.available_ms, available * SECOND_MS);
}

static void test_a_start_is_not_available(void **state)
{
    (void)state;
    look(4, false, false, 0);
    assert_seconds(4, 0);
    look(1, true, false, 0); // became ready at some time within this second
    assert_seconds(5, 0);
    look(3, true, false, 0);
    assert_seconds(8, 3);
}

static void test_idle_is_available_for_as_long_as_it_lasts(void **state)
{
    (void)state;
    look(101, true, false, 7);
    assert_seconds(101, 100);
}

static void test_work_that_stands_still_is_not_available(void **state)
{
    (void)state;
    look(1, true, false, 0);
    look(AVAILABILITY_STALL_MS / SECOND_MS, true, true, 0);
    assert_seconds(11, 10);
    look(5, true, true, 0);
    assert_seconds(16, 10);
    look(2, true, true, 1); // it comes on
    assert_seconds(18, 11);
}

static void test_slow_work_that_comes_on_is_available(void **state)
{
    (void)state;
    look(1, true, false, 0);
    for (uint64_t i = 1; i <= 20; i++) {
        look(9, true, true, i);
    }
    assert_seconds(181, 180);
}

static void test_work_after_a_long_idle_time_has_its_time(void **state)
{
    (void)state;
    look(100, true, false, 0);
    look(5, true, true, 0);
    assert_seconds(105, 104);
}

static void test_a_worker_that_is_not_ready_is_not_available_even_if_it_comes_on(void **state)
{
    (void)state;
    for (uint64_t i = 1; i <= 5; i++) {
        look(1, false, true, i);
    }
    assert_seconds(5, 0);
}

static void test_a_process_that_stood_still_was_not_available(void **state)
{
    (void)state;
    look(2, true, false, 0);
    now_ms += 60 * SECOND_MS; // SIGSTOP
    look(1, true, false, 0);
    assert_seconds(63, 1);
    look(1, true, false, 0);
    assert_seconds(64, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_a_start_is_not_available, setup),
        cmocka_unit_test_setup(test_idle_is_available_for_as_long_as_it_lasts, setup),
        cmocka_unit_test_setup(test_work_that_stands_still_is_not_available, setup),
        cmocka_unit_test_setup(test_slow_work_that_comes_on_is_available, setup),
        cmocka_unit_test_setup(test_work_after_a_long_idle_time_has_its_time, setup),
        cmocka_unit_test_setup(test_a_worker_that_is_not_ready_is_not_available_even_if_it_comes_on,
                               setup),
        cmocka_unit_test_setup(test_a_process_that_stood_still_was_not_available, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
