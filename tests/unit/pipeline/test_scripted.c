/* scripted: answers come back once each, after the latency, and some fail when told to. */
#include "pipeline/scripted.h"

#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "pipeline/clock.h"
#include "tests/support/cmocka.h"

static const char body[] =
    "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"hello\"}]}";

static struct job *make_job_of(struct generator *generator, int64_t offset, const char *text)
{
    struct error error = {0};
    struct job *job = job_open(1 << 20);
    job->source = (struct source){bytes_of("t"), 0, offset};
    job->id = bytes_of("0123");
    job->calls = arena_alloc(job->arena, sizeof *job->calls);
    job->calls_count = 1;
    job->calls->job = job;
    assert_true(openai_request_parse(ENDPOINT_CHAT, bytes_of(text), job->arena,
                                     &job->calls->request, &error));
    assert_true(generator->ops->prepare(generator, job->calls, &error));
    return job;
}

static struct job *make_job(struct generator *generator, int64_t offset)
{
    return make_job_of(generator, offset, body);
}

static size_t poll_until(struct generator *generator, struct call **calls, size_t wanted)
{
    size_t count = 0;
    for (int i = 0; i < 5000 && count < wanted; i++) {
        count += generator->ops->poll(generator, calls + count, wanted - count);
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    }
    return count;
}

static void test_answers_every_call_once_after_its_latency(void **state)
{
    (void)state;
    struct error error = {0};
    struct generator *generator = NULL;
    struct scripted_options options = {.latency_ms = 30, .text = "done", .calls_max = 4};
    assert_true(scripted_open(&options, &generator, &error));
    struct call *calls[4];
    double start_ms = clock_monotonic_ms();
    for (int i = 0; i < 4; i++) {
        assert_true(generator->ops->submit(generator, make_job(generator, i)->calls));
    }
    struct job *surplus = make_job(generator, 4);
    assert_false(generator->ops->submit(generator, surplus->calls));
    assert_int_equal(poll_until(generator, calls, 4), 4);
    assert_true(clock_monotonic_ms() - start_ms >= 30);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(calls[i]->job->source.offset, i);
        assert_int_equal(calls[i]->answer.status_code, 200);
        assert_non_null(strstr(calls[i]->answer.body.data, "\"done\""));
        job_close(calls[i]->job);
    }
    job_close(surplus);
    generator->ops->close(generator);
}

static void test_fails_each_nth_call(void **state)
{
    (void)state;
    struct error error = {0};
    struct generator *generator = NULL;
    struct scripted_options options = {.calls_max = 16, .fail_every = 3};
    assert_true(scripted_open(&options, &generator, &error));
    struct call *calls[9];
    for (int i = 0; i < 9; i++) {
        assert_true(generator->ops->submit(generator, make_job(generator, i)->calls));
    }
    assert_int_equal(poll_until(generator, calls, 9), 9);
    for (int i = 0; i < 9; i++) {
        assert_int_equal(calls[i]->answer.error.kind, i % 3 == 2 ? ERROR_INTERNAL : ERROR_NONE);
        job_close(calls[i]->job);
    }
    generator->ops->close(generator);
}

static void test_ends_the_process_when_a_request_asks_for_it(void **state)
{
    (void)state;
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        struct error error = {0};
        struct generator *generator = NULL;
        struct scripted_options options = {.calls_max = 4};
        struct call *call;
        if (scripted_open(&options, &generator, &error)) {
            struct job *job = make_job_of(generator, 0,
                                          "{\"model\":\"m\",\"stop\":\"" SCRIPTED_ABORT "\","
                                          "\"messages\":[{\"role\":\"user\",\"content\":\"a\"}]}");
            (void)generator->ops->submit(generator, job->calls);
            (void)poll_until(generator, &call, 1);
        }
        _exit(0);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_answers_every_call_once_after_its_latency),
        cmocka_unit_test(test_fails_each_nth_call),
        cmocka_unit_test(test_ends_the_process_when_a_request_asks_for_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
