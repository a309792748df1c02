/* Sampling by the CUDA kernel, emulated: the CPU back end's tokens and log probabilities. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/backend_fixture.h"
#include "tests/support/cmocka.h"
#include "tests/support/cuda/emulation.h"
#include "tests/support/cuda/kernel_fixture.h"

enum { VOCABULARY = 1037, ROWS = 24, COUNTS = 9 };

struct scene {
    float logits[ROWS * VOCABULARY];
    struct sample_params params[ROWS];
    uint32_t allowed[(VOCABULARY + 31) / 32];
    struct token_count counts[COUNTS];
};

struct results {
    int32_t tokens[ROWS];
    float logprobs[ROWS];
};

static struct results run(struct backend *backend, const struct scene *scene)
{
    struct results results = {{0}, {0}};
    struct device_buffer *logits = fixture_upload(backend, scene->logits, sizeof(scene->logits));
    struct device_buffer *tokens = fixture_buffer(backend, sizeof(results.tokens));
    struct device_buffer *logprobs = fixture_buffer(backend, sizeof(results.logprobs));
    struct sample_args args = {.logits = logits,
                               .rows = ROWS,
                               .vocabulary = VOCABULARY,
                               .params = scene->params,
                               .tokens = tokens,
                               .logprobs = logprobs};
    assert_status(backend->ops->sample(backend, &args));
    fixture_download(backend, results.tokens, tokens, sizeof(results.tokens));
    fixture_download(backend, results.logprobs, logprobs, sizeof(results.logprobs));
    backend->ops->buffer_close(backend, logits);
    backend->ops->buffer_close(backend, tokens);
    backend->ops->buffer_close(backend, logprobs);
    backend->ops->close(backend);
    return results;
}

static void check(const struct scene *scene, enum emulation_order order)
{
    struct results expected = run(fixture_cpu(), scene);
    emulation_set_order(order, 5);
    struct results actual = run(kernel_fixture_open(false), scene);
    for (int i = 0; i < ROWS; i++) {
        if (actual.tokens[i] != expected.tokens[i]) {
            fail_msg("row %d: token %d, expected %d", i, actual.tokens[i], expected.tokens[i]);
        }
        assert_float_equal(actual.logprobs[i], expected.logprobs[i], 1e-5f);
    }
}

/* Rows with all combinations of filters, edits among them. */
static struct scene *scene_open(struct noise *noise)
{
    struct scene *scene = calloc(1, sizeof(*scene));
    assert_non_null(scene);
    noise_fill(noise, scene->logits, ROWS * VOCABULARY);
    for (size_t i = 0; i < ROWS * VOCABULARY; i++) {
        scene->logits[i] *= 6.0f;
    }
    for (size_t i = 0; i < sizeof(scene->allowed) / sizeof(scene->allowed[0]); i++) {
        scene->allowed[i] = (uint32_t)noise_below(noise, 1 << 30);
    }
    for (int i = 0; i < COUNTS; i++) {
        scene->counts[i] = (struct token_count){i * 100 + noise_below(noise, 100), i % 3};
    }
    for (int i = 0; i < ROWS; i++) {
        bool is_edited = i % 5 == 4;
        scene->params[i] = (struct sample_params){
            .temperature = i % 6 == 5 ? 0.0f : 0.4f + 0.2f * (float)(i % 8),
            .top_p = (i & 1) != 0 ? 0.8f : 1.0f,
            .top_k = (i & 2) != 0 ? 1 + noise_below(noise, 60) : 0,
            .min_p = (i & 4) != 0 ? 0.05f : 0.0f,
            .seed = 1000u + (uint64_t)i,
            .position = (uint32_t)noise_below(noise, 5000),
            .frequency_penalty = 0.7f,
            .presence_penalty = 0.3f,
            .repetition_penalty = 1.3f,
            .output_counts = is_edited || i % 7 == 6 ? scene->counts : NULL,
            .output_counts_count = is_edited || i % 7 == 6 ? COUNTS : 0,
            .allowed = is_edited ? scene->allowed : NULL,
        };
    }
    return scene;
}

static void test_filtered_rows_get_the_tokens_of_the_cpu(void **state)
{
    (void)state;
    struct noise noise = noise_open(31);
    struct scene *scene = scene_open(&noise);
    for (enum emulation_order order = EMULATION_FORWARD; order <= EMULATION_RANDOM; order++) {
        check(scene, order);
    }
    free(scene);
}

/* Few different logits, so that most tokens share their weight with others. */
static void test_equal_weights_are_taken_in_the_order_of_ids(void **state)
{
    (void)state;
    struct noise noise = noise_open(32);
    struct scene *scene = scene_open(&noise);
    for (size_t i = 0; i < ROWS * VOCABULARY; i++) {
        scene->logits[i] = floorf(scene->logits[i] / 2);
    }
    check(scene, EMULATION_RANDOM);
    free(scene);
}

static void test_rows_that_are_not_finite_or_not_allowed_get_no_token(void **state)
{
    (void)state;
    struct noise noise = noise_open(33);
    struct scene *scene = scene_open(&noise);
    static const uint32_t none[(VOCABULARY + 31) / 32];
    scene->logits[1 * VOCABULARY + 700] = NAN;
    scene->logits[2 * VOCABULARY + 1036] = INFINITY;
    scene->logits[3 * VOCABULARY] = -INFINITY;
    scene->params[4].allowed = none;
    check(scene, EMULATION_RANDOM);
    struct results expected = run(fixture_cpu(), scene);
    for (int i = 0; i < ROWS; i++) {
        assert_int_equal(expected.tokens[i] == -1, i >= 1 && i <= 4);
    }
    free(scene);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_filtered_rows_get_the_tokens_of_the_cpu),
        cmocka_unit_test(test_equal_weights_are_taken_in_the_order_of_ids),
        cmocka_unit_test(test_rows_that_are_not_finite_or_not_allowed_get_no_token),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
