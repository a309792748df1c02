/* failure: each kind of error has one fate, and answers look like OpenAI's. */
#include "worker/failure.h"

#include <string.h>

#include "tests/support/cmocka.h"

static struct job *make_job(size_t arena_bytes)
{
    struct job *job = job_open(arena_bytes);
    assert_non_null(job);
    job->request.custom_id = bytes_of("id-1");
    job->source = (struct source){bytes_of("requests"), 2, 7};
    return job;
}

static void test_retries_until_the_last_attempt(void **state)
{
    (void)state;
    struct job *job = make_job(1 << 16);
    struct error error = {.kind = ERROR_INTERNAL};
    assert_int_equal(failure_fate(job, &error, 3), FATE_RETRY);
    job->attempt = 3;
    assert_int_equal(failure_fate(job, &error, 3), FATE_DEAD_LETTER);
    error.kind = ERROR_INVALID;
    assert_int_equal(failure_fate(job, &error, 3), FATE_ANSWER);
    job_close(job);
}

static void test_backoff_grows_and_is_bounded(void **state)
{
    (void)state;
    struct job *job = make_job(1 << 16);
    double before_ms = 0;
    for (job->attempt = 1; job->attempt < 6; job->attempt++) {
        double wait_ms = failure_backoff_ms(job);
        assert_true(wait_ms > before_ms);
        before_ms = wait_ms;
    }
    job->attempt = 1000;
    job->seed = UINT64_MAX;
    assert_true(failure_backoff_ms(job) <= 15000);
    job_close(job);
}

static void test_an_invalid_request_is_answered_with_openais_error_object(void **state)
{
    (void)state;
    struct job *job = make_job(1 << 16);
    error_set(&job->error, ERROR_INVALID, "invalid_value", "top_p",
              "top_p is 3, must be at most 1");
    failure_answer(job, &job->error);
    assert_int_equal(job->outcome, OUTCOME_RESPONSE);
    assert_int_equal(job->response.status_code, 400);
    assert_null(job->response.error);
    assert_string_equal(
        job->response.body.data,
        "{\"error\":{\"message\":\"top_p is 3, must be at most 1\",\"type\":"
        "\"invalid_request_error\",\"param\":\"top_p\",\"code\":\"invalid_value\"}}");
    assert_true(bytes_equal_text(job->response.custom_id, "id-1"));
    assert_int_equal(job->response.source.offset, 7);
    job_close(job);
}

static void test_what_is_not_http_like_has_no_response(void **state)
{
    (void)state;
    struct job *job = make_job(1 << 16);
    struct error error;
    error_set(&error, ERROR_DEADLINE, "deadline_exceeded", NULL, "too late");
    failure_answer(job, &error);
    assert_int_equal(job->outcome, OUTCOME_RESPONSE);
    assert_int_equal(job->response.status_code, 0);
    assert_null(job->response.body.data);
    assert_true(bytes_equal_text(job->response.error->code, "deadline_exceeded"));
    assert_true(bytes_equal_text(job->response.error->message, "too late"));
    job_close(job);
}

static void test_a_record_that_ended_the_worker_is_a_dead_letter_that_says_how_often(void **state)
{
    (void)state;
    struct job *job = make_job(1 << 16);
    failure_exhaust(job, 3);
    assert_int_equal(job->outcome, OUTCOME_DEAD_LETTER);
    assert_string_equal(job->error.code, "worker_ended");
    assert_non_null(strstr(job->error.message, "ended 3 times"));
    job_close(job);
}

static void test_without_memory_for_an_answer_it_is_a_dead_letter(void **state)
{
    (void)state;
    struct job *job = make_job(4096);
    while (arena_alloc(job->arena, 16) != NULL) {
    }
    error_set(&job->error, ERROR_INVALID, "invalid_value", NULL, "wrong");
    failure_answer(job, &job->error);
    assert_int_equal(job->outcome, OUTCOME_DEAD_LETTER);
    job_close(job);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_retries_until_the_last_attempt),
        cmocka_unit_test(test_backoff_grows_and_is_bounded),
        cmocka_unit_test(test_an_invalid_request_is_answered_with_openais_error_object),
        cmocka_unit_test(test_what_is_not_http_like_has_no_response),
        cmocka_unit_test(test_a_record_that_ended_the_worker_is_a_dead_letter_that_says_how_often),
        cmocka_unit_test(test_without_memory_for_an_answer_it_is_a_dead_letter),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
