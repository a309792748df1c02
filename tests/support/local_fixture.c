/* local_fixture: polls, because a test has nothing else to do. */
#include "tests/support/local_fixture.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tests/support/cmocka.h"

enum {
    ANSWER_SECONDS_MAX = 120,
    JOB_BYTES_MAX = 64 << 20,
    DEMO_LINE_MAX = 1 << 16,
    DEMO_JOBS_MAX = 200,
};

static void on_wake(void *context)
{
    (void)context;
}

/* `options`: those that differ between tests. */
static void open_with(struct local_fixture *fixture, const char *path,
                      struct local_options *options)
{
    struct error error = {0};
    struct local_model_options model = {.name = "model", .path = path};
    *fixture = (struct local_fixture){0};
    assert_true(pool_open(2, &fixture->pool, &error));
    options->models = &model;
    options->models_count = 1;
    options->backend = (struct backend_options){.device = BACKEND_CPU, .threads = 2};
    options->kv_cache_bytes = 64 << 20;
    options->max_num_batched_tokens = 512;
    options->enable_prefix_caching = true;
    options->pool = fixture->pool;
    options->wake = (struct generator_wake){on_wake, NULL};
    if (!local_open(options, &fixture->local, &error)) {
        fail_msg("%s", error.message);
    }
    fixture->route =
        (struct route){.name = bytes_of("model"), .generator = local_generator(fixture->local)};
}

void local_fixture_open(struct local_fixture *fixture, const char *path, int calls_max,
                        int max_num_seqs)
{
    struct local_options options = {.calls_max = calls_max, .max_num_seqs = max_num_seqs};
    open_with(fixture, path, &options);
}

void local_fixture_open_in(struct local_fixture *fixture, const char *path,
                           enum weight_format weights, enum kv_format kv_format, int calls_max)
{
    struct local_options options = {.weights = weights,
                                    .kv_format = kv_format,
                                    .calls_max = calls_max,
                                    .max_num_seqs = calls_max};
    open_with(fixture, path, &options);
}
void local_fixture_close(struct local_fixture *fixture)
{
    fixture->route.generator->ops->close(fixture->route.generator);
    pool_close(fixture->pool);
}

struct job *local_fixture_job(struct local_fixture *fixture, enum openai_endpoint endpoint,
                              json_t *body)
{
    struct job *job = job_open(JOB_BYTES_MAX);
    assert_non_null(job);
    (void)json_object_set_new(body, "model", json_string("model"));
    char *text = json_dumps(body, JSON_COMPACT);
    json_decref(body);
    job->id = bytes_of("0123");
    job->seed = 7;
    job->calls = arena_alloc(job->arena, sizeof *job->calls);
    job->calls_count = 1;
    struct call *call = job->calls;
    call->job = job;
    call->route = &fixture->route;
    call->body = arena_copy(job->arena, bytes_of(text));
    free(text);
    struct generator *generator = fixture->route.generator;
    if (!openai_request_parse(endpoint, call->body, job->arena, &call->request, &job->error) ||
        !generator->ops->prepare(generator, call, &job->error)) {
        assert_int_not_equal(job->error.kind, ERROR_NONE);
    }
    return job;
}

bool local_fixture_submit(struct local_fixture *fixture, struct job *job)
{
    if (job->error.kind != ERROR_NONE) {
        fail_msg("%s", job->error.message);
    }
    return fixture->route.generator->ops->submit(fixture->route.generator, job->calls);
}

void local_fixture_cancel(struct local_fixture *fixture, struct job *job, bool only_waiting)
{
    fixture->route.generator->ops->cancel(fixture->route.generator, job->calls, only_waiting);
}

void local_fixture_wait(struct local_fixture *fixture, int count)
{
    struct call *calls[16];
    time_t end = time(NULL) + ANSWER_SECONDS_MAX;
    while (count > 0) {
        count -= (int)fixture->route.generator->ops->poll(fixture->route.generator, calls,
                                                          (size_t)(count < 16 ? count : 16));
        if (time(NULL) > end) {
            fail_msg("%d calls have not come back after %d seconds", count, ANSWER_SECONDS_MAX);
        }
        (void)nanosleep(&(struct timespec){.tv_nsec = 200000}, NULL);
    }
}

json_t *local_fixture_answer(const struct job *job)
{
    const struct call_answer *answer = &job->calls->answer;
    if (answer->error.kind != ERROR_NONE) {
        fail_msg("%s", answer->error.message);
    }
    assert_int_equal(answer->status_code, 200);
    json_t *body = json_loadb(answer->body.data, answer->body.size, JSON_ALLOW_NUL, NULL);
    assert_non_null(body);
    return body;
}

json_t *local_fixture_ask(struct local_fixture *fixture, enum openai_endpoint endpoint,
                          json_t *body)
{
    struct job *job = local_fixture_job(fixture, endpoint, body);
    assert_true(local_fixture_submit(fixture, job));
    local_fixture_wait(fixture, 1);
    json_t *answer = local_fixture_answer(job);
    job_close(job);
    return answer;
}

json_t *answer_choice(const json_t *answer, int index)
{
    json_t *choice = json_array_get(json_object_get(answer, "choices"), (size_t)index);
    assert_non_null(choice);
    assert_int_equal(json_integer_value(json_object_get(choice, "index")), index);
    return choice;
}

const char *choice_text(const json_t *choice)
{
    const json_t *text = json_object_get(choice, "text");
    text = text != NULL ? text : json_object_get(json_object_get(choice, "message"), "content");
    assert_true(json_is_string(text));
    return json_string_value(text);
}

const char *choice_finish(const json_t *choice)
{
    return json_string_value(json_object_get(choice, "finish_reason"));
}

int answer_usage(const json_t *answer, const char *name)
{
    const json_t *value = json_object_get(json_object_get(answer, "usage"), name);
    assert_true(json_is_integer(value));
    return (int)json_integer_value(value);
}

json_t *demo_body_next(FILE *file)
{
    static char line[DEMO_LINE_MAX];
    if (fgets(line, sizeof line, file) == NULL) {
        return NULL;
    }
    json_t *job = json_loads(line, 0, NULL);
    json_t *body = json_incref(json_object_get(job, "body"));
    assert_non_null(body);
    json_decref(job);
    return body;
}

json_t *demo_body(int index, json_t **reference_out)
{
    FILE *file = fopen(SOURCE_DIR "/deploy/demo/jobs.jsonl", "rb");
    static char line[DEMO_LINE_MAX];
    assert_non_null(file);
    assert_true(index < DEMO_JOBS_MAX);
    for (int i = 0; i <= index; i++) {
        assert_non_null(fgets(line, sizeof line, file));
    }
    (void)fclose(file);
    json_t *job = json_loads(line, 0, NULL);
    json_t *body = json_incref(json_object_get(job, "body"));
    assert_non_null(body);
    if (reference_out != NULL) {
        *reference_out =
            json_incref(json_object_get(json_object_get(job, "millrace"), "reference"));
    }
    json_decref(job);
    return body;
}
