/* job: lives in its arena. */
#include "pipeline/job.h"

#include "tests/support/cmocka.h"

static void test_a_job_lives_in_its_arena_and_starts_at_its_first_attempt(void **state)
{
    (void)state;
    struct job *job = job_open(1 << 16);
    assert_int_equal(job->attempt, 1);
    assert_int_equal(job->outcome, OUTCOME_NONE);
    assert_true(arena_bytes(job->arena) >= sizeof *job);
    job_close(job);
}

static void test_its_arena_is_bounded(void **state)
{
    (void)state;
    assert_null(job_open(16));
    struct job *job = job_open(1 << 16);
    assert_null(arena_alloc(job->arena, 1 << 16));
    job_close(job);
    job_close(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_job_lives_in_its_arena_and_starts_at_its_first_attempt),
        cmocka_unit_test(test_its_arena_is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
