/* remote: calls through a session to an HTTP server that misbehaves as endpoints do. */
#include "worker/remote.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pipeline/clock.h"
#include "tests/support/cmocka.h"
#include "tests/support/session_scene.h"
#include "tests/support/upstream.h"
#include "worker/answerers.h"
#include "worker/http_client.h"
#include "worker/metrics.h"
#include "worker/remote_internal.h"
#include "worker/remote_setup.h"
#include "worker/session.h"

#define JSON_OK "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
#define EVENTS_OK "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
#define ANSWER                                                                                     \
    "{\"id\":\"c\",\"object\":\"chat.completion\",\"model\":\"big-1\",\"system_fingerprint\":"     \
    "\"f\","                                                                                       \
    "\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":\"yes\"},"          \
    "\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":1000,\"completion_tokens\":100,"    \
    "\"prompt_tokens_details\":{\"cached_tokens\":200}}}"
#define CHUNK(delta, reason)                                                                       \
    "data: {\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"model\":\"big-1\",\"choices\":[{"  \
    "\"index\":0,\"delta\":" delta ",\"finish_reason\":" reason "}]}\n\n"

static char large[4096]; // filled by main

static const struct upstream_reply replies[] = {
    {"ok", JSON_OK, ANSWER, UPSTREAM_KEEP, 0},
    {"500", "HTTP/1.1 500 Oops\r\n", "{}", UPSTREAM_KEEP, 0},
    {"429", "HTTP/1.1 429 Slow down\r\nretry-after-ms: 300\r\n", "{}", UPSTREAM_KEEP, 0},
    {"404", "HTTP/1.1 404 No\r\n", "{\"error\":{\"message\":\"no\"}}", UPSTREAM_KEEP, 0},
    {"403", "HTTP/1.1 403 No\r\n", "<html>", UPSTREAM_KEEP, 0},
    {"307", "HTTP/1.1 307 There\r\nLocation: http://127.0.0.1:1/\r\n", "", UPSTREAM_KEEP, 0},
    {"broken", JSON_OK, "{\"choices\":[", UPSTREAM_KEEP, 0},
    {"empty", JSON_OK, "{\"object\":\"chat.completion\"}", UPSTREAM_KEEP, 0},
    {"close", JSON_OK "Content-Length: 1000\r\n", ANSWER, UPSTREAM_CLOSE, 0},
    {"reset", "", NULL, UPSTREAM_CLOSE, 0},
    {"garbage", "SSH-2.0-OpenSSH\r\n", NULL, UPSTREAM_CLOSE, 0},
    {"hang", "", NULL, UPSTREAM_HANG, 0},
    {"half", JSON_OK "Content-Length: 1000\r\n", "{\"choices\"", UPSTREAM_HANG, 0},
    {"slow", JSON_OK, ANSWER, UPSTREAM_KEEP, 100},
    {"stream", EVENTS_OK,
     CHUNK("{\"role\":\"assistant\",\"content\":\"\"}", "null")
         CHUNK("{\"content\":\"ye\"}", "null") CHUNK("{\"content\":\"s\"}", "null")
             CHUNK("{}", "\"stop\"") "data: [DONE]\n\n",
     UPSTREAM_KEEP, 50},
    {"cut", EVENTS_OK, CHUNK("{\"content\":\"ye\"}", "null"), UPSTREAM_KEEP, 0},
    {"large", JSON_OK, large, UPSTREAM_KEEP, 0},
    {NULL, NULL, NULL, UPSTREAM_KEEP, 0},
};

enum { OUTCOMES_MAX = 512 };

struct outcome {
    enum job_outcome kind;
    int status, attempt;
    char code[32], body[512], message[256], model[32];
    struct timing timing;
    double at_ms;
};

struct fixture {
    struct session_scene scene;
    int intakes, outcomes;
    struct outcome outcome[OUTCOMES_MAX]; // by offset
};

static void copy(char *out, size_t size, struct bytes text)
{
    (void)snprintf(out, size, "%.*s", (int)text.size, text.data == NULL ? "" : text.data);
}

static void on_outcome(void *context, struct job *job)
{
    struct fixture *fixture = context;
    struct outcome *outcome = &fixture->outcome[job->source.offset];
    assert_int_equal(outcome->kind, OUTCOME_NONE); // once each
    fixture->outcomes++;
    outcome->kind = job->outcome;
    outcome->status = job->response.status_code;
    outcome->attempt = job->response.attempt;
    outcome->at_ms = clock_monotonic_ms();
    copy(outcome->code, sizeof outcome->code, bytes_of(job->error.code));
    copy(outcome->message, sizeof outcome->message, bytes_of(job->error.message));
    copy(outcome->body, sizeof outcome->body, job->response.body);
    if (job->response.served_by != NULL) {
        copy(outcome->model, sizeof outcome->model, job->response.served_by->model);
    }
    if (job->response.timing != NULL) {
        outcome->timing = *job->response.timing;
    }
    session_release(fixture->scene.session, job);
}

static void on_room(void *context)
{
    (void)context;
}

static void on_fatal(void *context, const struct error *error)
{
    (void)context;
    fail_msg("%s", error->message);
}

/* A session whose only model is the server; `more` are settings of the model, in YAML. */
static struct fixture *open_fixture(const char *more)
{
    struct fixture *fixture = calloc(1, sizeof *fixture);
    char models[512];
    (void)snprintf(models, sizeof models,
                   "models=[{name: m, endpoint: \"http://127.0.0.1:%d/v1/\", model: big%s}]",
                   upstream_start(replies), more);
    const char *sets[] = {models, "pool.threads=1", "http.port=0"};
    struct session_end end = {on_outcome, on_room, on_fatal, fixture};
    session_scene_open(&fixture->scene, sets, 3, &end);
    return fixture;
}

static void close_fixture(struct fixture *fixture)
{
    session_scene_close(&fixture->scene);
    upstream_stop();
    free(fixture);
}

/* A chat whose text says what the server does. */
static struct job *intake(struct fixture *fixture, const char *text)
{
    char body[256];
    (void)snprintf(body, sizeof body,
                   "{\"model\":\"m\",\"tools\":[1],\"messages\":[{\"content\":\"%s\"}]}", text);
    struct job *job = session_job(fixture->scene.session, strlen(body));
    job->source = (struct source){bytes_of("t"), 0, fixture->intakes++};
    job->request.custom_id = bytes_of("id");
    job->request.url = bytes_of("/v1/chat/completions");
    job->request.body = arena_copy(job->arena, bytes_of(body));
    return job;
}

static void give(struct fixture *fixture, const char *text)
{
    session_intake(fixture->scene.session, intake(fixture, text));
}

static void run(struct fixture *fixture)
{
    assert_int_equal(uv_run(&fixture->scene.loop, UV_RUN_DEFAULT), 0);
    assert_int_equal(session_jobs(fixture->scene.session), 0);
    assert_int_equal(fixture->outcomes, fixture->intakes);
}

static void test_a_chat_is_answered_with_the_endpoints_own_bytes(void **state)
{
    (void)state;
    (void)setenv("TEST_REMOTE_KEY", "secret-key\n", 1);
    struct fixture *fixture = open_fixture(", api_key_env: TEST_REMOTE_KEY");
    give(fixture, "do ok");
    run(fixture);
    const struct outcome *outcome = &fixture->outcome[0];
    assert_int_equal(outcome->kind, OUTCOME_RESPONSE);
    assert_int_equal(outcome->status, 200);
    assert_int_equal(outcome->attempt, 1);
    assert_string_equal(outcome->body, ANSWER);
    assert_string_equal(outcome->model, "big-1");
    assert_false(outcome->timing.has_first_token_ms);
    char request[4096];
    upstream_latest(request, sizeof request);
    assert_non_null(strstr(request, "POST /v1/chat/completions HTTP/1.1\r\n"));
    assert_non_null(strstr(request, "Authorization: Bearer secret-key\r\n"));
    assert_non_null(strstr(request, "{\"model\":\"big\",\"tools\":[1],\"messages\":"));
    close_fixture(fixture);
}

static void test_what_fails_once_is_tried_again(void **state)
{
    (void)state;
    static const char *const faults[] = {"500",   "429",   "307",     "broken", "empty",
                                         "close", "reset", "garbage", "cut"};
    enum { COUNT = sizeof faults / sizeof faults[0] };
    struct fixture *fixture = open_fixture("");
    for (int i = 0; i < COUNT; i++) {
        char text[32];
        (void)snprintf(text, sizeof text, "once %s", faults[i]);
        give(fixture, text);
        give(fixture, "do ok"); // keeps the breaker closed
    }
    run(fixture);
    for (int i = 0; i < COUNT; i++) {
        const struct outcome *outcome = &fixture->outcome[2 * i];
        // Where a connection that was used before ends without a byte, curl itself asks again.
        bool may_be_first = strcmp(faults[i], "reset") == 0;
        if (outcome->status != 200 || outcome->attempt < (may_be_first ? 1 : 2)) {
            fail_msg("%s: status %d, attempt %d", faults[i], outcome->status, outcome->attempt);
        }
    }
    assert_int_equal(upstream_requests(), 3 * COUNT);
    close_fixture(fixture);
}

static void test_a_refusal_is_the_answer(void **state)
{
    (void)state;
    struct fixture *fixture = open_fixture("");
    give(fixture, "do 404");
    give(fixture, "do 403");
    run(fixture);
    assert_int_equal(fixture->outcome[0].status, 404);
    assert_string_equal(fixture->outcome[0].body, "{\"error\":{\"message\":\"no\"}}");
    assert_int_equal(fixture->outcome[1].status, 403); // no JSON: an error object instead
    assert_non_null(strstr(fixture->outcome[1].body, "endpoint_refused"));
    assert_int_equal(upstream_requests(), 2);
    close_fixture(fixture);
}

static void test_tries_are_bounded_and_then_it_is_a_dead_letter(void **state)
{
    (void)state;
    struct fixture *fixture = open_fixture(", attempts_max: 2");
    give(fixture, "do 500");
    give(fixture, "do broken");
    run(fixture);
    assert_int_equal(fixture->outcome[0].kind, OUTCOME_DEAD_LETTER);
    assert_string_equal(fixture->outcome[0].code, "endpoint_failed");
    assert_non_null(strstr(fixture->outcome[0].message, "try 2 of 2"));
    assert_string_equal(fixture->outcome[1].code, "endpoint_invalid_json");
    assert_int_equal(upstream_requests(), 4);
    close_fixture(fixture);
}

static void test_a_hang_is_a_time_out(void **state)
{
    (void)state;
    struct fixture *fixture = open_fixture(", attempts_max: 1, timeout_ms: 200");
    give(fixture, "do hang");
    give(fixture, "do half");
    give(fixture, "do slow");
    run(fixture);
    assert_string_equal(fixture->outcome[0].code, "endpoint_timed_out");
    assert_string_equal(fixture->outcome[1].code, "endpoint_timed_out");
    assert_int_equal(fixture->outcome[2].status, 200);
    close_fixture(fixture);
}

static void test_an_answer_over_the_limit_is_not_read_on(void **state)
{
    (void)state;
    struct fixture *fixture = open_fixture(", answer_bytes_max: 1024");
    give(fixture, "do large");
    run(fixture);
    assert_string_equal(fixture->outcome[0].code, "answer_too_large");
    assert_int_equal(upstream_requests(), 1); // it would be as large again
    close_fixture(fixture);
}

static void test_a_deadline_ends_the_tries(void **state)
{
    (void)state;
    struct fixture *fixture = open_fixture("");
    struct job *job = intake(fixture, "do 429"); // asks for 300 ms
    job->request.has_deadline_ms = true;
    job->request.deadline_ms = clock_unix_ms() + 250;
    double start_ms = clock_monotonic_ms();
    session_intake(fixture->scene.session, job);
    run(fixture);
    assert_string_equal(fixture->outcome[0].code, "deadline_exceeded");
    assert_true(fixture->outcome[0].at_ms - start_ms < 250); // known before it passes
    assert_int_equal(upstream_requests(), 1);
    close_fixture(fixture);
}

static void test_retry_after_holds_for_everybody(void **state)
{
    (void)state;
    struct fixture *fixture = open_fixture(", concurrency_max: 1");
    double start_ms = clock_monotonic_ms();
    give(fixture, "once 429");
    give(fixture, "do ok");
    run(fixture);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(fixture->outcome[i].status, 200);
        assert_true(fixture->outcome[i].at_ms - start_ms >= 299);
    }
    close_fixture(fixture);
}

static void test_an_endpoint_that_is_away_is_waited_for(void **state)
{
    (void)state;
    struct fixture *fixture = open_fixture(", attempts_max: 1");
    upstream_stop(); // its port is refused now
    struct job *job = intake(fixture, "do ok");
    job->request.has_deadline_ms = true;
    job->request.deadline_ms = clock_unix_ms() + 1500;
    session_intake(fixture->scene.session, job);
    run(fixture);
    // Several tries, none of which counted, until the deadline.
    assert_string_equal(fixture->outcome[0].code, "deadline_exceeded");
    (void)upstream_start(replies);
    close_fixture(fixture);
}

static void test_requests_at_once_grow_and_share_connections(void **state)
{
    (void)state;
    struct fixture *fixture = open_fixture(", concurrency_max: 16");
    upstream_set_delay(2);
    for (int i = 0; i < 200; i++) {
        give(fixture, "do ok");
    }
    run(fixture);
    assert_int_equal(upstream_requests(), 200);
    assert_in_range(upstream_most_at_once(), 5, 16);
    assert_in_range(upstream_connections(), 5, 17);
    close_fixture(fixture);
}

static void test_a_stream_becomes_a_whole_answer_with_its_first_token(void **state)
{
    (void)state;
    struct fixture *fixture = open_fixture(", stream: true");
    give(fixture, "do stream");
    run(fixture);
    const struct outcome *outcome = &fixture->outcome[0];
    assert_int_equal(outcome->status, 200);
    assert_non_null(
        strstr(outcome->body, "\"message\":{\"role\":\"assistant\",\"content\":\"yes\"}"));
    assert_non_null(strstr(outcome->body, "\"object\":\"chat.completion\""));
    assert_true(outcome->timing.has_first_token_ms);
    assert_true(outcome->timing.first_token_ms < outcome->timing.total_ms);
    char request[4096];
    upstream_latest(request, sizeof request);
    assert_non_null(strstr(request, "\"stream_options\":{\"include_usage\":true}"));
    close_fixture(fixture);
}

static bool every_job(const struct job *job, void *context)
{
    (void)job;
    (void)context;
    return true;
}

static void cancel_all(uv_timer_t *timer)
{
    struct fixture *fixture = timer->data;
    // Waiting ones first, as a drain does; then what hangs.
    session_cancel(fixture->scene.session, every_job, NULL, true);
    session_cancel(fixture->scene.session, every_job, NULL, false);
    uv_close((uv_handle_t *)timer, NULL);
}

static void test_cancelled_calls_come_back_as_dropped(void **state)
{
    (void)state;
    struct fixture *fixture = open_fixture(", concurrency_max: 2");
    uv_timer_t timer;
    for (int i = 0; i < 6; i++) {
        give(fixture, "do hang");
    }
    assert_int_equal(uv_timer_init(&fixture->scene.loop, &timer), 0);
    timer.data = fixture;
    assert_int_equal(uv_timer_start(&timer, cancel_all, 100, 0), 0);
    run(fixture);
    for (int i = 0; i < 6; i++) {
        assert_int_equal(fixture->outcome[i].kind, OUTCOME_DROPPED);
    }
    assert_int_equal(upstream_requests(), 2);
    close_fixture(fixture);
}

static void test_a_session_closes_with_requests_under_way(void **state)
{
    (void)state;
    struct fixture *fixture = open_fixture("");
    give(fixture, "do hang");
    give(fixture, "do 500");
    for (int i = 0; i < 20; i++) {
        (void)uv_run(&fixture->scene.loop, UV_RUN_NOWAIT);
    }
    close_fixture(fixture);
}

static void test_the_daily_cap_holds_requests_back(void **state)
{
    (void)state;
    // Each answer costs 800 * 10 + 200 * 1 + 100 * 20 USD per million: 0.0102.
    struct fixture *fixture = open_fixture(", concurrency_max: 1, price_in: 10, price_cached: 1, "
                                           "price_out: 20, spend_daily_max: 0.02");
    for (int i = 0; i < 4; i++) {
        struct job *job = intake(fixture, "do ok");
        job->request.has_deadline_ms = true;
        job->request.deadline_ms = clock_unix_ms() + 700;
        session_intake(fixture->scene.session, job);
    }
    run(fixture);
    assert_int_equal(upstream_requests(), 2);
    assert_string_equal(fixture->outcome[3].code, "deadline_exceeded");
    close_fixture(fixture);
}

static void test_wrong_settings_are_refused(void **state)
{
    (void)state;
    static const char *const models[] = {
        "models=[{name: m}]",
        "models=[{name: m, path: p, endpoint: \"http://h/v1\"}]",
        "models=[{name: m, endpoint: \"ftp://h/v1\"}]",
        "models=[{name: m, endpoint: \"http://h\", api_key_env: A, api_key_file: b}]",
        "models=[{name: m, endpoint: \"http://h\", concurrency_max: 0}]",
    };
    for (size_t i = 0; i < sizeof models / sizeof models[0]; i++) {
        struct config *config = NULL;
        struct error error = {0};
        assert_false(config_open(NULL, &models[i], 1, &config, &error));
        assert_int_equal(error.kind, ERROR_CONFIG);
    }
}

int main(void)
{
    memset(large, ' ', sizeof large - 1);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_chat_is_answered_with_the_endpoints_own_bytes),
        cmocka_unit_test(test_what_fails_once_is_tried_again),
        cmocka_unit_test(test_a_refusal_is_the_answer),
        cmocka_unit_test(test_tries_are_bounded_and_then_it_is_a_dead_letter),
        cmocka_unit_test(test_a_hang_is_a_time_out),
        cmocka_unit_test(test_an_answer_over_the_limit_is_not_read_on),
        cmocka_unit_test(test_a_deadline_ends_the_tries),
        cmocka_unit_test(test_retry_after_holds_for_everybody),
        cmocka_unit_test(test_an_endpoint_that_is_away_is_waited_for),
        cmocka_unit_test(test_requests_at_once_grow_and_share_connections),
        cmocka_unit_test(test_a_stream_becomes_a_whole_answer_with_its_first_token),
        cmocka_unit_test(test_cancelled_calls_come_back_as_dropped),
        cmocka_unit_test(test_a_session_closes_with_requests_under_way),
        cmocka_unit_test(test_the_daily_cap_holds_requests_back),
        cmocka_unit_test(test_wrong_settings_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
