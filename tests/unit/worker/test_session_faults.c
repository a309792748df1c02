/* session: what becomes of records when the back end under the local engine fails. */
#include "worker/session.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/cmocka.h"
#include "tests/support/faulty_backend.h"
#include "tests/support/session_scene.h"

enum { RECORDS = 12, CULPRIT = 5, POISON = 1021, BODY_BYTES = 400, ATTEMPTS_MAX = 2 };

struct fixture {
    struct session_scene scene;
    enum job_outcome outcome[RECORDS];
    int status[RECORDS];
    int attempt[RECORDS];
    int outcomes_count;
    int fatal_count;
    struct error fatal;
    char bodies[RECORDS][BODY_BYTES];
};

static void on_outcome(void *context, struct job *job)
{
    struct fixture *fixture = context;
    int64_t i = job->source.offset;
    assert_int_equal(fixture->outcome[i], OUTCOME_NONE); // once each
    fixture->outcomes_count++;
    fixture->outcome[i] = job->outcome;
    fixture->status[i] = job->response.status_code;
    fixture->attempt[i] = job->attempt;
    session_release(fixture->scene.session, job);
}

static void on_room(void *context)
{
    (void)context;
}

static void on_fatal(void *context, const struct error *error)
{
    struct fixture *fixture = context;
    fixture->fatal_count++;
    fixture->fatal = *error;
}

static struct fixture *open_fixture(void)
{
    static const char *const sets[] = {
        "models=[{name: m, path: " SOURCE_DIR "/deploy/demo/scribe}]", "pool.threads=2",
        "http.port=0", "attempts.max=2", "engine.kv_cache_bytes=67108864"};
    struct fixture *fixture = calloc(1, sizeof *fixture);
    struct session_end end = {on_outcome, on_room, on_fatal, fixture};
    assert_non_null(fixture);
    session_scene_open(&fixture->scene, sets, sizeof sets / sizeof sets[0], &end);
    return fixture;
}

static void close_fixture(struct fixture *fixture)
{
    session_scene_close(&fixture->scene);
    free(fixture);
}

static void take_record(struct fixture *fixture, int index)
{
    char *body = fixture->bodies[index];
    int last = index == CULPRIT ? POISON : 400 + index;
    (void)snprintf(body, BODY_BYTES,
                   "{\"model\":\"m\",\"prompt\":[%d,310,320,330,%d],\"max_tokens\":8,"
                   "\"temperature\":0,\"ignore_eos\":true}",
                   300 + index, last);
    struct job *job = session_job(fixture->scene.session, strlen(body));
    assert_non_null(job);
    job->source = (struct source){bytes_of("t"), 0, index};
    job->request.custom_id = bytes_of("id");
    job->request.url = bytes_of("/v1/completions");
    job->request.body = bytes_of(body);
    session_intake(fixture->scene.session, job);
}

static void run(struct fixture *fixture)
{
    for (int i = 0; i < RECORDS; i++) {
        take_record(fixture, i);
    }
    assert_int_equal(uv_run(&fixture->scene.loop, UV_RUN_DEFAULT), 0);
    assert_int_equal(fixture->outcomes_count, RECORDS);
}

static void test_a_record_that_fails_is_tried_again_and_then_put_aside_alone(void **state)
{
    (void)state;
    struct fixture *fixture = open_fixture();
    faulty_backend_set(&(struct fault){
        .operation = FAULTY_ATTENTION, .status = KERNEL_OUT_OF_MEMORY, .token = POISON});
    run(fixture);
    for (int i = 0; i < RECORDS; i++) {
        bool is_culprit = i == CULPRIT;
        assert_int_equal(fixture->outcome[i], is_culprit ? OUTCOME_DEAD_LETTER : OUTCOME_RESPONSE);
        assert_int_equal(fixture->attempt[i], is_culprit ? ATTEMPTS_MAX : 1);
        assert_int_equal(fixture->status[i], is_culprit ? 0 : 200);
    }
    assert_int_equal(fixture->fatal_count, 0);
    close_fixture(fixture);
}

static void test_a_record_that_fails_once_is_answered(void **state)
{
    (void)state;
    struct fixture *fixture = open_fixture();
    // As often as one attempt tries it: in company and alone.
    faulty_backend_set(&(struct fault){
        .operation = FAULTY_SAMPLE, .status = KERNEL_BAD_SHAPE, .token = POISON, .times = 2});
    run(fixture);
    for (int i = 0; i < RECORDS; i++) {
        assert_int_equal(fixture->outcome[i], OUTCOME_RESPONSE);
        assert_int_equal(fixture->status[i], 200);
    }
    close_fixture(fixture);
}

static void test_a_lost_device_stops_the_process_and_answers_nobody(void **state)
{
    (void)state;
    struct fixture *fixture = open_fixture();
    faulty_backend_set(&(struct fault){.operation = FAULTY_LINEAR,
                                       .status = KERNEL_DEVICE_LOST,
                                       .token = FAULTY_ANY_TOKEN,
                                       .calls_before = 3});
    run(fixture);
    for (int i = 0; i < RECORDS; i++) {
        assert_int_equal(fixture->outcome[i], OUTCOME_DROPPED);
    }
    assert_true(fixture->fatal_count > 0);
    assert_string_equal(fixture->fatal.code, "device_lost");
    assert_int_equal(error_fate(fixture->fatal.kind), FATE_STOP);
    close_fixture(fixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_record_that_fails_is_tried_again_and_then_put_aside_alone),
        cmocka_unit_test(test_a_record_that_fails_once_is_answered),
        cmocka_unit_test(test_a_lost_device_stops_the_process_and_answers_nobody),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
