/* Latent attention by the CUDA kernels, emulated: against the CPU back end, over chunks and rows.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/backend_fixture.h"
#include "tests/support/cmocka.h"
#include "tests/support/cuda/emulation.h"
#include "tests/support/cuda/kernel_fixture.h"

enum { LENGTH = 42, BLOCKS_MAX = LENGTH, TENSORS = 3 };

/* One sequence: in the first step all but its last row, in the second the last. */
struct scene {
    struct attention_shape shape;
    int q_width;
    int window;
    bool is_interleaved;
};

struct numbers {
    float *keys;     // [LENGTH, head_dim]
    float *q;        // [LENGTH, heads, q_width]
    float *absorbed; // [LENGTH, heads, head_dim]
    float *norm;
    float *rotations; // [LENGTH, head_dim - latent]
    size_t widths[TENSORS];
};

static float *fill(struct noise *noise, size_t count)
{
    float *values = malloc(count * sizeof(float));
    assert_non_null(values);
    noise_fill(noise, values, count);
    for (size_t i = 0; i < count; i++) {
        values[i] = fixture_round_bf16(values[i]);
    }
    return values;
}

static struct numbers numbers_open(struct noise *noise, const struct scene *scene)
{
    const struct attention_shape *shape = &scene->shape;
    size_t heads = (size_t)shape->heads;
    struct numbers numbers = {.widths = {(size_t)shape->head_dim, heads * (size_t)scene->q_width,
                                         heads * (size_t)shape->head_dim}};
    size_t rotated = (size_t)(shape->head_dim - shape->latent);
    numbers.keys = fill(noise, LENGTH * numbers.widths[0]);
    numbers.q = fill(noise, LENGTH * numbers.widths[1]);
    numbers.absorbed = fill(noise, LENGTH * numbers.widths[2]);
    numbers.norm = fill(noise, (size_t)shape->latent);
    numbers.rotations = fill(noise, LENGTH * rotated);
    return numbers;
}

static void numbers_close(struct numbers *numbers)
{
    free(numbers->keys);
    free(numbers->q);
    free(numbers->absorbed);
    free(numbers->norm);
    free(numbers->rotations);
}

static struct device_buffer *upload(struct backend *backend, const float *values, size_t count)
{
    return backend->activation_bytes == 2 ? fixture_upload_bf16(backend, values, count)
                                          : fixture_upload(backend, values, count * sizeof(float));
}

static void run_step(struct backend *backend, const struct scene *scene,
                     const struct numbers *numbers, struct device_buffer *kv, int first, int rows,
                     float *output)
{
    const struct attention_shape *shape = &scene->shape;
    const struct backend_operations *ops = backend->ops;
    int32_t packed[LENGTH + 2 + BLOCKS_MAX];
    size_t at = (size_t)first;
    size_t count = (size_t)rows;
    for (int i = 0; i < rows; i++) {
        packed[i] = first + i;
    }
    packed[rows] = 0;
    packed[rows + 1] = rows;
    for (int i = 0; i < BLOCKS_MAX; i++) {
        packed[rows + 2 + i] = BLOCKS_MAX - 1 - i;
    }
    struct step_arrays step = {.buffer = fixture_upload(backend, packed, sizeof(packed)),
                               .row_starts = count,
                               .block_tables = count + 2,
                               .rows = rows,
                               .sequences = 1,
                               .blocks_max = BLOCKS_MAX};
    size_t rotated = (size_t)(shape->head_dim - shape->latent);
    size_t outputs = count * (size_t)(shape->heads * shape->latent);
    float *zeros = calloc(outputs, sizeof(float));
    assert_non_null(zeros);
    struct device_buffer *keys =
        upload(backend, numbers->keys + at * numbers->widths[0], count * numbers->widths[0]);
    struct device_buffer *q =
        upload(backend, numbers->q + at * numbers->widths[1], count * numbers->widths[1]);
    struct device_buffer *absorbed =
        upload(backend, numbers->absorbed + at * numbers->widths[2], count * numbers->widths[2]);
    struct device_buffer *result = upload(backend, zeros, outputs);
    struct device_buffer *norm =
        fixture_upload(backend, numbers->norm, (size_t)shape->latent * sizeof(float));
    struct device_buffer *rotations =
        fixture_upload(backend, numbers->rotations + at * rotated, count * rotated * sizeof(float));
    struct latent_write_args write = {.step = &step,
                                      .shape = *shape,
                                      .is_interleaved = scene->is_interleaved,
                                      .rotations = rotations,
                                      .keys = keys,
                                      .norm = norm,
                                      .epsilon = 1e-5f,
                                      .q = q,
                                      .q_width = scene->q_width,
                                      .absorbed = absorbed,
                                      .kv = kv};
    struct attention_args attention = {.step = &step,
                                       .shape = *shape,
                                       .scale = 2.0f / sqrtf((float)shape->head_dim),
                                       .window = scene->window,
                                       .qkv = absorbed,
                                       .kv = kv,
                                       .output = result};
    assert_status(ops->latent_write(backend, &write));
    assert_status(ops->attention(backend, &attention));
    if (backend->activation_bytes == 2) {
        fixture_download_bf16(backend, output, result, outputs);
    } else {
        fixture_download(backend, output, result, outputs * sizeof(float));
    }
    struct device_buffer *const all[] = {step.buffer, keys, q, absorbed, result, norm, rotations};
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        ops->buffer_close(backend, all[i]);
    }
    free(zeros);
}

/* The outputs of the whole sequence, [LENGTH, heads, latent], in steps of `chunk` rows. */
static float *run(struct backend *backend, const struct scene *scene, const struct numbers *numbers,
                  int chunk)
{
    size_t row = (size_t)(scene->shape.heads * scene->shape.latent);
    float *output = malloc(LENGTH * row * sizeof(float));
    assert_non_null(output);
    struct device_buffer *kv =
        fixture_buffer(backend, BLOCKS_MAX * backend->ops->kv_block_bytes(backend, &scene->shape));
    for (int first = 0; first < LENGTH; first += chunk) {
        int rows = chunk < LENGTH - first ? chunk : LENGTH - first;
        run_step(backend, scene, numbers, kv, first, rows, output + (size_t)first * row);
    }
    backend->ops->buffer_close(backend, kv);
    backend->ops->close(backend);
    return output;
}

static void check(struct scene scene, enum emulation_order order)
{
    struct noise noise = noise_open(51);
    struct numbers numbers = numbers_open(&noise, &scene);
    struct scene exact = scene;
    exact.shape.kv_format = KV_F32;
    float *expected = run(fixture_cpu(), &exact, &numbers, LENGTH);
    emulation_set_order(order, 9);
    float *actual = run(kernel_fixture_open(false), &scene, &numbers, LENGTH - 1);
    double tolerance = scene.shape.kv_format == KV_FP8 ? 0.15 : 0.03;
    size_t row = (size_t)(scene.shape.heads * scene.shape.latent);
    for (size_t i = 0; i < LENGTH * row; i++) {
        if (!(fabs((double)actual[i] - (double)expected[i]) <= tolerance)) {
            fail_msg("row %zu, number %zu is %g, expected %g", i / row, i % row, (double)actual[i],
                     (double)expected[i]);
        }
    }
    free(actual);
    free(expected);
    numbers_close(&numbers);
}

static void test_chunks_and_rows_agree_with_the_cpu(void **state)
{
    (void)state;
    struct scene scene = {.shape = {.heads = 3,
                                    .kv_heads = 1,
                                    .head_dim = 34,
                                    .latent = 24,
                                    .block_tokens = 5,
                                    .kv_format = KV_BF16},
                          .q_width = 18};
    check(scene, EMULATION_FORWARD);
    scene.is_interleaved = true;
    scene.window = 9;
    check(scene, EMULATION_REVERSE);
    scene.shape.kv_format = KV_FP8;
    check(scene, EMULATION_RANDOM);
}

static void test_the_largest_shape_agrees_with_the_cpu(void **state)
{
    (void)state;
    struct scene scene = {.shape = {.heads = 2,
                                    .kv_heads = 1,
                                    .head_dim = 576,
                                    .latent = 512,
                                    .block_tokens = 16,
                                    .kv_format = KV_BF16},
                          .q_width = 192};
    check(scene, EMULATION_RANDOM);
}

static void test_a_row_is_the_same_however_the_prompt_is_cut(void **state)
{
    (void)state;
    struct noise noise = noise_open(52);
    struct scene scene = {.shape = {.heads = 5,
                                    .kv_heads = 1,
                                    .head_dim = 34,
                                    .latent = 24,
                                    .block_tokens = 16,
                                    .kv_format = KV_FP8},
                          .q_width = 20};
    struct numbers numbers = numbers_open(&noise, &scene);
    emulation_set_order(EMULATION_RANDOM, 11);
    float *whole = run(kernel_fixture_open(false), &scene, &numbers, LENGTH);
    float *cut = run(kernel_fixture_open(false), &scene, &numbers, 11);
    assert_memory_equal(cut, whole, LENGTH * 5 * 24 * sizeof(float));
    free(whole);
    free(cut);
    numbers_close(&numbers);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_chunks_and_rows_agree_with_the_cpu),
        cmocka_unit_test(test_the_largest_shape_agrees_with_the_cpu),
        cmocka_unit_test(test_a_row_is_the_same_however_the_prompt_is_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
