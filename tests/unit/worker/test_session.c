/* session: from intake to outcome with the scripted generator: answers, refusals, deadlines,
 * cancellation, credits. */
#include "worker/session.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pipeline/clock.h"
#include "pipeline/comparison.h"
#include "tests/support/cmocka.h"
#include "tests/support/session_scene.h"

enum { OUTCOMES_MAX = 4096 };

struct fixture {
    struct session_scene scene;
    int outcomes;
    int rooms;
    enum job_outcome outcome[OUTCOMES_MAX]; // by offset
    int status[OUTCOMES_MAX];
    char code[OUTCOMES_MAX][32];
    enum comparison_class class[OUTCOMES_MAX];
};

static void on_outcome(void *context, struct job *job)
{
    struct fixture *fixture = context;
    fixture->outcomes++;
    int64_t i = job->source.offset;
    assert_int_equal(fixture->outcome[i], OUTCOME_NONE); // once each
    fixture->outcome[i] = job->outcome;
    fixture->status[i] = job->response.status_code;
    if (job->outcome == OUTCOME_COMPARISON) {
        fixture->class[i] = comparison_class(&job->comparison);
        assert_int_equal(job->comparison.source.offset, i);
    }
    const char *code = job->error.code == NULL ? "" : job->error.code;
    (void)snprintf(fixture->code[i], sizeof fixture->code[i], "%s", code);
    session_release(fixture->scene.session, job);
}

static void on_room(void *context)
{
    ((struct fixture *)context)->rooms++;
}

static void on_fatal(void *context, const struct error *error)
{
    (void)context;
    fail_msg("%s", error->message);
}

static struct fixture *open_fixture(const char *const *sets, size_t sets_count)
{
    static const char *const always[] = {"generator=scripted", "models=[{name: m, path: none}]",
                                         "pool.threads=2", "http.port=0"};
    const char *all[16];
    memcpy(all, always, sizeof always);
    for (size_t i = 0; i < sets_count; i++) {
        all[4 + i] = sets[i];
    }
    struct fixture *fixture = calloc(1, sizeof *fixture);
    struct session_end end = {on_outcome, on_room, on_fatal, fixture};
    session_scene_open(&fixture->scene, all, 4 + sets_count, &end);
    return fixture;
}

static void close_fixture(struct fixture *fixture)
{
    session_scene_close(&fixture->scene);
    free(fixture);
}

static const char valid[] =
    "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"hello\"}]}";

static struct job *make_job(struct fixture *fixture, int64_t offset, const char *body)
{
    struct job *job = session_job(fixture->scene.session, strlen(body));
    assert_non_null(job);
    assert_true(session_bytes(fixture->scene.session) >= strlen(body));
    job->source = (struct source){bytes_of("t"), 0, offset};
    job->request.custom_id = bytes_of("id");
    job->request.url = bytes_of("/v1/chat/completions");
    job->request.body = bytes_of(body);
    return job;
}

static void run(struct fixture *fixture)
{
    assert_int_equal(uv_run(&fixture->scene.loop, UV_RUN_DEFAULT), 0);
    assert_int_equal(session_jobs(fixture->scene.session), 0);
    assert_int_equal(session_bytes(fixture->scene.session), 0);
}

static void test_every_record_gets_one_answer(void **state)
{
    (void)state;
    struct fixture *fixture = open_fixture(NULL, 0);
    for (int i = 0; i < 1000; i++) {
        session_intake(fixture->scene.session, make_job(fixture, i, valid));
    }
    run(fixture);
    assert_int_equal(fixture->outcomes, 1000);
    for (int i = 0; i < 1000; i++) {
        assert_int_equal(fixture->outcome[i], OUTCOME_RESPONSE);
        assert_int_equal(fixture->status[i], 200);
    }
    close_fixture(fixture);
}

static void test_refusals_say_why_and_cost_nobody_else(void **state)
{
    (void)state;
    struct fixture *fixture = open_fixture(NULL, 0);
    static const char other[] =
        "{\"model\":\"x\",\"messages\":[{\"role\":\"user\",\"content\":\"hello\"}]}";
    struct job *unknown_url = make_job(fixture, 2, valid);
    unknown_url->request.url = bytes_of("/v1/images");
    struct job *already_invalid = make_job(fixture, 3, valid);
    error_set(&already_invalid->error, ERROR_INVALID, "invalid_value", "priority", "wrong");
    session_intake(fixture->scene.session, make_job(fixture, 0, "{\"model\":1}"));
    session_intake(fixture->scene.session, make_job(fixture, 1, other));
    session_intake(fixture->scene.session, unknown_url);
    session_intake(fixture->scene.session, already_invalid);
    session_intake(fixture->scene.session, make_job(fixture, 4, valid));
    run(fixture);
    const int statuses[] = {400, 404, 404, 400, 200};
    assert_memory_equal(fixture->status, statuses, sizeof statuses);
    assert_string_equal(fixture->code[1], "model_not_found");
    assert_string_equal(fixture->code[2], "unknown_url");
    assert_string_equal(fixture->code[3], "invalid_value");
    close_fixture(fixture);
}

static void test_a_passed_deadline_is_an_answer_before_and_during_the_work(void **state)
{
    (void)state;
    const char *sets[] = {"scripted.latency.ms=600"};
    struct fixture *fixture = open_fixture(sets, 1);
    struct job *early = make_job(fixture, 0, valid);
    early->request.has_deadline_ms = true;
    early->request.deadline_ms = 1000;
    struct job *in_time = make_job(fixture, 1, valid);
    in_time->request.has_deadline_ms = true;
    in_time->request.deadline_ms = clock_unix_ms() + 60000;
    session_intake(fixture->scene.session, early);
    session_intake(fixture->scene.session, in_time);
    run(fixture);
    assert_string_equal(fixture->code[0], "deadline_exceeded");
    assert_int_equal(fixture->status[0], 0);
    assert_int_equal(fixture->outcome[0], OUTCOME_RESPONSE);
    assert_int_equal(fixture->status[1], 200);
    close_fixture(fixture);
}

static bool is_odd(const struct job *job, void *context)
{
    (void)context;
    return job->source.offset % 2 == 1;
}

static void test_cancelled_jobs_are_dropped_and_others_go_on(void **state)
{
    (void)state;
    const char *sets[] = {"scripted.latency.ms=50"};
    struct fixture *fixture = open_fixture(sets, 1);
    for (int i = 0; i < 100; i++) {
        session_intake(fixture->scene.session, make_job(fixture, i, valid));
    }
    session_cancel(fixture->scene.session, is_odd, NULL, false);
    run(fixture);
    for (int i = 0; i < 100; i++) {
        assert_int_equal(fixture->outcome[i], i % 2 == 1 ? OUTCOME_DROPPED : OUTCOME_RESPONSE);
    }
    close_fixture(fixture);
}

static void test_a_cancelled_job_stays_so_when_waiting_ones_are_cancelled_later(void **state)
{
    (void)state;
    const char *sets[] = {"scripted.latency.ms=400"};
    struct fixture *fixture = open_fixture(sets, 1);
    for (int i = 0; i < 10; i++) {
        session_intake(fixture->scene.session, make_job(fixture, i, valid));
    }
    double end_ms = clock_monotonic_ms() + 100; // the generator has them by then
    while (clock_monotonic_ms() < end_ms) {
        (void)uv_run(&fixture->scene.loop, UV_RUN_NOWAIT);
    }
    session_cancel(fixture->scene.session, is_odd, NULL, false);
    session_cancel(fixture->scene.session, is_odd, NULL, true);
    run(fixture);
    for (int i = 0; i < 10; i++) {
        assert_int_equal(fixture->outcome[i], i % 2 == 1 ? OUTCOME_DROPPED : OUTCOME_RESPONSE);
    }
    close_fixture(fixture);
}

static void test_credits_bound_what_is_inside_and_room_is_announced(void **state)
{
    (void)state;
    const char *sets[] = {"intake.records.max=8"};
    struct fixture *fixture = open_fixture(sets, 1);
    int count = 0;
    while (session_has_room(fixture->scene.session, sizeof valid)) {
        session_intake(fixture->scene.session, make_job(fixture, count++, valid));
    }
    assert_int_equal(count, 8);
    assert_int_equal(fixture->rooms, 0);
    run(fixture);
    assert_int_equal(fixture->rooms, 1);
    assert_true(session_has_room(fixture->scene.session, sizeof valid));
    close_fixture(fixture);
}

static void test_a_single_record_larger_than_the_credits_still_fits(void **state)
{
    (void)state;
    const char *sets[] = {"intake.bytes.max=1MiB", "record.bytes.max=1MiB"};
    struct fixture *fixture = open_fixture(sets, 2);
    assert_true(session_has_room(fixture->scene.session, 1 << 20));
    session_intake(fixture->scene.session, make_job(fixture, 0, valid));
    assert_false(session_has_room(fixture->scene.session, 1 << 20));
    run(fixture);
    close_fixture(fixture);
}

static void test_closing_with_work_inside_frees_everything(void **state)
{
    (void)state;
    const char *sets[] = {"scripted.latency.ms=50"};
    struct fixture *fixture = open_fixture(sets, 1);
    for (int i = 0; i < 50; i++) {
        session_intake(fixture->scene.session, make_job(fixture, i, valid));
    }
    close_fixture(fixture);
}

static void test_compare_makes_a_comparison_of_whatever_the_candidate_does(void **state)
{
    (void)state;
    static const char *const sets[] = {"mode=compare"};
    static const struct answer incumbent = {.status_code = 200};
    static const char *const bodies[] = {
        valid,
        "{\"model\":\"m\",\"stream\":true,\"stream_options\":{\"include_usage\":true},"
        "\"messages\":[{\"role\":\"user\",\"content\":\"hello\"}]}",
        "{\"model\":\"m\",\"messages\":[],\"tea\":1}",
        "{\"model\":\"gpt-9\",\"messages\":[{\"role\":\"user\",\"content\":\"hello\"}]}",
    };
    struct fixture *fixture = open_fixture(sets, 1);
    for (int i = 0; i < 4; i++) {
        struct job *job = make_job(fixture, i, bodies[i]);
        job->request.incumbent = &incumbent;
        job->request.has_deadline_ms = true; // long ago: it was the incumbent's
        session_intake(fixture->scene.session, job);
    }
    run(fixture);
    const enum comparison_class classes[] = {COMPARISON_ANSWERED, COMPARISON_ANSWERED,
                                             COMPARISON_UNSUPPORTED, COMPARISON_UNSUPPORTED};
    for (int i = 0; i < 4; i++) {
        assert_int_equal(fixture->outcome[i], OUTCOME_COMPARISON);
        assert_int_equal(fixture->class[i], classes[i]);
    }
    close_fixture(fixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_compare_makes_a_comparison_of_whatever_the_candidate_does),
        cmocka_unit_test(test_every_record_gets_one_answer),
        cmocka_unit_test(test_refusals_say_why_and_cost_nobody_else),
        cmocka_unit_test(test_a_passed_deadline_is_an_answer_before_and_during_the_work),
        cmocka_unit_test(test_cancelled_jobs_are_dropped_and_others_go_on),
        cmocka_unit_test(test_a_cancelled_job_stays_so_when_waiting_ones_are_cancelled_later),
        cmocka_unit_test(test_credits_bound_what_is_inside_and_room_is_announced),
        cmocka_unit_test(test_a_single_record_larger_than_the_credits_still_fits),
        cmocka_unit_test(test_closing_with_work_inside_frees_everything),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
