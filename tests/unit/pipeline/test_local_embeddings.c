/* Embeddings through the local generator: text to body, against sentence-transformers. */
#include <math.h>
#include <string.h>

#include "tests/support/cmocka.h"
#include "tests/support/local_fixture.h"

#define GOLDEN_DIR SOURCE_DIR "/tests/golden/encoders/"

enum { CALLS_MAX = 64, HIDDEN = 24, CONTEXT = 64 };

static struct local_fixture fixture;

static int open_minilm(void **state)
{
    (void)state;
    local_fixture_open_in(&fixture, GOLDEN_DIR "minilm", WEIGHTS_F32, KV_F32, CALLS_MAX);
    return 0;
}

static void on_wake(void *context)
{
    (void)context;
}

static int close_all(void **state)
{
    (void)state;
    local_fixture_close(&fixture);
    return 0;
}

static json_t *golden(const char *name)
{
    char path[512];
    (void)snprintf(path, sizeof path, GOLDEN_DIR "%s/golden.json", name);
    json_t *texts = json_load_file(path, 0, NULL);
    assert_non_null(texts);
    return texts;
}

static json_t *all_of(const json_t *texts, const char *member)
{
    json_t *array = json_array();
    for (size_t i = 0; i < json_array_size(texts); i++) {
        json_t *value = json_object_get(json_array_get(texts, i), member);
        assert_int_equal(json_array_append(array, value), 0);
    }
    return array;
}

static json_t *ask(json_t *body)
{
    return local_fixture_ask(&fixture, ENDPOINT_EMBEDDINGS, body);
}

static json_t *vector_of(const json_t *answer, size_t index)
{
    const json_t *data = json_object_get(answer, "data");
    const json_t *item = json_array_get(data, index);
    assert_int_equal(json_integer_value(json_object_get(item, "index")), index);
    return json_object_get(item, "embedding");
}

static void assert_vector(const json_t *actual, const json_t *expected)
{
    assert_int_equal(json_array_size(actual), json_array_size(expected));
    for (size_t i = 0; i < json_array_size(expected); i++) {
        double difference = json_number_value(json_array_get(actual, i)) -
                            json_number_value(json_array_get(expected, i));
        assert_true(fabs(difference) < 1e-4);
    }
}

static void check_all(const char *name)
{
    json_t *texts = golden(name);
    size_t count = json_array_size(texts);
    static const char *const forms[] = {"text", "ids"};
    for (int form = 0; form < 2; form++) {
        json_t *answer = ask(json_pack("{s:o}", "input", all_of(texts, forms[form])));
        assert_int_equal(json_array_size(json_object_get(answer, "data")), count);
        size_t tokens = 0;
        for (size_t i = 0; i < count; i++) {
            const json_t *text = json_array_get(texts, i);
            tokens += json_array_size(json_object_get(text, "ids"));
            assert_vector(vector_of(answer, i), json_object_get(text, "vector"));
        }
        assert_int_equal(answer_usage(answer, "prompt_tokens"), tokens);
        assert_int_equal(answer_usage(answer, "total_tokens"), tokens);
        json_decref(answer);
    }
    json_decref(texts);
}

static void test_texts_and_their_ids_give_the_vectors_of_the_reference(void **state)
{
    (void)state;
    check_all("minilm");
}

static void test_roberta_gives_the_vectors_of_the_reference(void **state)
{
    (void)state;
    local_fixture_close(&fixture);
    local_fixture_open_in(&fixture, GOLDEN_DIR "roberta", WEIGHTS_F32, KV_F32, CALLS_MAX);
    check_all("roberta");
}

/* More inputs than sequences run at once, and more rows than a step has. */
static void test_many_inputs_give_what_each_gives_alone(void **state)
{
    (void)state;
    json_t *inputs = json_array();
    for (int i = 0; i < CALLS_MAX; i++) {
        json_t *ids = json_array();
        for (int p = 0; p < 1 + i * 7 % CONTEXT; p++) {
            (void)json_array_append_new(ids, json_integer((i * 31 + p * 17) % 400));
        }
        (void)json_array_append_new(inputs, ids);
    }
    json_t *together = ask(json_pack("{s:O}", "input", inputs));
    for (size_t i = 0; i < CALLS_MAX; i += 5) {
        json_t *alone = ask(json_pack("{s:O}", "input", json_array_get(inputs, i)));
        assert_true(json_equal(vector_of(alone, 0), vector_of(together, i)));
        json_decref(alone);
    }
    json_decref(together);
    json_decref(inputs);
}

static void test_fewer_dimensions_have_length_1_again(void **state)
{
    (void)state;
    json_t *answer = ask(json_pack("{s:s, s:i}", "input", "a mill", "dimensions", 5));
    const json_t *vector = vector_of(answer, 0);
    double squares = 0;
    assert_int_equal(json_array_size(vector), 5);
    for (size_t i = 0; i < 5; i++) {
        double number = json_number_value(json_array_get(vector, i));
        squares += number * number;
    }
    assert_true(fabs(squares - 1) < 1e-5);
    json_decref(answer);
    answer = ask(json_pack("{s:s, s:s}", "input", "a mill", "encoding_format", "base64"));
    assert_int_equal(json_string_length(vector_of(answer, 0)), HIDDEN * 4 / 3 * 4);
    json_decref(answer);
}

static void refuse(enum openai_endpoint endpoint, json_t *body, const char *param,
                   const char *message)
{
    struct job *job = local_fixture_job(&fixture, endpoint, body);
    assert_int_equal(job->error.kind, ERROR_INVALID);
    assert_string_equal(job->error.param, param);
    if (strstr(job->error.message, message) == NULL) {
        fail_msg("\"%s\" does not say \"%s\"", job->error.message, message);
    }
    openai_request_close(&job->calls->request);
    job_close(job);
}

static void test_what_an_encoder_cannot_do_is_refused(void **state)
{
    (void)state;
    json_t *ids = json_array();
    for (int i = 0; i < CONTEXT; i++) {
        (void)json_array_append_new(ids, json_integer(5));
    }
    json_t *answer = ask(json_pack("{s:O}", "input", ids)); // the whole context
    json_decref(answer);
    (void)json_array_append_new(ids, json_integer(5));
    refuse(ENDPOINT_EMBEDDINGS, json_pack("{s:o}", "input", ids), "input",
           "has 65 tokens, must have at most 64");
    refuse(ENDPOINT_EMBEDDINGS, json_pack("{s:[i]}", "input", 400), "input", "is 400, must be");
    refuse(ENDPOINT_EMBEDDINGS, json_pack("{s:s, s:i}", "input", "a", "dimensions", HIDDEN + 1),
           "dimensions", "the model's vectors have 24");
    refuse(ENDPOINT_COMPLETIONS, json_pack("{s:s}", "prompt", "a"), "model",
           "is an encoder; use /v1/embeddings");
}

/* Two models of one engine: the first generates, the second is the encoder. */
static void open_both(void)
{
    struct error error = {0};
    const struct local_model_options models[] = {
        {.name = "scribe", .path = SOURCE_DIR "/deploy/demo/scribe"},
        {.name = "minilm", .path = GOLDEN_DIR "minilm"}};
    struct local_options options = {
        .models = models,
        .models_count = 2,
        .backend = {.device = BACKEND_CPU, .threads = 2},
        .weights = WEIGHTS_F32,
        .kv_format = KV_F32,
        .kv_cache_bytes = 64 << 20,
        .max_num_seqs = 8,
        .max_num_batched_tokens = 128,
        .enable_prefix_caching = true,
        .calls_max = CALLS_MAX,
    };
    fixture = (struct local_fixture){0};
    assert_true(pool_open(2, &fixture.pool, &error));
    options.pool = fixture.pool;
    options.wake = (struct generator_wake){on_wake, NULL};
    if (!local_open(&options, &fixture.local, &error)) {
        fail_msg("%s", error.message);
    }
    fixture.route =
        (struct route){.name = bytes_of("model"), .generator = local_generator(fixture.local)};
}

static struct job *start_text(int index)
{
    fixture.route.model = 0;
    struct job *job = local_fixture_job(&fixture, ENDPOINT_COMPLETIONS,
                                        json_pack("{s:[i, i, i], s:i, s:i}", "prompt", 1, 2 + index,
                                                  7, "max_tokens", 9, "temperature", 0));
    assert_true(local_fixture_submit(&fixture, job));
    return job;
}

static void finish(struct job *job, json_t **answer_out)
{
    *answer_out = local_fixture_answer(job);
    openai_request_close(&job->calls->request);
    job_close(job);
}

static void test_an_encoder_and_a_generator_share_an_engine(void **state)
{
    (void)state;
    enum { TEXTS = 6 };
    local_fixture_close(&fixture);
    open_both();
    json_t *alone[TEXTS];
    for (int i = 0; i < TEXTS; i++) {
        struct job *job = start_text(i);
        local_fixture_wait(&fixture, 1);
        finish(job, &alone[i]);
    }
    json_t *texts = golden("minilm");
    struct job *jobs[TEXTS];
    struct job *encoded[TEXTS];
    struct route routes[TEXTS];
    for (int i = 0; i < TEXTS; i++) {
        jobs[i] = start_text(i);
        fixture.route.model = 1;
        encoded[i] = local_fixture_job(&fixture, ENDPOINT_EMBEDDINGS,
                                       json_pack("{s:o}", "input", all_of(texts, "ids")));
        routes[i] = fixture.route;
        encoded[i]->calls->route = &routes[i];
        assert_true(local_fixture_submit(&fixture, encoded[i]));
    }
    local_fixture_wait(&fixture, 2 * TEXTS);
    for (int i = 0; i < TEXTS; i++) {
        json_t *answer = NULL;
        finish(jobs[i], &answer);
        assert_string_equal(choice_text(answer_choice(answer, 0)),
                            choice_text(answer_choice(alone[i], 0)));
        json_decref(answer);
        json_decref(alone[i]);
        finish(encoded[i], &answer);
        for (size_t t = 0; t < json_array_size(texts); t++) {
            assert_vector(vector_of(answer, t),
                          json_object_get(json_array_get(texts, t), "vector"));
        }
        json_decref(answer);
    }
    json_decref(texts);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_texts_and_their_ids_give_the_vectors_of_the_reference),
        cmocka_unit_test(test_many_inputs_give_what_each_gives_alone),
        cmocka_unit_test(test_fewer_dimensions_have_length_1_again),
        cmocka_unit_test(test_what_an_encoder_cannot_do_is_refused),
        cmocka_unit_test(test_roberta_gives_the_vectors_of_the_reference),
        cmocka_unit_test(test_an_encoder_and_a_generator_share_an_engine),
    };
    return cmocka_run_group_tests(tests, open_minilm, close_all);
}
