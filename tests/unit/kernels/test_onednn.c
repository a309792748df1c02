/* oneDNN's products below the backend: bf16 and int8, which the backend uses only where there are
 * tiles, must be right and independent of the batch on any processor that has them. */
#include "kernels/cpu/onednn.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/dtype.h"
#include "tests/support/backend_fixture.h"
#include "tests/support/cmocka.h"

/* Sums long enough that a kernel may split them: a single row of 83 inputs showed nothing. */
enum { ROWS = 70, OUTPUTS_MAX = 300, INPUTS = 1283 };

static float input[ROWS * INPUTS];
static float matrix[OUTPUTS_MAX * INPUTS];
static int8_t input_bytes[ROWS * INPUTS];
static int8_t matrix_bytes[OUTPUTS_MAX * INPUTS];

/* All panels for `rows` rows, a block at a time. */
static void multiply(const struct onednn_weight *weight, const char *rows_at, size_t row_bytes,
                     int outputs, int rows, float *output)
{
    size_t bytes = (onednn_scratch_bytes(weight) + 63) / 64 * 64;
    void *scratch = aligned_alloc(64, bytes + 64);
    assert_non_null(scratch);
    for (int at = 0; at < rows; at += onednn_block_rows(weight)) {
        int left = rows - at;
        struct onednn_task task = {
            .weight = weight,
            .panel_end = (outputs + ONEDNN_PANEL - 1) / ONEDNN_PANEL,
            .input = rows_at + (size_t)at * row_bytes,
            .input_stride = row_bytes,
            .output = output + at * outputs,
            .rows = left < onednn_block_rows(weight) ? left : onednn_block_rows(weight),
            .scratch = scratch,
        };
        assert_status(onednn_product(&task));
    }
    free(scratch);
}

static void round_to_bf16(float *values, int count)
{
    for (int i = 0; i < count; i++) {
        values[i] = dtype_bf16_to_f32(dtype_f32_to_bf16(values[i]));
    }
}

static struct onednn_weight *open_weight(struct onednn *onednn, int outputs,
                                         enum weight_format format)
{
    struct onednn_weight *weight = NULL;
    enum kernel_status status = onednn_weight_open(onednn, outputs, INPUTS, format, &weight);
    if (status == KERNEL_NO_DEVICE) {
        print_message("this processor has no such products\n");
        return NULL;
    }
    assert_status(status);
    for (int row = 0; row < outputs; row += ONEDNN_PANEL) {
        const void *rows = format == WEIGHTS_INT8 ? (const void *)(matrix_bytes + row * INPUTS)
                                                  : matrix + row * INPUTS;
        assert_status(onednn_weight_pack(weight, row / ONEDNN_PANEL, rows, 0));
    }
    return weight;
}

static void check_value(enum weight_format format, int row, int output, const float *actual)
{
    double sum = 0;
    int32_t exact = 0;
    for (int i = 0; i < INPUTS; i++) {
        sum += (double)input[row * INPUTS + i] * (double)matrix[output * INPUTS + i];
        exact += input_bytes[row * INPUTS + i] * matrix_bytes[output * INPUTS + i];
    }
    if (format == WEIGHTS_INT8) {
        assert_memory_equal(actual, &exact, sizeof(exact));
    } else {
        assert_close(actual, &sum, 1, 1e-4);
    }
}

static void check(struct onednn *onednn, int outputs, enum weight_format format)
{
    static float output[ROWS * OUTPUTS_MAX];
    static float again[ROWS * OUTPUTS_MAX];
    bool is_int8 = format == WEIGHTS_INT8;
    const char *rows_at = is_int8 ? (const char *)input_bytes : (const char *)input;
    size_t row_bytes = INPUTS * (is_int8 ? sizeof(int8_t) : sizeof(float));
    struct onednn_weight *weight = open_weight(onednn, outputs, format);
    if (weight == NULL) {
        return;
    }
    multiply(weight, rows_at, row_bytes, outputs, ROWS, output);
    for (int r = 0; r < ROWS; r++) {
        for (int o = 0; o < outputs; o++) {
            check_value(format, r, o, &output[r * outputs + o]);
        }
    }
    for (int rows = 1; rows <= ROWS; rows++) {
        multiply(weight, rows_at + (size_t)(ROWS - rows) * row_bytes, row_bytes, outputs, rows,
                 again);
        assert_memory_equal(again, output + (ROWS - rows) * outputs,
                            sizeof(float) * (size_t)(rows * outputs));
    }
    onednn_weight_close(weight);
}

static void fill_bytes(struct noise *noise, int8_t *bytes, int count)
{
    for (int i = 0; i < count; i++) {
        bytes[i] = (int8_t)(noise_below(noise, 255) - 127);
    }
}

static void test_products_are_right_and_independent_of_the_batch(void **state)
{
    (void)state;
    enum backend_isa isa = ISA_AVX512;
    struct backend_options options = {.isa = isa, .threads = 1};
    struct backend *backend = NULL;
    struct error error = {0};
    if (!backend_open(&options, &backend, &error)) {
        print_message("skipped: %s\n", error.message);
        skip();
    }
    backend_close(backend);
    struct onednn *onednn = onednn_open(isa, 1);
    if (onednn == NULL) {
        print_message("skipped: built without oneDNN\n");
        skip();
    }
    struct noise noise = noise_open(51);
    noise_fill(&noise, input, ROWS * INPUTS);
    noise_fill(&noise, matrix, OUTPUTS_MAX * INPUTS);
    check(onednn, OUTPUTS_MAX, WEIGHTS_F32);
    check(onednn, ONEDNN_PANEL, WEIGHTS_F32); // its outputs have no gaps
    round_to_bf16(input, ROWS * INPUTS);
    round_to_bf16(matrix, OUTPUTS_MAX * INPUTS);
    check(onednn, OUTPUTS_MAX, WEIGHTS_BF16);
    fill_bytes(&noise, input_bytes, ROWS * INPUTS);
    fill_bytes(&noise, matrix_bytes, OUTPUTS_MAX * INPUTS);
    check(onednn, OUTPUTS_MAX, WEIGHTS_INT8);
    onednn_close(onednn);
    onednn_close(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_products_are_right_and_independent_of_the_batch),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
