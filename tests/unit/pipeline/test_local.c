/* local: the demo model answers chat and completions, whatever else is in the batch; what does not
 * fit is refused before it costs anything. */
#include "pipeline/local.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "pipeline/route/route.h"
#include "tests/support/cmocka.h"

enum { CALLS_MAX = 16, POLLS_MAX = 60000 };

static struct pool *pool;
static struct local *local;
static struct route route;

static int open_local(void **state)
{
    (void)state;
    struct error error = {0};
    if (!pool_open(2, &pool, &error)) {
        return -1;
    }
    struct local_model_options model = {.name = "scribe", .path = SOURCE_DIR "/deploy/demo/scribe"};
    struct local_options options = {
        .models = &model,
        .models_count = 1,
        .backend = {.threads = 1},
        .kv_cache_bytes = 64 << 20,
        .max_num_seqs = 8,
        .max_num_batched_tokens = 128,
        .enable_prefix_caching = true,
        .calls_max = CALLS_MAX,
        .pool = pool,
    };
    if (!local_open(&options, &local, &error)) {
        print_error("%s\n", error.message);
        return -1;
    }
    route = (struct route){.name = bytes_of("scribe"), .generator = local_generator(local)};
    return 0;
}

static int close_local(void **state)
{
    (void)state;
    route.generator->ops->close(route.generator);
    pool_close(pool);
    return 0;
}

/* A job whose one call is parsed; not prepared yet. */
static struct job *make_job(enum openai_endpoint endpoint, const char *body)
{
    struct error error = {0};
    struct job *job = job_open(4 << 20);
    assert_non_null(job);
    job->id = bytes_of("0123");
    job->calls = arena_alloc(job->arena, sizeof *job->calls);
    assert_non_null(job->calls);
    job->calls_count = 1;
    job->calls->job = job;
    job->calls->route = &route;
    if (!openai_request_parse(endpoint, bytes_of(body), job->arena, &job->calls->request, &error)) {
        fail_msg("%s", error.message);
    }
    return job;
}

static void submit(struct job *job)
{
    struct error error = {0};
    const struct generator_ops *ops = route.generator->ops;
    if (!ops->prepare(route.generator, job->calls, &error)) {
        fail_msg("%s", error.message);
    }
    assert_true(ops->submit(route.generator, job->calls));
}

static void wait_for(size_t wanted)
{
    struct call *calls[CALLS_MAX];
    size_t count = 0;
    for (int i = 0; i < POLLS_MAX && count < wanted; i++) {
        count += route.generator->ops->poll(route.generator, calls, CALLS_MAX);
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    }
    assert_int_equal(count, wanted);
}

/* The text of choice 0, to be freed with the root. */
static const char *text_of(const struct job *job, json_t **root_out)
{
    const struct call_answer *answer = &job->calls->answer;
    assert_int_equal(answer->error.kind, ERROR_NONE);
    *root_out = json_loadb(answer->body.data, answer->body.size, 0, NULL);
    json_t *choice = json_array_get(json_object_get(*root_out, "choices"), 0);
    json_t *message = json_object_get(choice, "message");
    return json_string_value(message == NULL ? json_object_get(choice, "text")
                                             : json_object_get(message, "content"));
}

static void assert_text(const struct job *job, const char *expected)
{
    json_t *root = NULL;
    assert_string_equal(text_of(job, &root), expected);
    json_decref(root);
}

/* deploy/demo/jobs.jsonl has the same document and what the right answer is. */
static const char summary[] =
    "{\"model\":\"scribe\",\"temperature\":0,\"max_tokens\":160,\"messages\":[{\"role\":\"system\","
    "\"content\":\"You are a careful assistant that reads business documents.\"},{\"role\":"
    "\"user\",\"content\":\"Summarize the document in one sentence.\\n\\nNote 341\\n\\nOne "
    "attachment was too large to send. Silver Creek Glass delivered 520 wooden pallets to "
    "warehouse 92 on 2028-07-17. The goods were carried by Baltic Haul. Thanks go to everyone who "
    "helped. 14 of them were damaged.\\n\\nThe usual checks were made before lunch. The notes were "
    "typed up the same evening.\\n\\nThe room was warmer than usual.\"}]%s}";

#define SUMMARY "Silver Creek Glass delivered 520 wooden pallets to warehouse 92 on 2028-07-17"

static struct job *make_summary(const char *members)
{
    char body[2048];
    (void)snprintf(body, sizeof body, summary, members);
    return make_job(ENDPOINT_CHAT, body);
}

static void test_the_demo_model_answers_rightly(void **state)
{
    (void)state;
    struct job *job = make_summary("");
    submit(job);
    wait_for(1);
    assert_text(job, SUMMARY " with Baltic Haul; 14 were damaged.");
    const struct call_answer *answer = &job->calls->answer;
    assert_int_equal(answer->status_code, 200);
    assert_true(answer->usage.prompt_tokens > 50);
    assert_true(answer->timing.has_first_token_ms);
    const int32_t *tokens;
    int count = local_call_tokens(job->calls, 0, &tokens);
    assert_int_equal(count, answer->usage.completion_tokens); // without the stop token
    job_close(job);
}

static void test_a_stop_string_ends_the_text_before_it(void **state)
{
    (void)state;
    struct job *job = make_summary(",\"stop\":[\" with Baltic\"]");
    submit(job);
    wait_for(1);
    assert_text(job, SUMMARY);
    assert_non_null(strstr(job->calls->answer.body.data, "\"finish_reason\":\"stop\""));
    job_close(job);
}

static void test_an_answer_does_not_depend_on_its_neighbours(void **state)
{
    (void)state;
    static const char format[] =
        "{\"model\":\"scribe\",\"prompt\":[%d,7,300],\"seed\":%d,\"n\":2,\"max_tokens\":12,"
        "\"ignore_eos\":true}";
    struct job *together[6];
    char body[256];
    for (int i = 0; i < 6; i++) {
        (void)snprintf(body, sizeof body, format, 10 + i, i);
        together[i] = make_job(ENDPOINT_COMPLETIONS, body);
        submit(together[i]);
    }
    wait_for(6);
    for (int i = 0; i < 6; i++) {
        (void)snprintf(body, sizeof body, format, 10 + i, i);
        struct job *alone = make_job(ENDPOINT_COMPLETIONS, body);
        submit(alone);
        wait_for(1);
        for (int choice = 0; choice < 2; choice++) {
            const int32_t *a;
            const int32_t *b;
            assert_int_equal(local_call_tokens(alone->calls, choice, &a), 12);
            assert_int_equal(local_call_tokens(together[i]->calls, choice, &b), 12);
            assert_memory_equal(a, b, 12 * sizeof *a);
        }
        job_close(alone);
        job_close(together[i]);
    }
}

static void test_a_full_generator_takes_no_more_until_it_is_polled(void **state)
{
    (void)state;
    static const char body[] = "{\"model\":\"scribe\",\"prompt\":[1],\"n\":16,\"max_tokens\":1}";
    struct job *first = make_job(ENDPOINT_COMPLETIONS, body);
    struct job *second = make_job(ENDPOINT_COMPLETIONS, body);
    struct error error = {0};
    const struct generator_ops *ops = route.generator->ops;
    submit(first);
    assert_true(ops->prepare(route.generator, second->calls, &error));
    assert_false(ops->submit(route.generator, second->calls));
    wait_for(1);
    assert_true(ops->submit(route.generator, second->calls));
    wait_for(1);
    job_close(first);
    job_close(second);
}

static void test_a_cancelled_call_comes_back_once(void **state)
{
    (void)state;
    struct job *job = make_job(ENDPOINT_COMPLETIONS, "{\"model\":\"scribe\",\"prompt\":[1],"
                                                     "\"max_tokens\":1000,\"ignore_eos\":true}");
    submit(job);
    route.generator->ops->cancel(route.generator, job->calls, false);
    wait_for(1);
    assert_int_equal(job->calls->answer.error.kind, ERROR_CANCELLED);
    job_close(job);
}

static void test_what_does_not_fit_the_model_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *body;
        const char *code;
        const char *part; // of the message
    } rows[] = {
        {"{\"model\":\"scribe\",\"prompt\":[1536]}", "invalid_value", "between 0 and 1535"},
        {"{\"model\":\"scribe\",\"prompt\":\"\"}", "invalid_value", "no tokens"},
        {"{\"model\":\"scribe\",\"prompt\":[1],\"max_tokens\":1024}", "context_length_exceeded",
         "1024 tokens"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct error error = {0};
        struct job *job = make_job(ENDPOINT_COMPLETIONS, rows[i].body);
        assert_false(route.generator->ops->prepare(route.generator, job->calls, &error));
        assert_int_equal(error.kind, ERROR_INVALID);
        assert_string_equal(error.code, rows[i].code);
        assert_string_equal(error.param, "prompt");
        assert_non_null(strstr(error.message, rows[i].part));
        job_close(job);
    }
}

static void test_a_broken_folder_is_an_error_that_names_the_model(void **state)
{
    (void)state;
    struct error error = {0};
    struct local *none = NULL;
    struct local_model_options model = {.name = "gone", .path = "/nonexistent"};
    struct local_options options = {.models = &model, .models_count = 1, .calls_max = 1};
    assert_false(local_open(&options, &none, &error));
    assert_non_null(strstr(error.message, "model gone"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_demo_model_answers_rightly),
        cmocka_unit_test(test_a_stop_string_ends_the_text_before_it),
        cmocka_unit_test(test_an_answer_does_not_depend_on_its_neighbours),
        cmocka_unit_test(test_a_full_generator_takes_no_more_until_it_is_polled),
        cmocka_unit_test(test_a_cancelled_call_comes_back_once),
        cmocka_unit_test(test_what_does_not_fit_the_model_is_refused),
        cmocka_unit_test(test_a_broken_folder_is_an_error_that_names_the_model),
    };
    return cmocka_run_group_tests(tests, open_local, close_local);
}
