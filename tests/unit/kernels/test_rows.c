/* Operations on single rows: embedding, norm, activation, gather, copies. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/backend_fixture.h"
#include "tests/support/cmocka.h"

enum { ROWS = 37, WIDTH_MAX = 700 };
static const int widths[] = {1, 15, 16, 17, 64, 333, WIDTH_MAX};
enum { WIDTHS = sizeof(widths) / sizeof(widths[0]) };

/* Random rows in host and device memory. */
struct rows {
    float values[ROWS * 2 * WIDTH_MAX];
    struct device_buffer *buffer;
    size_t bytes;
};

static void rows_fill(struct backend *backend, struct noise *noise, struct rows *rows, int count,
                      int width)
{
    size_t numbers = (size_t)count * (size_t)width;
    noise_fill(noise, rows->values, numbers);
    rows->bytes = numbers * sizeof(float);
    rows->buffer = fixture_upload(backend, rows->values, rows->bytes);
}

static void check_norm_width(struct backend *backend, struct noise *noise, int width)
{
    static struct rows residual;
    static struct rows delta;
    static struct rows scale;
    static double expected[ROWS * WIDTH_MAX];
    static float actual[ROWS * WIDTH_MAX];
    rows_fill(backend, noise, &residual, ROWS, width);
    rows_fill(backend, noise, &delta, ROWS, width);
    rows_fill(backend, noise, &scale, 1, width);
    struct device_buffer *output = fixture_buffer(backend, residual.bytes);
    for (int has_delta = 0; has_delta < 2; has_delta++) {
        struct add_norm_args args = {
            .residual = residual.buffer,
            .delta = has_delta != 0 ? delta.buffer : NULL,
            .scale = scale.buffer,
            .output = output,
            .rows = ROWS,
            .width = width,
            .epsilon = 1e-5f,
        };
        assert_status(backend->ops->add_norm(backend, &args));
        for (int r = 0; r < ROWS; r++) {
            double squares = 0;
            for (int i = 0; i < width; i++) {
                float *x = &residual.values[r * width + i];
                *x += has_delta != 0 ? delta.values[r * width + i] : 0.0f;
                squares += (double)*x * (double)*x;
            }
            double factor = 1 / sqrt(squares / width + 1e-5);
            for (int i = 0; i < width; i++) {
                expected[r * width + i] =
                    (double)residual.values[r * width + i] * factor * (double)scale.values[i];
            }
        }
        fixture_download(backend, actual, output, residual.bytes);
        assert_close(actual, expected, (size_t)(ROWS * width), 2e-6 * sqrt(width));
        fixture_download(backend, actual, residual.buffer, residual.bytes);
        assert_memory_equal(actual, residual.values, residual.bytes);
    }
    backend->ops->buffer_close(backend, residual.buffer);
    backend->ops->buffer_close(backend, delta.buffer);
    backend->ops->buffer_close(backend, scale.buffer);
    backend->ops->buffer_close(backend, output);
}

static void check_norm(struct backend *backend)
{
    struct noise noise = noise_open(31);
    for (int i = 0; i < WIDTHS; i++) {
        check_norm_width(backend, &noise, widths[i]);
    }
}

static void test_norm_adds_and_normalizes_every_width(void **state)
{
    (void)state;
    each_backend(2, check_norm);
}

static void check_sum(struct backend *backend)
{
    static struct rows residual;
    static struct rows delta;
    static float actual[ROWS * WIDTH_MAX];
    struct noise noise = noise_open(33);
    enum { WIDTH = 333 };
    rows_fill(backend, &noise, &residual, ROWS, WIDTH);
    rows_fill(backend, &noise, &delta, ROWS, WIDTH);
    struct device_buffer *output = fixture_buffer(backend, residual.bytes);
    struct add_norm_args args = {.residual = residual.buffer,
                                 .delta = delta.buffer,
                                 .output = output,
                                 .rows = ROWS,
                                 .width = WIDTH};
    for (int i = 0; i < ROWS * WIDTH; i++) {
        residual.values[i] += delta.values[i];
    }
    for (int has_delta = 1; has_delta >= 0; has_delta--) {
        args.delta = has_delta != 0 ? delta.buffer : NULL;
        assert_status(backend->ops->add_norm(backend, &args));
        fixture_download(backend, actual, output, residual.bytes);
        assert_memory_equal(actual, residual.values, residual.bytes);
        fixture_download(backend, actual, residual.buffer, residual.bytes);
        assert_memory_equal(actual, residual.values, residual.bytes);
    }
    backend->ops->buffer_close(backend, residual.buffer);
    backend->ops->buffer_close(backend, delta.buffer);
    backend->ops->buffer_close(backend, output);
}

static void test_a_norm_without_a_scale_only_adds(void **state)
{
    (void)state;
    each_backend(2, check_sum);
}

static void expect_layer_norm(const float *x, const float *scale, const float *bias, int width,
                              double *expected)
{
    double mean = 0;
    double squares = 0;
    for (int i = 0; i < width; i++) {
        mean += (double)x[i] / width;
    }
    for (int i = 0; i < width; i++) {
        squares += ((double)x[i] - mean) * ((double)x[i] - mean);
    }
    double factor = 1 / sqrt(squares / width + 1e-5);
    for (int i = 0; i < width; i++) {
        expected[i] = ((double)x[i] - mean) * factor * (double)scale[i] + (double)bias[i];
    }
}

static void check_layer_norm_width(struct backend *backend, struct noise *noise, int width)
{
    static struct rows residual;
    static struct rows delta;
    static struct rows scale;
    static struct rows bias;
    static double expected[ROWS * WIDTH_MAX];
    static float actual[ROWS * WIDTH_MAX];
    rows_fill(backend, noise, &residual, ROWS, width);
    rows_fill(backend, noise, &delta, ROWS, width);
    rows_fill(backend, noise, &scale, 1, width);
    rows_fill(backend, noise, &bias, 1, width);
    struct add_norm_args args = {
        .residual = residual.buffer,
        .delta = delta.buffer,
        .scale = scale.buffer,
        .bias = bias.buffer,
        .output = residual.buffer,
        .rows = ROWS,
        .width = width,
        .epsilon = 1e-5f,
    };
    assert_status(backend->ops->add_norm(backend, &args));
    for (int r = 0; r < ROWS; r++) {
        float *row = &residual.values[r * width];
        for (int i = 0; i < width; i++) {
            row[i] += delta.values[r * width + i];
        }
        expect_layer_norm(row, scale.values, bias.values, width, expected + r * width);
    }
    fixture_download(backend, actual, residual.buffer, residual.bytes);
    assert_close(actual, expected, (size_t)(ROWS * width), 4e-6 * sqrt(width));
    backend->ops->buffer_close(backend, residual.buffer);
    backend->ops->buffer_close(backend, delta.buffer);
    backend->ops->buffer_close(backend, scale.buffer);
    backend->ops->buffer_close(backend, bias.buffer);
}

static void check_layer_norm(struct backend *backend)
{
    struct noise noise = noise_open(34);
    for (int i = 1; i < WIDTHS; i++) { // of one number there is no deviation
        check_layer_norm_width(backend, &noise, widths[i]);
    }
}

static void test_norm_with_a_bias_takes_the_mean_off_in_place(void **state)
{
    (void)state;
    each_backend(2, check_layer_norm);
}

static void check_gelu(struct backend *backend)
{
    enum { WIDTH = 333 };
    static struct rows input;
    static double expected[ROWS * WIDTH];
    static float actual[ROWS * WIDTH];
    struct noise noise = noise_open(35);
    rows_fill(backend, &noise, &input, ROWS, WIDTH);
    for (int i = 0; i < ROWS * WIDTH; i++) {
        input.values[i] *= i % 2 == 0 ? 3.0f : 40.0f;
    }
    input.values[0] = 0;
    assert_status(backend->ops->copy_in(backend, input.buffer, 0, input.values, input.bytes));
    struct device_buffer *output = fixture_buffer(backend, input.bytes);
    assert_status(backend->ops->gelu(backend, input.buffer, output, ROWS, WIDTH));
    fixture_download(backend, actual, output, input.bytes);
    for (int i = 0; i < ROWS * WIDTH; i++) {
        double x = (double)input.values[i];
        expected[i] = x / 2 * erfc(-x / sqrt(2));
    }
    assert_close(actual, expected, (size_t)(ROWS * WIDTH), 4e-6); // of numbers up to 40
    backend->ops->buffer_close(backend, input.buffer);
    backend->ops->buffer_close(backend, output);
}

static void test_gelu_is_right_far_into_both_ends(void **state)
{
    (void)state;
    each_backend(2, check_gelu);
}

static void check_silu_width(struct backend *backend, struct noise *noise, int width)
{
    static struct rows input;
    static double expected[ROWS * WIDTH_MAX];
    static float actual[ROWS * WIDTH_MAX];
    noise_fill(noise, input.values, (size_t)(ROWS * 2 * width));
    for (int i = 0; i < ROWS * 2 * width; i++) {
        input.values[i] *= 30.0f;
    }
    input.values[0] = 200.0f; // far into both ends
    input.values[2 * width] = -200.0f;
    input.buffer =
        fixture_upload(backend, input.values, (size_t)(ROWS * 2 * width) * sizeof(float));
    size_t bytes = (size_t)(ROWS * width) * sizeof(float);
    struct device_buffer *output = fixture_buffer(backend, bytes);
    assert_status(backend->ops->silu_mul(backend, input.buffer, output, ROWS, width));
    fixture_download(backend, actual, output, bytes);
    for (int r = 0; r < ROWS; r++) {
        for (int i = 0; i < width; i++) {
            double gate = (double)input.values[r * 2 * width + i];
            double up = (double)input.values[r * 2 * width + width + i];
            expected[r * width + i] = gate / (1 + exp(-gate)) * up;
        }
    }
    assert_close(actual, expected, (size_t)(ROWS * width), 2e-3); // of numbers up to 6,000
    backend->ops->buffer_close(backend, input.buffer);
    backend->ops->buffer_close(backend, output);
}

static void check_silu(struct backend *backend)
{
    struct noise noise = noise_open(32);
    for (int i = 0; i < WIDTHS; i++) {
        check_silu_width(backend, &noise, widths[i]);
    }
}

static void test_silu_mul_is_right_far_into_both_ends(void **state)
{
    (void)state;
    each_backend(2, check_silu);
}

static void check_embed_and_gather(struct backend *backend)
{
    enum { VOCABULARY = 11, WIDTH = 19 };
    struct noise noise = noise_open(33);
    float table[VOCABULARY * WIDTH];
    uint16_t halves[VOCABULARY * WIDTH];
    noise_fill(&noise, table, VOCABULARY * WIDTH);
    for (int i = 0; i < VOCABULARY * WIDTH; i++) {
        halves[i] = dtype_f32_to_bf16(table[i]);
        table[i] = dtype_bf16_to_f32(halves[i]);
    }
    struct weight_part part = {.data = halves, .dtype = DTYPE_BF16, .rows = VOCABULARY};
    struct device_buffer *device_table = NULL;
    assert_status(backend->ops->table_open(backend, &part, WIDTH, &device_table));
    int32_t arrays[] = {10, 0, 3, 3, 0, 2}; // four tokens, two wanted rows
    struct step_arrays step = {.tokens = 0, .logit_rows = 4, .rows = 4};
    step.buffer = fixture_upload(backend, arrays, sizeof(arrays));
    struct device_buffer *rows = fixture_buffer(backend, 4 * WIDTH * sizeof(float));
    struct device_buffer *wanted = fixture_buffer(backend, 2 * WIDTH * sizeof(float));
    struct embed_args args = {.table = device_table, .step = &step, .output = rows, .width = WIDTH};
    assert_status(backend->ops->embed(backend, &args));
    struct gather_args gather = {.indices = step.buffer,
                                 .first = step.logit_rows,
                                 .input = rows,
                                 .output = wanted,
                                 .count = 2,
                                 .width = WIDTH};
    assert_status(backend->ops->gather_rows(backend, &gather));
    float actual[4 * WIDTH];
    fixture_download(backend, actual, rows, sizeof(actual));
    for (int r = 0; r < 4; r++) {
        assert_memory_equal(actual + r * WIDTH, table + arrays[r] * WIDTH, WIDTH * sizeof(float));
    }
    fixture_download(backend, actual, wanted, 2 * WIDTH * sizeof(float));
    assert_memory_equal(actual, table + 10 * WIDTH, WIDTH * sizeof(float));
    assert_memory_equal(actual + WIDTH, table + 3 * WIDTH, WIDTH * sizeof(float));
    backend->ops->buffer_close(backend, device_table);
    backend->ops->buffer_close(backend, step.buffer);
    backend->ops->buffer_close(backend, rows);
    backend->ops->buffer_close(backend, wanted);
}

static void test_embedding_and_gather_pick_rows(void **state)
{
    (void)state;
    each_backend(1, check_embed_and_gather);
}

static void check_positions(struct backend *backend)
{
    enum { TOKENS = 5, POSITIONS = 7, WIDTH = 70 };
    struct noise noise = noise_open(36);
    float table[TOKENS * WIDTH];
    float positions[POSITIONS * WIDTH];
    noise_fill(&noise, table, TOKENS * WIDTH);
    noise_fill(&noise, positions, POSITIONS * WIDTH);
    struct weight_part part = {.data = table, .dtype = DTYPE_F32, .rows = TOKENS};
    struct weight_part position_part = {.data = positions, .dtype = DTYPE_F32, .rows = POSITIONS};
    struct device_buffer *tables[2] = {NULL, NULL};
    assert_status(backend->ops->table_open(backend, &part, WIDTH, &tables[0]));
    assert_status(backend->ops->table_open(backend, &position_part, WIDTH, &tables[1]));
    int32_t arrays[] = {4, 0, 3, 6, 0, 2}; // three tokens and their positions
    struct step_arrays step = {.tokens = 0, .positions = 3, .rows = 3};
    step.buffer = fixture_upload(backend, arrays, sizeof(arrays));
    struct device_buffer *rows = fixture_buffer(backend, 3 * WIDTH * sizeof(float));
    struct embed_args args = {.table = tables[0],
                              .position_table = tables[1],
                              .step = &step,
                              .output = rows,
                              .width = WIDTH};
    assert_status(backend->ops->embed(backend, &args));
    float actual[3 * WIDTH];
    double expected[3 * WIDTH];
    fixture_download(backend, actual, rows, sizeof(actual));
    for (int i = 0; i < 3 * WIDTH; i++) {
        expected[i] = (double)table[arrays[i / WIDTH] * WIDTH + i % WIDTH] +
                      (double)positions[arrays[3 + i / WIDTH] * WIDTH + i % WIDTH];
    }
    assert_close(actual, expected, 3 * WIDTH, 1e-6);
    backend->ops->buffer_close(backend, tables[0]);
    backend->ops->buffer_close(backend, tables[1]);
    backend->ops->buffer_close(backend, step.buffer);
    backend->ops->buffer_close(backend, rows);
}

static void test_embedding_adds_a_table_of_positions(void **state)
{
    (void)state;
    each_backend(1, check_positions);
}

static void check_copies(struct backend *backend)
{
    const struct backend_operations *ops = backend->ops;
    char zero[8] = {0};
    char data[8] = "seven..";
    struct device_buffer *buffer = fixture_buffer(backend, 8);
    fixture_download(backend, data, buffer, 8);
    assert_memory_equal(data, zero, 8); // fresh memory is zeroed
    assert_int_equal(ops->copy_in(backend, buffer, 1, data, 8), KERNEL_BAD_SHAPE);
    assert_int_equal(ops->copy_in(backend, buffer, SIZE_MAX, data, 2), KERNEL_BAD_SHAPE);
    assert_int_equal(ops->copy_out(backend, data, buffer, 8, 1), KERNEL_BAD_SHAPE);
    assert_status(ops->copy_in(backend, buffer, 4, "abcd", 4));
    assert_status(ops->synchronize(backend));
    assert_status(ops->copy_out(backend, data, buffer, 5, 3));
    assert_memory_equal(data, "bcd", 3);
    ops->buffer_close(backend, buffer);
    ops->buffer_close(backend, NULL);
    struct device_buffer *huge = NULL;
    assert_int_equal(ops->buffer_open(backend, SIZE_MAX - 1, &huge), KERNEL_OUT_OF_MEMORY);
    assert_null(huge);
}

static void test_copies_stay_inside_their_buffer(void **state)
{
    (void)state;
    each_backend(1, check_copies);
}

static void test_a_missing_instruction_set_or_absurd_threads_are_errors(void **state)
{
    (void)state;
    struct backend_options options = {.isa = ISA_PORTABLE, .threads = 100000};
    struct backend *backend = NULL;
    struct error error = {0};
    assert_false(backend_open(&options, &backend, &error));
    assert_non_null(strstr(error.message, "threads is 100000"));
    options.threads = -1;
    assert_false(backend_open(&options, &backend, &error));
    assert_null(backend);
    backend_close(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_norm_adds_and_normalizes_every_width),
        cmocka_unit_test(test_a_norm_without_a_scale_only_adds),
        cmocka_unit_test(test_norm_with_a_bias_takes_the_mean_off_in_place),
        cmocka_unit_test(test_gelu_is_right_far_into_both_ends),
        cmocka_unit_test(test_embedding_adds_a_table_of_positions),
        cmocka_unit_test(test_silu_mul_is_right_far_into_both_ends),
        cmocka_unit_test(test_embedding_and_gather_pick_rows),
        cmocka_unit_test(test_copies_stay_inside_their_buffer),
        cmocka_unit_test(test_a_missing_instruction_set_or_absurd_threads_are_errors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
