/* LoRA folders against what PEFT adds (tests/golden/model/adapters.py), and folders that are
 * refused. */
#include "pipeline/model/adapter.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/cmocka.h"
#include "tests/support/model_runner.h"
#include "tests/support/seed.h"
#include "tests/support/tiny_model.h"

#define GOLDEN SOURCE_DIR "/tests/golden/model/"

static void check_matrix(struct adapter *adapter, const struct tensor *expected)
{
    struct error error = {0};
    struct adapter_pair pair;
    int rows = (int)expected->shape[0];
    int columns = (int)expected->shape[1];
    if (!adapter_find(adapter, expected->name, rows, columns, &pair, &error)) {
        fail_msg("%s", error.message);
    }
    assert_true(pair.rank > 0);
    size_t elements = (size_t)rows * (size_t)columns;
    float *values = malloc(elements * sizeof(float));
    float *wanted = malloc(elements * sizeof(float));
    assert_non_null(values);
    assert_non_null(wanted);
    memcpy(wanted, expected->data, expected->bytes);
    for (size_t i = 0; i < elements; i++) {
        values[i] = 1;
    }
    assert_true(adapter_load_into(&pair, values, &error));
    for (size_t i = 0; i < elements; i++) {
        if (!(fabsf(values[i] - 1 - wanted[i]) <= 1e-5f)) {
            fail_msg("%s: number %zu changed by %g, PEFT by %g", expected->name, i,
                     (double)values[i] - 1, (double)wanted[i]);
        }
    }
    free(values);
    free(wanted);
}

static void check_folder(const char *path, size_t matrices)
{
    struct error error = {0};
    struct adapter *adapter = NULL;
    struct safetensors *expected = NULL;
    assert_true(safetensors_open_file(path, "expected.safetensors", &expected, &error));
    assert_int_equal(safetensors_count(expected), matrices);
    if (!adapter_open(path, &adapter, &error)) {
        fail_msg("%s", error.message);
    }
    assert_false(adapter_check_surplus(adapter, &error)); // nothing is claimed yet
    for (size_t i = 0; i < matrices; i++) {
        check_matrix(adapter, safetensors_at(expected, i));
    }
    struct adapter_pair none;
    assert_true(adapter_find(adapter, "model.layers.0.mlp.up_proj", 28, 24, &none, &error));
    assert_int_equal(none.rank, 0);
    assert_true(adapter_check_surplus(adapter, &error));
    adapter_close(adapter);
    safetensors_close(expected);
}

static void test_adds_what_peft_adds(void **state)
{
    (void)state;
    check_folder(GOLDEN "adapter-plain", 4);
    check_folder(GOLDEN "adapter-patterns", 10);
}

static const struct tiny_model tiny = {.vocabulary = 61,
                                       .hidden = 24,
                                       .intermediate = 28,
                                       .layers = 2,
                                       .heads = 3,
                                       .kv_heads = 1,
                                       .head_dim = 8,
                                       .context = 64,
                                       .seed = 3};

/* Writes a whole model, opens it with the adapter at `path`, and returns its hash and the logits of
 * one prompt. */
static uint64_t run_model(const char *path, float logits[61])
{
    char model_path[TINY_MODEL_PATH];
    static const int32_t tokens[] = {5, 17, 40, 2, 9};
    float rows[5 * 61];
    struct model_runner runner;
    const struct runner_options options = {.adapter = path};
    tiny_model_write(&tiny, model_path);
    model_runner_open(&runner, model_path, &options);
    tiny_model_remove(model_path);
    model_runner_logits(&runner, tokens, 0, 5, 5, rows);
    memcpy(logits, &rows[(size_t)4 * 61], 61 * sizeof(float));
    uint64_t hash = model_weights_hash(runner.model);
    model_runner_close(&runner);
    return hash;
}

static bool is_same(const float *a, const float *b)
{
    for (int i = 0; i < tiny.vocabulary; i++) {
        if (a[i] != b[i]) {
            return false;
        }
    }
    return true;
}

static void test_a_model_with_an_adapter_is_another_model(void **state)
{
    (void)state;
    float without[61];
    float plain[61];
    float patterns[61];
    uint64_t hash_without = run_model(NULL, without);
    uint64_t hash_plain = run_model(GOLDEN "adapter-plain", plain);
    uint64_t hash_patterns = run_model(GOLDEN "adapter-patterns", patterns);
    assert_true(hash_without != hash_plain && hash_plain != hash_patterns);
    assert_true(!is_same(without, plain));
    assert_true(!is_same(plain, patterns));
}

static void test_an_adapter_of_another_model_is_refused(void **state)
{
    (void)state;
    struct error error = {0};
    struct model *model = NULL;
    struct backend *backend = NULL;
    const struct backend_options backend_options = {.threads = 1};
    const struct model_options options = {
        .weights = WEIGHTS_F32, .block_tokens = 16, .adapter = GOLDEN "adapter-plain"};
    struct tiny_model other = tiny;
    char path[TINY_MODEL_PATH];
    assert_true(backend_open(&backend_options, &backend, &error));
    other.layers = 1;
    tiny_model_write(&other, path);
    assert_false(model_open(path, backend, &options, &model, &error));
    assert_non_null(strstr(error.message, "no place for adapter tensor base_model.model.model."
                                          "layers.1.self_attn.q_proj.lora_A.weight (4 such"));
    tiny_model_remove(path);
    other.layers = 3;
    tiny_model_write(&other, path);
    assert_false(model_open(path, backend, &options, &model, &error));
    assert_non_null(strstr(error.message, "layers.2.self_attn.q_proj.lora_A.weight is missing"));
    tiny_model_remove(path);
    other.layers = 2;
    other.hidden = 30;
    tiny_model_write(&other, path);
    assert_false(model_open(path, backend, &options, &model, &error));
    assert_non_null(strstr(error.message, "q_proj must be [4, 30] and [24, 4]"));
    tiny_model_remove(path);
    backend_close(backend);
}

static char folder[TINY_MODEL_PATH];

static int make_folder(void **state)
{
    (void)state;
    (void)snprintf(folder, sizeof(folder), "/tmp/adapter_XXXXXX");
    return mkdtemp(folder) == NULL ? -1 : 0;
}

static int remove_folder(void **state)
{
    (void)state;
    tiny_model_remove(folder);
    return 0;
}

static void put_config(const char *json)
{
    tiny_model_put(folder, "adapter_config.json", json, strlen(json));
}

#define LORA "{\"peft_type\":\"LORA\",\"r\":4,\"lora_alpha\":8"

static void test_what_is_not_done_is_refused_by_name(void **state)
{
    (void)state;
    static const struct {
        const char *json;
        const char *message;
    } cases[] = {
        {"[]", "adapter_config.json is not a JSON object"},
        {"{\"r\":4}", "peft_type that is no text is not supported"},
        {"{\"peft_type\":\"IA3\"}", "peft_type IA3 is not supported"},
        {"{\"peft_type\":\"LORA\",\"lora_alpha\":8}", "r is missing"},
        {"{\"peft_type\":\"LORA\",\"r\":0,\"lora_alpha\":8}", "r is 0, must be from 1"},
        {"{\"peft_type\":\"LORA\",\"r\":4}", "lora_alpha is missing"},
        {LORA ",\"use_dora\":true}", "an adapter with use_dora is not supported"},
        {LORA ",\"bias\":\"all\"}", "bias all is not supported"},
        {LORA ",\"lora_bias\":true}", "an adapter with lora_bias is not supported"},
        {LORA ",\"modules_to_save\":[\"lm_head\"]}", "an adapter with modules_to_save is not"},
        {LORA ",\"target_parameters\":[\"experts.w1\"]}", "an adapter with target_parameters"},
        {LORA ",\"init_lora_weights\":\"pissa\"}", "init_lora_weights pissa is not supported"},
        {LORA ",\"rank_pattern\":{\"^model.*q_proj\":2}}", "rank_pattern ^model.*q_proj is not"},
        {LORA ",\"alpha_pattern\":{\"q_proj\":\"two\"}}", "must be a positive number"},
        {LORA ",\"use_rslora\":1}", "use_rslora must be true or false"},
        {LORA ",\"bias\":\"none\",\"modules_to_save\":null,\"use_dora\":false}",
         "cannot open"}, // its tensors
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct adapter *adapter = NULL;
        struct error error = {0};
        put_config(cases[i].json);
        assert_false(adapter_open(folder, &adapter, &error));
        assert_null(adapter);
        if (strstr(error.message, cases[i].message) == NULL) {
            fail_msg("\"%s\" does not hold \"%s\"", error.message, cases[i].message);
        }
    }
}

/* Whatever shapes the file has, they are read within it or refused. */
static void test_random_shapes_never_read_outside_the_file(void **state)
{
    (void)state;
    static const char name[] = "base_model.model.m.lora_";
    seed_random();
    put_config(LORA ",\"rank_pattern\":{\"m\":2.5e3}}");
    for (int round = 0; round < 400; round++) {
        static const int sides[] = {0, 1, 4, 8};
        int a[] = {sides[random_below(4)], sides[random_below(4)]};
        int b[] = {sides[random_below(4)], sides[random_below(4)]};
        int a_bytes = a[0] * a[1] * 4;
        int b_bytes = b[0] * b[1] * 2;
        char file[1024] = {0};
        int length =
            snprintf(file + 8, sizeof(file) - 8,
                     "{\"%sA.weight\":{\"dtype\":\"F32\",\"shape\":[%d,%d],"
                     "\"data_offsets\":[0,%d]},\"%sB.weight\":{\"dtype\":\"BF16\","
                     "\"shape\":[%d,%d],\"data_offsets\":[%d,%d]}}",
                     name, a[0], a[1], a_bytes, name, b[0], b[1], a_bytes, a_bytes + b_bytes);
        file[0] = (char)(length & 0xff);
        file[1] = (char)(length >> 8);
        put_config(random_below(2) == 0 ? LORA "}" : LORA ",\"rank_pattern\":{\"m\":2.5e3}}");
        tiny_model_put(folder, "adapter_model.safetensors", file,
                       8 + (size_t)length + (size_t)a_bytes + (size_t)b_bytes);
        struct adapter *adapter = NULL;
        struct adapter_pair pair;
        struct error error = {0};
        float values[64] = {0};
        assert_true(adapter_open(folder, &adapter, &error));
        if (adapter_find(adapter, "m", 8, 8, &pair, &error)) {
            assert_int_equal(pair.rank, 4);
            assert_true(adapter_load_into(&pair, values, &error));
        }
        adapter_close(adapter);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_adds_what_peft_adds),
        cmocka_unit_test(test_a_model_with_an_adapter_is_another_model),
        cmocka_unit_test(test_an_adapter_of_another_model_is_refused),
        cmocka_unit_test_setup_teardown(test_what_is_not_done_is_refused_by_name, make_folder,
                                        remove_folder),
        cmocka_unit_test_setup_teardown(test_random_shapes_never_read_outside_the_file, make_folder,
                                        remove_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
