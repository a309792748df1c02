/* job: lives in its arena, and its id says where it came from. */
#include "pipeline/job.h"

#include "tests/support/cmocka.h"

static struct job *job_at(const char *topic, int32_t partition, int64_t offset)
{
    struct job *job = job_open(1 << 16);
    assert_non_null(job);
    job->source = (struct source){bytes_of(topic), partition, offset};
    assert_true(job_identify(job));
    return job;
}

static void test_id_is_the_same_at_each_execution_and_differs_by_place(void **state)
{
    (void)state;
    struct job *first = job_at("requests", 1, 70);
    struct job *again = job_at("requests", 1, 70);
    struct job *others[] = {job_at("requests", 1, 71), job_at("requests", 2, 70),
                            job_at("request", 1, 70), job_at("requests", 70, 1)};
    assert_int_equal(first->id.size, 32);
    assert_true(bytes_equal(first->id, again->id));
    assert_int_equal(first->seed, again->seed);
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        assert_false(bytes_equal(first->id, others[i]->id));
        assert_int_not_equal(first->seed, others[i]->seed);
        job_close(others[i]);
    }
    job_close(first);
    job_close(again);
}

static void test_a_job_without_memory_is_refused(void **state)
{
    (void)state;
    assert_null(job_open(16));
    struct job *job = job_open(1 << 16);
    while (arena_alloc(job->arena, 16) != NULL) {
    }
    assert_false(job_identify(job));
    job_close(job);
    job_close(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_id_is_the_same_at_each_execution_and_differs_by_place),
        cmocka_unit_test(test_a_job_without_memory_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
