/* The engine with two real models at once: greedy tokens of the reference implementation. */
#include "pipeline/engine/engine.h"

#include <jansson.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "schemas/base/check.h"
#include "tests/support/cmocka.h"

enum { MODELS = 2, CASES_MAX = 40, TOKENS_MAX = 512, COPIES = 6 };

static const char *const folders[MODELS] = {DATA_DIR "/families/llama", DATA_DIR "/families/qwen2"};

struct golden_case {
    struct sequence sequence;
    int32_t prompt[TOKENS_MAX];
    int32_t expected[TOKENS_MAX];
    int32_t output[TOKENS_MAX];
};

struct session {
    struct backend *backend;
    struct model *models[MODELS];
    struct engine *engine;
    struct golden_case *cases;
    int cases_count;
    pthread_mutex_t mutex;
    pthread_cond_t has_finished;
    int finished_count;
};

static void on_finish(void *context, struct sequence *sequence)
{
    (void)sequence;
    struct session *session = context;
    CHECK(pthread_mutex_lock(&session->mutex) == 0);
    session->finished_count++;
    CHECK(pthread_cond_signal(&session->has_finished) == 0);
    CHECK(pthread_mutex_unlock(&session->mutex) == 0);
}

static int read_ids(const json_t *array, int32_t *ids_out)
{
    int count = (int)json_array_size(array);
    assert_in_range(count, 1, TOKENS_MAX);
    for (int i = 0; i < count; i++) {
        ids_out[i] = (int32_t)json_integer_value(json_array_get(array, (size_t)i));
    }
    return count;
}

/* Cases whose best and second token are too close to tell apart in f32 are left out. */
static void add_cases(struct session *session, int model)
{
    char path[512];
    (void)snprintf(path, sizeof path, "%s/golden.json", folders[model]);
    json_t *golden = json_load_file(path, 0, NULL);
    const json_t *cases = json_object_get(golden, "cases");
    assert_true(json_array_size(cases) > 0);
    for (size_t i = 0; i < json_array_size(cases); i++) {
        const json_t *item = json_array_get(cases, i);
        if (json_number_value(json_object_get(item, "margin")) < 2e-3) {
            continue;
        }
        assert_true(session->cases_count < CASES_MAX);
        struct golden_case *golden_case = &session->cases[session->cases_count++];
        struct sequence *sequence = &golden_case->sequence;
        sequence->model = model;
        sequence->prompt = golden_case->prompt;
        sequence->prompt_count = read_ids(json_object_get(item, "ids"), golden_case->prompt);
        sequence->output = golden_case->output;
        sequence->params.max_tokens =
            read_ids(json_object_get(item, "greedy"), golden_case->expected);
        sequence->params.ignore_eos = true;
    }
    json_decref(golden);
}

static void session_open(struct session *session)
{
    struct error error = {0};
    const struct backend_options backend = {.threads = 2};
    const struct model_options model = {
        .weights = WEIGHTS_F32, .block_tokens = 16, .kv_format = KV_F32};
    *session = (struct session){.cases = calloc(CASES_MAX, sizeof *session->cases),
                                .mutex = PTHREAD_MUTEX_INITIALIZER,
                                .has_finished = PTHREAD_COND_INITIALIZER};
    assert_non_null(session->cases);
    assert_true(backend_open(&backend, &session->backend, &error));
    for (int i = 0; i < MODELS; i++) {
        assert_true(model_open(folders[i], session->backend, &model, &session->models[i], &error));
        for (int copy = 0; copy < COPIES; copy++) {
            add_cases(session, i);
        }
    }
    static const double shares[MODELS] = {0.3, 0.7};
    const struct engine_options options = {
        .models = session->models,
        .kv_shares = shares,
        .models_count = MODELS,
        .kv_bytes = model_kv_block_bytes(session->models[0]) * 200,
        .max_num_seqs = 5,
        .max_num_batched_tokens = 20,
        .max_waiting = CASES_MAX,
        .enable_prefix_caching = true,
        .observer = {.on_finish = on_finish, .context = session},
    };
    assert_true(engine_open(&options, &session->engine, &error));
}

static void session_close(struct session *session)
{
    engine_close(session->engine);
    for (int i = 0; i < MODELS; i++) {
        model_close(session->models[i]);
    }
    backend_close(session->backend);
    free(session->cases);
}

static void skip_without_folders(void)
{
    for (int i = 0; i < MODELS; i++) {
        if (access(folders[i], R_OK) != 0) {
            print_message("no %s\n", folders[i]);
            skip();
        }
    }
}

static void test_two_models_give_the_tokens_of_the_reference(void **state)
{
    (void)state;
    struct session session;
    skip_without_folders();
    session_open(&session);
    assert_true(session.cases_count > MODELS);
    for (int i = 0; i < session.cases_count; i++) {
        assert_true(engine_submit(session.engine, &session.cases[i].sequence));
    }
    CHECK(pthread_mutex_lock(&session.mutex) == 0);
    while (session.finished_count < session.cases_count) {
        CHECK(pthread_cond_wait(&session.has_finished, &session.mutex) == 0);
    }
    CHECK(pthread_mutex_unlock(&session.mutex) == 0);
    for (int i = 0; i < session.cases_count; i++) {
        const struct golden_case *golden_case = &session.cases[i];
        size_t count = (size_t)golden_case->sequence.params.max_tokens;
        assert_int_equal(golden_case->sequence.finish_reason, FINISH_LENGTH);
        assert_int_equal(atomic_load(&golden_case->sequence.output_count), count);
        assert_memory_equal(golden_case->output, golden_case->expected, count * sizeof(int32_t));
    }
    session_close(&session);
}

static void test_kv_shares_that_cannot_be_are_refused(void **state)
{
    (void)state;
    static const double shares[][MODELS] = {{0.6, 0.6}, {0, 1}, {-0.1, 0.5}};
    struct model *models[MODELS] = {NULL, NULL};
    for (size_t i = 0; i < sizeof shares / sizeof shares[0]; i++) {
        const struct engine_options options = {.models = models,
                                               .kv_shares = shares[i],
                                               .models_count = MODELS,
                                               .max_num_seqs = 4,
                                               .max_num_batched_tokens = 8,
                                               .max_waiting = 4};
        struct engine *engine = NULL;
        struct error error = {0};
        assert_false(engine_open(&options, &engine, &error));
        assert_int_equal(error.kind, ERROR_CONFIG);
        assert_string_equal(error.param, "kv_share");
    }
}

static void test_a_kv_cache_below_one_block_is_refused(void **state)
{
    (void)state;
    struct session session;
    skip_without_folders();
    session_open(&session);
    engine_close(session.engine);
    session.engine = NULL;
    const struct engine_options options = {.models = session.models,
                                           .models_count = 1,
                                           .kv_bytes = 100,
                                           .max_num_seqs = 4,
                                           .max_num_batched_tokens = 8,
                                           .max_waiting = 4};
    struct error error = {0};
    assert_false(engine_open(&options, &session.engine, &error));
    assert_int_equal(error.kind, ERROR_CONFIG);
    assert_string_equal(error.code, "kv_cache_too_small");
    session_close(&session);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_two_models_give_the_tokens_of_the_reference),
        cmocka_unit_test(test_kv_shares_that_cannot_be_are_refused),
        cmocka_unit_test(test_a_kv_cache_below_one_block_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
