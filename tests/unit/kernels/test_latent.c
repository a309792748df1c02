/* Latent attention: the products of heads, shared keys on their way to the cache, and attention
 * over them; against double precision, and independent of how the sequence is cut. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/backend_fixture.h"
#include "tests/support/cmocka.h"

enum {
    LENGTH = 90,
    HEADS = 70, // more than one task takes
    LATENT = 24,
    ROTATED = 8,
    KEY = LATENT + ROTATED,
    PLAIN = 10,
    Q = PLAIN + ROTATED,
    BLOCK = 16,
    BLOCKS = (LENGTH + BLOCK - 1) / BLOCK,
};

static const float scale = 0.3f;
static const double epsilon = 1e-5;

static struct scene {
    float keys[LENGTH * KEY];
    float q[LENGTH * HEADS * Q];
    float absorbed[LENGTH * HEADS * KEY]; // its last ROTATED are not set yet
    float norm[LATENT];
    float frequencies[ROTATED / 2];
    bool is_interleaved;
} scene;

static void scene_make(bool is_interleaved)
{
    struct noise noise = noise_open(31);
    noise_fill(&noise, scene.keys, sizeof(scene.keys) / sizeof(float));
    noise_fill(&noise, scene.q, sizeof(scene.q) / sizeof(float));
    noise_fill(&noise, scene.absorbed, sizeof(scene.absorbed) / sizeof(float));
    noise_fill(&noise, scene.norm, LATENT);
    for (int i = 0; i < ROTATED / 2; i++) {
        scene.frequencies[i] = (float)pow(100.0, -2.0 * i / ROTATED);
    }
    scene.is_interleaved = is_interleaved;
}

/* Device memory of a run. */
struct run {
    struct device_buffer *frequencies, *rotations, *keys, *norm, *q, *absorbed, *kv, *output;
};

static const struct attention_shape shape = {
    .heads = HEADS, .kv_heads = 1, .head_dim = KEY, .latent = LATENT, .block_tokens = BLOCK};

/* Rows first .. first + rows - 1 of the only sequence. Blocks are used backwards. */
static struct step_arrays upload_step(struct backend *backend, int first, int rows)
{
    int32_t packed[LENGTH + 2 + BLOCKS];
    for (int r = 0; r < rows; r++) {
        packed[r] = first + r;
    }
    packed[rows] = 0;
    packed[rows + 1] = rows;
    for (int b = 0; b < BLOCKS; b++) {
        packed[rows + 2 + b] = BLOCKS - 1 - b;
    }
    return (struct step_arrays){.buffer = fixture_upload(backend, packed, sizeof(packed)),
                                .row_starts = (size_t)rows,
                                .block_tables = (size_t)rows + 2,
                                .rows = rows,
                                .sequences = 1,
                                .blocks_max = BLOCKS};
}

static void run_step(struct backend *backend, const struct run *run, int first, int rows,
                     float *outputs)
{
    const struct backend_operations *ops = backend->ops;
    size_t f = (size_t)first;
    size_t n = (size_t)rows;
    struct step_arrays step = upload_step(backend, first, rows);
    assert_status(
        ops->copy_in(backend, run->keys, 0, scene.keys + f * KEY, n * KEY * sizeof(float)));
    assert_status(
        ops->copy_in(backend, run->q, 0, scene.q + f * HEADS * Q, n * HEADS * Q * sizeof(float)));
    assert_status(ops->copy_in(backend, run->absorbed, 0, scene.absorbed + f * HEADS * KEY,
                               n * HEADS * KEY * sizeof(float)));
    struct rope_angles_args angles = {.step = &step,
                                      .inverse_frequencies = run->frequencies,
                                      .rotations = run->rotations,
                                      .head_dim = ROTATED};
    struct latent_write_args write = {.step = &step,
                                      .shape = shape,
                                      .is_interleaved = scene.is_interleaved,
                                      .rotations = run->rotations,
                                      .keys = run->keys,
                                      .norm = run->norm,
                                      .epsilon = (float)epsilon,
                                      .q = run->q,
                                      .q_width = Q,
                                      .absorbed = run->absorbed,
                                      .kv = run->kv};
    struct attention_args attention = {.step = &step,
                                       .shape = shape,
                                       .scale = scale,
                                       .qkv = run->absorbed,
                                       .kv = run->kv,
                                       .output = run->output};
    assert_status(ops->rope_angles(backend, &angles));
    assert_status(ops->latent_write(backend, &write));
    assert_status(ops->attention(backend, &attention));
    fixture_download(backend, outputs + f * HEADS * LATENT, run->output,
                     n * HEADS * LATENT * sizeof(float));
    ops->buffer_close(backend, step.buffer);
}

static void run_scene(struct backend *backend, int chunk, float *outputs)
{
    const struct backend_operations *ops = backend->ops;
    struct run run = {
        .frequencies = fixture_upload(backend, scene.frequencies, sizeof(scene.frequencies)),
        .rotations = fixture_buffer(backend, LENGTH * ROTATED * sizeof(float)),
        .keys = fixture_buffer(backend, sizeof(scene.keys)),
        .norm = fixture_upload(backend, scene.norm, sizeof(scene.norm)),
        .q = fixture_buffer(backend, sizeof(scene.q)),
        .absorbed = fixture_buffer(backend, sizeof(scene.absorbed)),
        .kv = fixture_buffer(backend, BLOCKS * ops->kv_block_bytes(backend, &shape)),
        .output = fixture_buffer(backend, LENGTH * HEADS * LATENT * sizeof(float)),
    };
    for (int first = 0; first < LENGTH; first += chunk) {
        run_step(backend, &run, first, LENGTH - first < chunk ? LENGTH - first : chunk, outputs);
    }
    struct device_buffer *const all[] = {run.frequencies, run.rotations, run.keys, run.norm,
                                         run.q,           run.absorbed,  run.kv,   run.output};
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        ops->buffer_close(backend, all[i]);
    }
}

static void turn(const float *source, int position, double *target)
{
    for (int i = 0; i < ROTATED / 2; i++) {
        int first = scene.is_interleaved ? 2 * i : i;
        int second = scene.is_interleaved ? 2 * i + 1 : i + ROTATED / 2;
        double angle = (double)((float)position * scene.frequencies[i]);
        target[first] = (double)source[first] * cos(angle) - (double)source[second] * sin(angle);
        target[second] = (double)source[second] * cos(angle) + (double)source[first] * sin(angle);
    }
}

static void key_at(int position, double *key)
{
    const float *source = scene.keys + position * KEY;
    double squares = 0;
    for (int i = 0; i < LATENT; i++) {
        squares += (double)source[i] * (double)source[i];
    }
    for (int i = 0; i < LATENT; i++) {
        key[i] = (double)source[i] / sqrt(squares / LATENT + epsilon) * (double)scene.norm[i];
    }
    turn(source + LATENT, position, key + LATENT);
}

static void expected_output(int position, int head, double *out)
{
    static double keys[LENGTH][KEY];
    double weights[LENGTH];
    double query[KEY];
    double sum = 0;
    size_t at = (size_t)(position * HEADS + head);
    for (int i = 0; i < LATENT; i++) {
        query[i] = (double)scene.absorbed[at * KEY + (size_t)i];
    }
    turn(scene.q + at * Q + PLAIN, position, query + LATENT);
    for (int p = 0; p <= position; p++) {
        double dot = 0;
        key_at(p, keys[p]);
        for (int i = 0; i < KEY; i++) {
            dot += query[i] * keys[p][i];
        }
        weights[p] = exp(dot * (double)scale);
        sum += weights[p];
    }
    for (int i = 0; i < LATENT; i++) {
        out[i] = 0;
        for (int p = 0; p <= position; p++) {
            out[i] += weights[p] / sum * keys[p][i];
        }
    }
}

static void check_scene(struct backend *backend)
{
    static float whole[LENGTH * HEADS * LATENT];
    static float cut[LENGTH * HEADS * LATENT];
    double expected[LATENT];
    run_scene(backend, LENGTH, whole);
    for (int p = 0; p < LENGTH; p += 11) {
        for (int h = 0; h < HEADS; h += 23) {
            expected_output(p, h, expected);
            assert_close(whole + (size_t)(p * HEADS + h) * LATENT, expected, LATENT, 2e-5);
        }
    }
    static const int chunks[] = {1, 7, 64};
    for (int c = 0; c < 3; c++) {
        run_scene(backend, chunks[c], cut);
        assert_memory_equal(cut, whole, sizeof(whole));
    }
}

static void test_latent_attention_agrees_with_double_precision_however_it_is_cut(void **state)
{
    (void)state;
    scene_make(true);
    each_backend(2, check_scene);
    scene_make(false);
    each_backend(1, check_scene);
}

enum { WIDE = 35, ROWS = 131, FEW_HEADS = 3 };

static void check_heads(struct backend *backend)
{
    static float matrices[FEW_HEADS][LATENT * PLAIN];
    static float input[ROWS * FEW_HEADS * Q];
    static float output[ROWS * FEW_HEADS * WIDE];
    struct noise noise = noise_open(32);
    struct weight *weights[FEW_HEADS];
    const struct backend_operations *ops = backend->ops;
    noise_fill(&noise, input, sizeof(input) / sizeof(float));
    for (int h = 0; h < FEW_HEADS; h++) {
        noise_fill(&noise, matrices[h], LATENT * PLAIN);
        struct weight_part part = {.data = matrices[h], .dtype = DTYPE_F32, .rows = LATENT};
        struct weight_source source = {.parts = &part,
                                       .parts_count = 1,
                                       .columns = PLAIN,
                                       .format = WEIGHTS_F32,
                                       .is_for_heads = true};
        assert_status(ops->weight_open(backend, &source, &weights[h]));
    }
    struct device_buffer *input_buffer = fixture_upload(backend, input, sizeof(input));
    struct head_linear_args args = {.weights = weights,
                                    .heads = FEW_HEADS,
                                    .input = input_buffer,
                                    .input_width = Q,
                                    .output = fixture_buffer(backend, sizeof(output)),
                                    .output_width = WIDE,
                                    .rows = ROWS};
    assert_status(ops->head_linear(backend, &args));
    fixture_download(backend, output, args.output, sizeof(output));
    for (int i = 0; i < ROWS * FEW_HEADS; i++) {
        double expected[WIDE] = {0}; // what lies behind the product is left alone
        for (int o = 0; o < LATENT; o++) {
            for (int k = 0; k < PLAIN; k++) {
                expected[o] +=
                    (double)input[i * Q + k] * (double)matrices[i % FEW_HEADS][o * PLAIN + k];
            }
        }
        assert_close(output + (size_t)i * WIDE, expected, WIDE, 1e-5);
    }
    args.input_width = PLAIN - 1;
    assert_int_equal(ops->head_linear(backend, &args), KERNEL_BAD_SHAPE);
    for (int h = 0; h < FEW_HEADS; h++) {
        ops->weight_close(backend, weights[h]);
    }
    ops->buffer_close(backend, input_buffer);
    ops->buffer_close(backend, args.output);
}

static void test_each_head_is_multiplied_by_its_own_matrix(void **state)
{
    (void)state;
    each_backend(2, check_heads);
}

static void check_bad(struct backend *backend)
{
    static const struct attention_shape bad[] = {
        {.heads = 4, .kv_heads = 2, .head_dim = 32, .latent = 24, .block_tokens = 16},
        {.heads = 4, .kv_heads = 1, .head_dim = 32, .latent = 0, .block_tokens = 16},
        {.heads = 4, .kv_heads = 1, .head_dim = 32, .latent = 33, .block_tokens = 16},
        {.heads = 4, .kv_heads = 1, .head_dim = 32, .latent = 23, .block_tokens = 16},
        {.heads = 4, .kv_heads = 1, .head_dim = 4096, .latent = 24, .block_tokens = 16},
    };
    struct step_arrays step = {0};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct latent_write_args args = {.step = &step, .shape = bad[i], .q_width = 16};
        assert_int_equal(backend->ops->latent_write(backend, &args), KERNEL_BAD_SHAPE);
    }
}

static void test_impossible_shapes_are_refused(void **state)
{
    (void)state;
    each_backend(1, check_bad);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_latent_attention_agrees_with_double_precision_however_it_is_cut),
        cmocka_unit_test(test_each_head_is_multiplied_by_its_own_matrix),
        cmocka_unit_test(test_impossible_shapes_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
