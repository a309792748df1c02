/* Whole models on the emulated device: logits against those of the CPU in f32.
 *
 * The bounds are half again what was seen. What was seen fits the formats: a few products in a row,
 * each with operands of 2^-9 (bf16) or 2^-4 (fp8) off, give 0.02 and 0.18. */
#include <math.h>
#include <stdlib.h>
#include <unistd.h>

#include "tests/support/cmocka.h"
#include "tests/support/cuda/cuda_fixture.h"
#include "tests/support/model_runner.h"

enum { TOKENS = 21, CHUNK = 8 };

static float *logits_of(const char *path, const struct runner_options *options)
{
    struct model_runner runner;
    int32_t tokens[TOKENS];
    model_runner_open(&runner, path, options);
    for (int i = 0; i < TOKENS; i++) {
        tokens[i] = (int32_t)((unsigned)(i + 1) * 2654435761u % (unsigned)runner.vocabulary);
    }
    float *logits = malloc((size_t)TOKENS * (size_t)runner.vocabulary * sizeof(*logits));
    assert_non_null(logits);
    // Chunks that see the cache, then single rows, which other kernels attend for.
    model_runner_logits(&runner, tokens, 0, TOKENS - 3, CHUNK, logits);
    model_runner_logits(&runner, tokens, TOKENS - 3, TOKENS, 1,
                        logits + (size_t)(TOKENS - 3) * (size_t)runner.vocabulary);
    model_runner_close(&runner);
    return logits;
}

static int vocabulary_of(const char *path)
{
    struct model_config config;
    struct error error = {0};
    assert_true(model_config_load(path, &config, &error));
    return config.vocabulary;
}

/* How far logits are from the CPU's, as a share of their own size: root mean squares. */
static double distance(const char *path, enum weight_format weights, enum kv_format kv_format)
{
    struct runner_options exact = {.backend = {.device = BACKEND_CPU, .threads = 1}};
    struct runner_options rounded = {.backend = {.device = BACKEND_CUDA},
                                     .weights = weights,
                                     .kv_format = kv_format,
                                     .open = cuda_fixture_open_emulated};
    float *expected = logits_of(path, &exact);
    float *actual = logits_of(path, &rounded);
    size_t count = (size_t)TOKENS * (size_t)vocabulary_of(path);
    double size = 0;
    double off = 0;
    for (size_t i = 0; i < count; i++) {
        double difference = (double)actual[i] - (double)expected[i];
        size += (double)expected[i] * (double)expected[i];
        off += difference * difference;
    }
    free(expected);
    free(actual);
    return sqrt(off / size);
}

static void check(const char *path, enum weight_format weights, enum kv_format kv_format,
                  double most)
{
    if (access(path, R_OK) != 0) {
        print_message("%s is not there\n", path);
        skip();
    }
    double share = distance(path, weights, kv_format);
    print_message("  %s: %.4f\n", path, share);
    assert_true(share <= most); // false for NaN
}

static void test_families_give_the_logits_of_the_cpu_within_bf16(void **state)
{
    (void)state;
    check(DATA_DIR "/families/llama3.1", WEIGHTS_BF16, KV_BF16, 0.03);
    check(DATA_DIR "/families/qwen2", WEIGHTS_BF16, KV_BF16, 0.03);
    check(DATA_DIR "/families/qwen3", WEIGHTS_BF16, KV_BF16, 0.03);
    check(DATA_DIR "/families/mistral", WEIGHTS_BF16, KV_BF16, 0.03);
    check(DATA_DIR "/families/mixtral", WEIGHTS_BF16, KV_BF16, 0.05);
    check(DATA_DIR "/families/deepseek-v2", WEIGHTS_BF16, KV_BF16, 0.05);
}

static void test_fp8_is_near(void **state)
{
    (void)state;
    check(DATA_DIR "/families/llama3.1", WEIGHTS_FP8, KV_BF16, 0.27);
    check(DATA_DIR "/families/llama3.1", WEIGHTS_BF16, KV_FP8, 0.1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_families_give_the_logits_of_the_cpu_within_bf16),
        cmocka_unit_test(test_fp8_is_near),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
