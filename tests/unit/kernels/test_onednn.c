/* oneDNN's products below the backend: bf16, which the backend uses only where there are tiles,
 * must be right and independent of the batch on any processor that has it. */
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

/* All panels for rows [first, first + rows), a block at a time. */
static void multiply(const struct onednn_weight *weight, int outputs, int first, int rows,
                     float *output)
{
    size_t bytes = (onednn_scratch_bytes(weight) + 63) / 64 * 64;
    void *scratch = aligned_alloc(64, bytes + 64);
    assert_non_null(scratch);
    for (int at = 0; at < rows; at += onednn_block_rows(weight)) {
        int left = rows - at;
        struct onednn_task task = {
            .weight = weight,
            .panel_end = (outputs + ONEDNN_PANEL - 1) / ONEDNN_PANEL,
            .input = input + (first + at) * INPUTS,
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

static void check(struct onednn *onednn, int outputs, bool is_bf16)
{
    static float output[ROWS * OUTPUTS_MAX];
    static float again[ROWS * OUTPUTS_MAX];
    struct onednn_weight *weight = NULL;
    enum kernel_status status =
        onednn_weight_open(onednn, matrix, outputs, INPUTS, is_bf16, &weight);
    if (status == KERNEL_NO_DEVICE) {
        print_message("this processor has no such products\n");
        return;
    }
    assert_status(status);
    multiply(weight, outputs, 0, ROWS, output);
    for (int r = 0; r < ROWS; r++) {
        for (int o = 0; o < outputs; o++) {
            double sum = 0;
            for (int i = 0; i < INPUTS; i++) {
                sum += (double)input[r * INPUTS + i] * (double)matrix[o * INPUTS + i];
            }
            assert_close(&output[r * outputs + o], &sum, 1, 1e-4);
        }
    }
    for (int rows = 1; rows <= ROWS; rows++) {
        multiply(weight, outputs, ROWS - rows, rows, again);
        assert_memory_equal(again, output + (ROWS - rows) * outputs,
                            sizeof(float) * (size_t)(rows * outputs));
    }
    onednn_weight_close(weight);
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
    check(onednn, OUTPUTS_MAX, false);
    check(onednn, ONEDNN_PANEL, false); // its outputs have no gaps
    round_to_bf16(input, ROWS * INPUTS);
    round_to_bf16(matrix, OUTPUTS_MAX * INPUTS);
    check(onednn, OUTPUTS_MAX, true);
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
