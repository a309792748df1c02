/* Matrix products: right in every shape, and every row independent of its batch. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/backend_fixture.h"
#include "tests/support/cmocka.h"

/* Random inputs and weights for one shape. */
struct problem {
    int rows;
    int outputs;
    int inputs;
    float *input;  // [rows, inputs]
    float *matrix; // [outputs, inputs]
    float *bias;   // [outputs]
};

static struct problem problem_open(struct noise *noise, int rows, int outputs, int inputs)
{
    struct problem problem = {.rows = rows, .outputs = outputs, .inputs = inputs};
    size_t input = (size_t)rows * (size_t)inputs;
    size_t matrix = (size_t)outputs * (size_t)inputs;
    problem.input = malloc(input * sizeof(float));
    problem.matrix = malloc(matrix * sizeof(float));
    problem.bias = malloc((size_t)outputs * sizeof(float));
    assert_true(problem.input != NULL && problem.matrix != NULL && problem.bias != NULL);
    noise_fill(noise, problem.input, input);
    noise_fill(noise, problem.matrix, matrix);
    noise_fill(noise, problem.bias, (size_t)outputs);
    return problem;
}

static void problem_close(struct problem *problem)
{
    free(problem->input);
    free(problem->matrix);
    free(problem->bias);
}

/* Runs rows[first, first + rows) of the problem; the caller frees. */
static float *product(struct backend *backend, const struct weight *weight,
                      const struct problem *problem, int first, int rows)
{
    size_t in_bytes = (size_t)rows * (size_t)problem->inputs * sizeof(float);
    size_t out_bytes = (size_t)rows * (size_t)problem->outputs * sizeof(float);
    struct device_buffer *input =
        fixture_upload(backend, problem->input + (size_t)first * (size_t)problem->inputs, in_bytes);
    struct device_buffer *output = fixture_buffer(backend, out_bytes);
    assert_status(backend->ops->linear(backend, weight, input, output, rows));
    float *result = malloc(out_bytes);
    assert_non_null(result);
    fixture_download(backend, result, output, out_bytes);
    backend->ops->buffer_close(backend, input);
    backend->ops->buffer_close(backend, output);
    return result;
}

static double *expected_product(const struct problem *problem, bool has_bias)
{
    double *expected = malloc((size_t)problem->rows * (size_t)problem->outputs * sizeof(double));
    assert_non_null(expected);
    for (int r = 0; r < problem->rows; r++) {
        for (int o = 0; o < problem->outputs; o++) {
            double sum = has_bias ? (double)problem->bias[o] : 0.0;
            for (int i = 0; i < problem->inputs; i++) {
                sum += (double)problem->input[(size_t)r * (size_t)problem->inputs + (size_t)i] *
                       (double)problem->matrix[(size_t)o * (size_t)problem->inputs + (size_t)i];
            }
            expected[(size_t)r * (size_t)problem->outputs + (size_t)o] = sum;
        }
    }
    return expected;
}

static void check_shape(struct backend *backend, const struct problem *problem, bool has_bias)
{
    struct weight *weight =
        fixture_weight(backend, problem->matrix, has_bias ? problem->bias : NULL, problem->outputs,
                       problem->inputs);
    float *actual = product(backend, weight, problem, 0, problem->rows);
    double *expected = expected_product(problem, has_bias);
    // Sums of k products of numbers below 1: the error grows with k at worst.
    double tolerance = 2e-7 * (problem->inputs + 4);
    assert_close(actual, expected, (size_t)problem->rows * (size_t)problem->outputs, tolerance);
    free(expected);
    free(actual);
    backend->ops->weight_close(backend, weight);
}

static void check_shapes(struct backend *backend)
{
    static const int shapes[][3] = {{1, 1, 1},    {2, 3, 5},     {7, 31, 33},   {12, 32, 64},
                                    {13, 33, 65}, {25, 100, 17}, {5, 16, 400},  {3, 129, 1000},
                                    {64, 96, 96}, {250, 70, 40}, {1, 300, 769}, {300, 300, 100}};
    struct noise noise = noise_open(11);
    for (size_t i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++) {
        struct problem problem = problem_open(&noise, shapes[i][0], shapes[i][1], shapes[i][2]);
        check_shape(backend, &problem, false);
        check_shape(backend, &problem, true);
        problem_close(&problem);
    }
}

static void test_products_agree_with_double_precision(void **state)
{
    (void)state;
    each_backend(2, check_shapes);
}

/* What the backend's contract says int8 is: rows and outputs rounded to bytes, exact sums, scaled.
 */
static float quantize(const float *values, int count, int8_t *bytes)
{
    float largest = 0;
    for (int i = 0; i < count; i++) {
        largest = fabsf(values[i]) > largest ? fabsf(values[i]) : largest;
    }
    for (int i = 0; i < count; i++) {
        bytes[i] = largest == 0.0f ? 0 : (int8_t)nearbyintf(values[i] * (127.0f / largest));
    }
    return largest / 127.0f;
}

static float *expected_int8(const struct problem *problem, const float *bias)
{
    size_t inputs = (size_t)problem->inputs;
    size_t outputs = (size_t)problem->outputs;
    float *expected = malloc((size_t)problem->rows * outputs * sizeof(float));
    int8_t *row = malloc(inputs);
    int8_t *matrix = malloc(inputs * outputs);
    float *scales = malloc(outputs * sizeof(float));
    assert_true(expected != NULL && row != NULL && matrix != NULL && scales != NULL);
    for (size_t o = 0; o < outputs; o++) {
        scales[o] = quantize(problem->matrix + o * inputs, problem->inputs, matrix + o * inputs);
    }
    for (size_t r = 0; r < (size_t)problem->rows; r++) {
        float scale = quantize(problem->input + r * inputs, problem->inputs, row);
        for (size_t o = 0; o < outputs; o++) {
            int32_t sum = 0;
            for (size_t i = 0; i < inputs; i++) {
                sum += row[i] * matrix[o * inputs + i];
            }
            float scaled = (float)sum * (scale * scales[o]);
            expected[r * outputs + o] = bias == NULL ? scaled : scaled + bias[o];
        }
    }
    free(row);
    free(matrix);
    free(scales);
    return expected;
}

static void check_int8(struct backend *backend)
{
    static const int shapes[][3] = {{1, 1, 1},    {2, 3, 5},     {7, 64, 33},   {12, 65, 64},
                                    {13, 33, 65}, {25, 200, 17}, {5, 16, 4864}, {3, 129, 1000},
                                    {64, 96, 96}, {250, 70, 40}, {1, 300, 769}, {300, 300, 100}};
    struct noise noise = noise_open(16);
    for (size_t i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++) {
        struct problem problem = problem_open(&noise, shapes[i][0], shapes[i][1], shapes[i][2]);
        // The largest sums that there can be, and a row and an output of zeros.
        for (int k = 0; k < problem.inputs; k++) {
            problem.input[k] = 1;
            problem.matrix[k] = problem.rows % 2 == 0 ? 1.0f : -1.0f;
            if (problem.rows > 2 && problem.outputs > 2) {
                problem.input[problem.inputs + k] = 0;
                problem.matrix[problem.inputs + k] = 0;
            }
        }
        for (int has_bias = 0; has_bias < 2; has_bias++) {
            const float *bias = has_bias ? problem.bias : NULL;
            struct weight *weight = fixture_weight_in(backend, WEIGHTS_INT8, problem.matrix, bias,
                                                      problem.outputs, problem.inputs);
            float *actual = product(backend, weight, &problem, 0, problem.rows);
            float *expected = expected_int8(&problem, bias);
            assert_memory_equal(actual, expected,
                                sizeof(float) * (size_t)(problem.rows * problem.outputs));
            free(actual);
            free(expected);
            backend->ops->weight_close(backend, weight);
        }
        problem_close(&problem);
    }
}

static void test_int8_products_are_exact_on_every_path(void **state)
{
    (void)state;
    each_backend(2, check_int8);
}

/* A number that is none must reach the logits, where the engine finds it. */
static void check_not_finite(struct backend *backend)
{
    struct noise noise = noise_open(17);
    struct problem problem = problem_open(&noise, 4, 20, 70);
    struct weight *weight =
        fixture_weight_in(backend, WEIGHTS_INT8, problem.matrix, problem.bias, 20, 70);
    float *before = product(backend, weight, &problem, 0, 4);
    problem.input[70 + 3] = NAN;
    problem.input[3 * 70 + 69] = INFINITY;
    float *after = product(backend, weight, &problem, 0, 4);
    for (int o = 0; o < 20; o++) {
        assert_true(isnan(after[20 + o]) && isnan(after[60 + o]));
    }
    assert_memory_equal(after, before, 20 * sizeof(float));
    assert_memory_equal(after + 40, before + 40, 20 * sizeof(float));
    free(before);
    free(after);
    backend->ops->weight_close(backend, weight);
    problem_close(&problem);
}

static void test_int8_rows_that_are_not_finite_stay_so_and_alone(void **state)
{
    (void)state;
    each_backend(1, check_not_finite);
}

enum { INVARIANT_ROWS = 130 };

/* Each row alone is the truth; every other way to compute it must give the same bits. */
static void check_invariance(struct backend *backend, enum weight_format format, int outputs,
                             int inputs)
{
    struct noise noise = noise_open(12);
    struct problem problem = problem_open(&noise, INVARIANT_ROWS, outputs, inputs);
    struct weight *weight =
        fixture_weight_in(backend, format, problem.matrix, problem.bias, outputs, inputs);
    size_t row_bytes = (size_t)outputs * sizeof(float);
    float *alone = malloc(row_bytes * INVARIANT_ROWS);
    assert_non_null(alone);
    for (int r = 0; r < INVARIANT_ROWS; r++) {
        float *row = product(backend, weight, &problem, r, 1);
        memcpy((char *)alone + (size_t)r * row_bytes, row, row_bytes);
        free(row);
    }
    for (int rows = 1; rows <= INVARIANT_ROWS; rows++) {
        int last = INVARIANT_ROWS - rows;
        int firsts[] = {noise_below(&noise, last + 1), 0, last};
        for (int i = 0; i < (rows <= 40 ? 3 : 1); i++) {
            float *together = product(backend, weight, &problem, firsts[i], rows);
            int same = memcmp(together, (char *)alone + (size_t)firsts[i] * row_bytes,
                              row_bytes * (size_t)rows);
            free(together);
            if (same != 0) {
                fail_msg("%d rows from %d of [%d, %d] in format %d differ from single rows", rows,
                         firsts[i], outputs, inputs, (int)format);
            }
        }
    }
    free(alone);
    backend->ops->weight_close(backend, weight);
    problem_close(&problem);
}

static void check_all_invariance(struct backend *backend)
{
    for (enum weight_format format = WEIGHTS_F32; format <= WEIGHTS_INT8; format++) {
        check_invariance(backend, format, 67, 37);
        check_invariance(backend, format, 96, 64);
        check_invariance(backend, format, 140, 401);
    }
}

static void test_a_row_does_not_depend_on_its_batch(void **state)
{
    (void)state;
    each_backend(2, check_all_invariance);
}

enum { THREADS_MAX = 5, REPEATS = 8, SHARED_ROWS = 200 };

/* One thread is the truth; many at once, again and again, must give the same bits. */
static void check_threads_agree(const struct backend_options *options, enum weight_format format,
                                const struct problem *problem)
{
    float *first = NULL;
    size_t bytes = sizeof(float) * SHARED_ROWS * (size_t)problem->outputs;
    for (int run = 0; run < THREADS_MAX * REPEATS; run++) {
        struct backend_options now = *options;
        now.threads = 1 + run % THREADS_MAX;
        struct backend *backend = NULL;
        struct error error = {0};
        if (!backend_open(&now, &backend, &error)) {
            break; // this machine lacks the instruction set
        }
        struct weight *weight = fixture_weight_in(backend, format, problem->matrix, NULL,
                                                  problem->outputs, problem->inputs);
        float *result = product(backend, weight, problem, 0, SHARED_ROWS);
        if (first == NULL) {
            first = result;
        } else {
            if (memcmp(result, first, bytes) != 0) {
                fail_msg("[%d, %d] in format %d differs on %s", problem->outputs, problem->inputs,
                         (int)format, backend->description);
            }
            free(result);
        }
        backend->ops->weight_close(backend, weight);
        backend_close(backend);
    }
    free(first);
}

/* Large enough to be shared among threads. */
static void test_a_row_does_not_depend_on_the_number_of_threads(void **state)
{
    (void)state;
    static const int shapes[][2] = {{320, 96}, {515, 129}, {96, 160}, {1280, 256}};
    struct noise noise = noise_open(13);
    for (size_t i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++) {
        struct problem problem = problem_open(&noise, SHARED_ROWS, shapes[i][0], shapes[i][1]);
        for (enum backend_isa isa = ISA_AMX; isa <= ISA_PORTABLE; isa++) {
            struct backend_options options = {.isa = isa};
            check_threads_agree(&options, WEIGHTS_F32, &problem);
            check_threads_agree(&options, WEIGHTS_INT8, &problem);
            options.without_onednn = true;
            check_threads_agree(&options, WEIGHTS_F32, &problem);
        }
        problem_close(&problem);
    }
}

/* q, k and v of different dtypes in one weight, only one of them with a bias. */
static void check_parts(struct backend *backend)
{
    enum { INPUTS = 48 };
    struct noise noise = noise_open(14);
    struct problem problem = problem_open(&noise, 9, 7 + 33 + 20, INPUTS);
    uint16_t halves[33 * INPUTS];
    for (int i = 0; i < 33 * INPUTS; i++) {
        halves[i] = dtype_f32_to_bf16(problem.matrix[7 * INPUTS + i]);
        problem.matrix[7 * INPUTS + i] = dtype_bf16_to_f32(halves[i]);
    }
    for (int i = 0; i < problem.outputs; i++) {
        problem.bias[i] = i < 7 ? problem.bias[i] : 0.0f;
    }
    struct weight_part parts[] = {
        {.data = problem.matrix, .dtype = DTYPE_F32, .rows = 7, .bias = problem.bias},
        {.data = halves, .dtype = DTYPE_BF16, .rows = 33},
        {.data = problem.matrix + 40 * INPUTS, .dtype = DTYPE_F32, .rows = 20},
    };
    struct weight_source source = {
        .parts = parts, .parts_count = 3, .columns = INPUTS, .format = WEIGHTS_F32};
    struct weight *weight = NULL;
    assert_status(backend->ops->weight_open(backend, &source, &weight));
    float *actual = product(backend, weight, &problem, 0, problem.rows);
    double *expected = expected_product(&problem, true);
    assert_close(actual, expected, (size_t)problem.rows * (size_t)problem.outputs, 1e-5);
    free(actual);
    free(expected);
    backend->ops->weight_close(backend, weight);
    problem_close(&problem);
}

static void test_stacked_parts_make_one_weight(void **state)
{
    (void)state;
    each_backend(1, check_parts);
}

/* bf16 weights: products with the rounded matrix. */
static void check_bf16(struct backend *backend)
{
    struct noise noise = noise_open(15);
    struct problem problem = problem_open(&noise, 29, 75, 130);
    struct weight_part part = {.data = problem.matrix, .dtype = DTYPE_F32, .rows = 75};
    struct weight_source source = {
        .parts = &part, .parts_count = 1, .columns = 130, .format = WEIGHTS_BF16};
    struct weight *weight = NULL;
    assert_status(backend->ops->weight_open(backend, &source, &weight));
    float *actual = product(backend, weight, &problem, 0, problem.rows);
    for (int i = 0; i < 75 * 130; i++) {
        problem.matrix[i] = dtype_bf16_to_f32(dtype_f32_to_bf16(problem.matrix[i]));
    }
    double *expected = expected_product(&problem, false);
    // Backends may round the inputs to bf16 as well: 2^-9 of sums of about sqrt(130) / 3.
    assert_close(actual, expected, 29 * 75, 0.1);
    for (int r = 0; r < problem.rows; r++) {
        float *row = product(backend, weight, &problem, r, 1);
        assert_memory_equal(row, actual + (size_t)r * 75, 75 * sizeof(float));
        free(row);
    }
    free(actual);
    free(expected);
    backend->ops->weight_close(backend, weight);
    problem_close(&problem);
}

static void test_bf16_weights_are_right_and_rows_stay_independent(void **state)
{
    (void)state;
    each_backend(2, check_bf16);
}

static void check_refusals(struct backend *backend)
{
    float one = 1;
    struct weight *weight = NULL;
    struct weight_part part = {.data = &one, .dtype = DTYPE_F32, .rows = 0};
    struct weight_source source = {
        .parts = &part, .parts_count = 1, .columns = 1, .format = WEIGHTS_F32};
    assert_int_equal(backend->ops->weight_open(backend, &source, &weight), KERNEL_BAD_SHAPE);
    part.rows = 1;
    source.columns = 0;
    assert_int_equal(backend->ops->weight_open(backend, &source, &weight), KERNEL_BAD_SHAPE);
    source.columns = 1;
    source.format = WEIGHTS_INT8;
    source.columns = 65537; // sums would not fit
    assert_int_equal(backend->ops->weight_open(backend, &source, &weight), KERNEL_BAD_SHAPE);
    assert_null(weight);
}

static void test_empty_and_too_wide_weights_are_refused(void **state)
{
    (void)state;
    each_backend(1, check_refusals);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_products_agree_with_double_precision),
        cmocka_unit_test(test_int8_products_are_exact_on_every_path),
        cmocka_unit_test(test_int8_rows_that_are_not_finite_stay_so_and_alone),
        cmocka_unit_test(test_a_row_does_not_depend_on_its_batch),
        cmocka_unit_test(test_a_row_does_not_depend_on_the_number_of_threads),
        cmocka_unit_test(test_stacked_parts_make_one_weight),
        cmocka_unit_test(test_bf16_weights_are_right_and_rows_stay_independent),
        cmocka_unit_test(test_empty_and_too_wide_weights_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
