/* The numbers of the reference implementations: logits and greedy tokens of real and of random
 * models, on every instruction set of this machine. */
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/support/cmocka.h"
#include "tests/support/model_runner.h"

static const enum backend_isa isas[] = {ISA_AMX, ISA_AVX512_VNNI, ISA_AVX512, ISA_AVX2,
                                        ISA_PORTABLE};
enum { ISAS = sizeof(isas) / sizeof(isas[0]), TOKENS_MAX = 1024 };

static bool has_isa(enum backend_isa isa)
{
    struct backend_options options = {.isa = isa, .threads = 1};
    struct backend *backend = NULL;
    struct error error = {0};
    if (!backend_open(&options, &backend, &error)) {
        return false;
    }
    backend_close(backend);
    return true;
}

/* The golden file of a folder below DATA_DIR; skips the test where it is not there. */
static json_t *golden_open(const char *folder, const char *name)
{
    char path[512];
    (void)snprintf(path, sizeof(path), DATA_DIR "/%s/%s", folder, name);
    if (access(path, R_OK) != 0) {
        print_message("skipped: %s is not there\n", path);
        skip();
    }
    json_error_t problem;
    json_t *golden = json_load_file(path, 0, &problem);
    assert_non_null(golden);
    return golden;
}

static int read_ids(const json_t *array, int32_t *ids_out)
{
    int count = (int)json_array_size(array);
    assert_true(count > 0 && count <= TOKENS_MAX);
    for (int i = 0; i < count; i++) {
        ids_out[i] = (int32_t)json_integer_value(json_array_get(array, (size_t)i));
    }
    return count;
}

/* |difference| <= absolute + relative * |largest of the row| */
static void compare_row(const float *logits, const json_t *row, int vocabulary, double absolute,
                        double relative)
{
    assert_int_equal(json_array_size(row), vocabulary);
    double largest = 0;
    double worst = 0;
    for (int i = 0; i < vocabulary; i++) {
        double expected = json_number_value(json_array_get(row, (size_t)i));
        double difference = fabs((double)logits[i] - expected);
        largest = fabs(expected) > largest ? fabs(expected) : largest;
        worst = difference > worst || isnan(difference) ? difference : worst;
    }
    if (!(worst <= absolute + relative * largest)) {
        fail_msg("logits differ by %g, of %g", worst, largest);
    }
}

static void open_runner(struct model_runner *runner, const char *folder, enum backend_isa isa)
{
    char path[512];
    (void)snprintf(path, sizeof(path), DATA_DIR "/%s", folder);
    struct runner_options options = {.backend = {.isa = isa, .threads = 2}};
    model_runner_open(runner, path, &options);
}

static void check_story(const char *folder, enum backend_isa isa, const json_t *golden)
{
    struct model_runner runner;
    int32_t expected[TOKENS_MAX];
    int32_t tokens[TOKENS_MAX];
    int count = read_ids(json_object_get(golden, "greedy_ids"), expected);
    open_runner(&runner, folder, isa);
    tokens[0] = expected[0];
    model_runner_greedy(&runner, tokens, 1, count);
    assert_memory_equal(tokens, expected, sizeof(int32_t) * (size_t)count);

    const json_t *rows = json_object_get(golden, "logits");
    int rows_count = (int)json_array_size(rows);
    assert_true(rows_count > 0);
    size_t width = (size_t)runner.vocabulary;
    float *logits = malloc((size_t)rows_count * width * sizeof(float));
    assert_non_null(logits);
    model_runner_logits(&runner, expected, 0, rows_count, rows_count, logits);
    for (int r = 0; r < rows_count; r++) {
        compare_row(logits + (size_t)r * width, json_array_get(rows, (size_t)r), runner.vocabulary,
                    1e-3, 0);
    }
    free(logits);
    model_runner_close(&runner);
}

static void story(const char *folder)
{
    json_t *golden = golden_open(folder, "golden_greedy.json");
    for (int i = 0; i < ISAS; i++) {
        if (has_isa(isas[i])) {
            check_story(folder, isas[i], golden);
        }
    }
    json_decref(golden);
}

static void test_stories260k_tells_the_story_of_the_reference(void **state)
{
    (void)state;
    story("models/stories260K");
}

static void test_babyllama_tells_the_story_of_the_reference(void **state)
{
    (void)state;
    story("models/babyllama-tok105");
}

static void check_case(struct model_runner *runner, const json_t *golden_case)
{
    int32_t tokens[TOKENS_MAX];
    int32_t expected[TOKENS_MAX];
    int prompt = read_ids(json_object_get(golden_case, "ids"), tokens);
    int greedy = read_ids(json_object_get(golden_case, "greedy"), expected);
    size_t width = (size_t)runner->vocabulary;
    float *logits = malloc((size_t)prompt * width * sizeof(float));
    assert_non_null(logits);
    model_runner_logits(runner, tokens, 0, prompt, prompt, logits);
    const json_t *rows = json_object_get(golden_case, "logits");
    int rows_count = (int)json_array_size(rows);
    assert_true(rows_count > 0 && rows_count <= prompt);
    for (int r = 0; r < rows_count; r++) {
        compare_row(logits + (size_t)(prompt - rows_count + r) * width,
                    json_array_get(rows, (size_t)r), runner->vocabulary, 0, 2e-4);
    }
    free(logits);
    if (json_number_value(json_object_get(golden_case, "margin")) >= 2e-3) {
        model_runner_greedy(runner, tokens, prompt, prompt + greedy);
        assert_memory_equal(tokens + prompt, expected, sizeof(int32_t) * (size_t)greedy);
    }
}

static void family(const char *folder)
{
    json_t *golden = golden_open(folder, "golden.json");
    const json_t *cases = json_object_get(golden, "cases");
    assert_true(json_array_size(cases) > 0);
    for (int i = 0; i < ISAS; i++) {
        if (!has_isa(isas[i])) {
            continue;
        }
        struct model_runner runner;
        open_runner(&runner, folder, isas[i]);
        for (size_t c = 0; c < json_array_size(cases); c++) {
            check_case(&runner, json_array_get(cases, c));
        }
        model_runner_close(&runner);
    }
    json_decref(golden);
}

#define FAMILY_TEST(name, folder)                                                                  \
    static void test_##name##_agrees_with_transformers(void **state)                               \
    {                                                                                              \
        (void)state;                                                                               \
        family("families/" folder);                                                                \
    }

FAMILY_TEST(llama, "llama")
FAMILY_TEST(llama_linear, "llama-linear")
FAMILY_TEST(llama3_1, "llama3.1")
FAMILY_TEST(qwen2, "qwen2")
FAMILY_TEST(qwen3, "qwen3")
FAMILY_TEST(qwen3_moe, "qwen3-moe")
FAMILY_TEST(deepseek_v2, "deepseek-v2")
FAMILY_TEST(deepseek_v3, "deepseek-v3")
FAMILY_TEST(mistral, "mistral")
FAMILY_TEST(mistral_nemo, "mistral-nemo")
FAMILY_TEST(mixtral, "mixtral")

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_stories260k_tells_the_story_of_the_reference),
        cmocka_unit_test(test_babyllama_tells_the_story_of_the_reference),
        cmocka_unit_test(test_llama_agrees_with_transformers),
        cmocka_unit_test(test_llama_linear_agrees_with_transformers),
        cmocka_unit_test(test_llama3_1_agrees_with_transformers),
        cmocka_unit_test(test_qwen2_agrees_with_transformers),
        cmocka_unit_test(test_qwen3_agrees_with_transformers),
        cmocka_unit_test(test_qwen3_moe_agrees_with_transformers),
        cmocka_unit_test(test_deepseek_v2_agrees_with_transformers),
        cmocka_unit_test(test_deepseek_v3_agrees_with_transformers),
        cmocka_unit_test(test_mistral_agrees_with_transformers),
        cmocka_unit_test(test_mistral_nemo_agrees_with_transformers),
        cmocka_unit_test(test_mixtral_agrees_with_transformers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
