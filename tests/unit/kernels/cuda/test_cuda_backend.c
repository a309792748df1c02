/* The CUDA back end's products and the operations that treat every row alone, against the CPU back
 * end. */
#include <math.h>
#include <stdlib.h>

#include "kernels/dtype.h"
#include "tests/support/backend_fixture.h"
#include "tests/support/cmocka.h"
#include "tests/support/cuda/cuda_fixture.h"
#include "tests/support/cuda/emulated_driver.h"

static const struct emulated_device hopper = {
    .capability = 90, .memory_bytes = (size_t)1 << 30, .devices = 1};

static struct noise noise;

/* Numbers that bf16 holds exactly. */
static float *new_values(size_t count)
{
    float *values = malloc(count * sizeof(*values));
    assert_non_null(values);
    noise_fill(&noise, values, count);
    for (size_t i = 0; i < count; i++) {
        values[i] = dtype_bf16_to_f32(dtype_f32_to_bf16(values[i]));
    }
    return values;
}

/* The backend's activations. */
static struct device_buffer *upload(struct backend *backend, const float *values, size_t count)
{
    if (backend->activation_bytes == sizeof(float)) {
        return fixture_upload(backend, values, count * sizeof(float));
    }
    uint16_t *rounded = malloc(count * sizeof(*rounded));
    assert_non_null(rounded);
    for (size_t i = 0; i < count; i++) {
        rounded[i] = dtype_f32_to_bf16(values[i]);
    }
    struct device_buffer *buffer = fixture_upload(backend, rounded, count * sizeof(*rounded));
    free(rounded);
    return buffer;
}

static float *download(struct backend *backend, const struct device_buffer *buffer, size_t count)
{
    float *values = malloc(count * sizeof(*values));
    uint16_t *rounded = malloc(count * sizeof(*rounded));
    assert_non_null(values);
    assert_non_null(rounded);
    if (backend->activation_bytes == sizeof(float)) {
        fixture_download(backend, values, buffer, count * sizeof(*values));
    } else {
        fixture_download(backend, rounded, buffer, count * sizeof(*rounded));
        dtype_to_f32(values, rounded, DTYPE_BF16, count);
    }
    free(rounded);
    return values;
}

static void assert_near(const float *actual, const float *expected, size_t count, double tolerance)
{
    for (size_t i = 0; i < count; i++) {
        double limit = tolerance * (1 + fabs((double)expected[i]));
        if (!(fabs((double)actual[i] - (double)expected[i]) <= limit)) {
            fail_msg("number %zu is %.7g, expected %.7g", i, (double)actual[i],
                     (double)expected[i]);
        }
    }
}

/* What an operation gives on one backend: [rows, width]. */
struct scene {
    int rows;
    int width;
    const float *input;  // [rows, 2 width]
    const float *delta;  // [rows, width]
    const float *scale;  // [width]
    const float *bias;   // [width]
    const int32_t *ints; // [rows] of tokens and positions
};

static struct step_arrays open_step(struct backend *backend, const struct scene *scene)
{
    size_t bytes = (size_t)scene->rows * sizeof(int32_t);
    return (struct step_arrays){.buffer = fixture_upload(backend, scene->ints, bytes),
                                .rows = scene->rows,
                                .sequences = 1,
                                .blocks_max = 1};
}

static float *run_norm_with(struct backend *backend, const struct scene *scene, bool has_bias,
                            bool has_scale)
{
    size_t count = (size_t)scene->rows * (size_t)scene->width;
    size_t bytes = (size_t)scene->width * sizeof(float);
    struct add_norm_args args = {
        .residual = upload(backend, scene->input, count),
        .delta = upload(backend, scene->delta, count),
        .scale = has_scale ? fixture_upload(backend, scene->scale, bytes) : NULL,
        .bias = has_bias ? fixture_upload(backend, scene->bias, bytes) : NULL,
        .output = fixture_buffer(backend, count * backend->activation_bytes),
        .rows = scene->rows,
        .width = scene->width,
        .epsilon = 1e-5f,
    };
    assert_status(backend->ops->add_norm(backend, &args));
    float *values = download(backend, args.output, count);
    struct device_buffer *const all[] = {args.residual,
                                         (struct device_buffer *)(uintptr_t)args.delta,
                                         (struct device_buffer *)(uintptr_t)args.scale,
                                         (struct device_buffer *)(uintptr_t)args.bias, args.output};
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        backend->ops->buffer_close(backend, all[i]);
    }
    return values;
}

static float *run_norm(struct backend *backend, const struct scene *scene)
{
    return run_norm_with(backend, scene, false, true);
}

static float *run_layer_norm(struct backend *backend, const struct scene *scene)
{
    return run_norm_with(backend, scene, true, true);
}

static float *run_sum(struct backend *backend, const struct scene *scene)
{
    return run_norm_with(backend, scene, false, false);
}

static float *run_silu_mul(struct backend *backend, const struct scene *scene)
{
    size_t count = (size_t)scene->rows * (size_t)scene->width;
    struct device_buffer *input = upload(backend, scene->input, 2 * count);
    struct device_buffer *output = fixture_buffer(backend, count * backend->activation_bytes);
    assert_status(backend->ops->silu_mul(backend, input, output, scene->rows, scene->width));
    float *values = download(backend, output, count);
    backend->ops->buffer_close(backend, input);
    backend->ops->buffer_close(backend, output);
    return values;
}

static float *run_gelu(struct backend *backend, const struct scene *scene)
{
    size_t count = (size_t)scene->rows * (size_t)scene->width;
    struct device_buffer *input = upload(backend, scene->input, count);
    struct device_buffer *output = fixture_buffer(backend, count * backend->activation_bytes);
    assert_status(backend->ops->gelu(backend, input, output, scene->rows, scene->width));
    float *values = download(backend, output, count);
    backend->ops->buffer_close(backend, input);
    backend->ops->buffer_close(backend, output);
    return values;
}

static float *run_gather(struct backend *backend, const struct scene *scene)
{
    size_t count = (size_t)scene->rows * (size_t)scene->width;
    struct step_arrays step = open_step(backend, scene);
    struct gather_args args = {
        .indices = step.buffer,
        .input = upload(backend, scene->input, count),
        .output = fixture_buffer(backend, count * backend->activation_bytes),
        .count = scene->rows,
        .width = scene->width,
    };
    assert_status(backend->ops->gather_rows(backend, &args));
    float *values = download(backend, args.output, count);
    backend->ops->buffer_close(backend, (struct device_buffer *)(uintptr_t)args.input);
    backend->ops->buffer_close(backend, args.output);
    backend->ops->buffer_close(backend, step.buffer);
    return values;
}

static float *run_embed(struct backend *backend, const struct scene *scene)
{
    size_t count = (size_t)scene->rows * (size_t)scene->width;
    struct weight_part part = {.data = scene->input, .dtype = DTYPE_F32, .rows = scene->rows};
    struct weight_part positions = {.data = scene->delta, .dtype = DTYPE_F32, .rows = scene->rows};
    struct device_buffer *table = NULL;
    struct device_buffer *position_table = NULL;
    assert_status(backend->ops->table_open(backend, &part, scene->width, &table));
    assert_status(backend->ops->table_open(backend, &positions, scene->width, &position_table));
    struct step_arrays step = open_step(backend, scene);
    struct embed_args args = {
        .table = table,
        .position_table = position_table,
        .step = &step,
        .output = fixture_buffer(backend, count * backend->activation_bytes),
        .width = scene->width,
    };
    assert_status(backend->ops->embed(backend, &args));
    float *values = download(backend, args.output, count);
    backend->ops->buffer_close(backend, table);
    backend->ops->buffer_close(backend, position_table);
    backend->ops->buffer_close(backend, args.output);
    backend->ops->buffer_close(backend, step.buffer);
    return values;
}

static float *run_angles(struct backend *backend, const struct scene *scene)
{
    size_t pairs = (size_t)scene->width;
    size_t count = (size_t)scene->rows * pairs * 2;
    struct step_arrays step = open_step(backend, scene);
    struct rope_angles_args args = {
        .step = &step,
        .magnitude = 1.5f,
        .inverse_frequencies = fixture_upload(backend, scene->scale, pairs * sizeof(float)),
        .rotations = fixture_buffer(backend, count * sizeof(float)),
        .head_dim = (int)pairs * 2,
    };
    assert_status(backend->ops->rope_angles(backend, &args));
    float *values = malloc(count * sizeof(*values));
    assert_non_null(values);
    fixture_download(backend, values, args.rotations, count * sizeof(*values));
    backend->ops->buffer_close(backend,
                               (struct device_buffer *)(uintptr_t)args.inverse_frequencies);
    backend->ops->buffer_close(backend, args.rotations);
    backend->ops->buffer_close(backend, step.buffer);
    return values;
}

static void check_scene(struct backend *cuda, struct backend *cpu, int rows, int width)
{
    static const struct {
        float *(*run)(struct backend *backend, const struct scene *scene);
        double tolerance; // relative; bf16 rounds by 1/256, twice where a sum is kept
        int outputs;      // per number of the width
    } operations[] = {{run_norm, 0.02, 1},      {run_layer_norm, 0.03, 1}, {run_sum, 0.005, 1},
                      {run_silu_mul, 0.005, 1}, {run_gelu, 0.005, 1},      {run_gather, 0, 1},
                      {run_embed, 0.005, 1},    {run_angles, 1e-5, 2}};
    size_t count = (size_t)rows * (size_t)width;
    float *input = new_values(2 * count);
    float *delta = new_values(count);
    float *scale = new_values((size_t)width);
    float *bias = new_values((size_t)width);
    int32_t *ints = malloc((size_t)rows * sizeof(*ints));
    assert_non_null(ints);
    for (int i = 0; i < rows; i++) {
        ints[i] = noise_below(&noise, rows);
    }
    struct scene scene = {rows, width, input, delta, scale, bias, ints};
    for (size_t i = 0; i < sizeof(operations) / sizeof(operations[0]); i++) {
        float *expected = operations[i].run(cpu, &scene);
        float *actual = operations[i].run(cuda, &scene);
        assert_near(actual, expected, count * (size_t)operations[i].outputs,
                    operations[i].tolerance);
        free(expected);
        free(actual);
    }
    free(input);
    free(delta);
    free(scale);
    free(bias);
    free(ints);
}

static void check_rows(struct backend *cuda)
{
    struct backend *cpu = fixture_cpu();
    static const int widths[] = {1, 7, 8, 64, 250, 264, 4100};
    for (size_t i = 0; i < sizeof(widths) / sizeof(widths[0]); i++) {
        check_scene(cuda, cpu, widths[i] > 1000 ? 2 : 5, widths[i]);
    }
    backend_close(cpu);
}

static void test_rows_come_out_as_on_the_cpu(void **state)
{
    (void)state;
    struct backend_options options = {.device = BACKEND_CUDA};
    emulated_device_set(&hopper);
    each_cuda_backend(&options, check_rows);
}

/* One product, in the given format. */
struct multiplication {
    int rows;
    int columns;
    int outputs;
    bool has_bias;
    bool is_logits;
};

static float *multiply(struct backend *backend, enum weight_format format,
                       const struct multiplication *shape, const float *matrix, const float *input)
{
    size_t outputs = (size_t)shape->rows * (size_t)shape->outputs;
    struct weight *weight = fixture_weight_in(
        backend, format, matrix, shape->has_bias ? matrix : NULL, shape->outputs, shape->columns);
    struct device_buffer *source =
        upload(backend, input, (size_t)shape->rows * (size_t)shape->columns);
    struct device_buffer *target = fixture_buffer(backend, outputs * sizeof(float));
    float *values = NULL;
    if (shape->is_logits) {
        assert_status(backend->ops->logits(backend, weight, source, target, shape->rows));
        values = malloc(outputs * sizeof(*values));
        assert_non_null(values);
        fixture_download(backend, values, target, outputs * sizeof(*values));
    } else {
        assert_status(backend->ops->linear(backend, weight, source, target, shape->rows));
        values = download(backend, target, outputs);
    }
    backend->ops->weight_close(backend, weight);
    backend->ops->buffer_close(backend, source);
    backend->ops->buffer_close(backend, target);
    return values;
}

static void check_products(const struct emulated_device *device,
                           const struct backend_options *options, enum weight_format format,
                           double tolerance)
{
    static const struct multiplication shapes[] = {{1, 32, 16, false, false},
                                                   {3, 32, 48, true, false},
                                                   {5, 7, 9, true, true},
                                                   {130, 48, 32, true, true},
                                                   {129, 16, 16, false, true}};
    struct backend *cuda = cuda_fixture_open(device, options);
    struct backend *cpu = fixture_cpu();
    for (size_t i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++) {
        const struct multiplication *shape = &shapes[i];
        float *matrix = new_values((size_t)shape->outputs * (size_t)shape->columns);
        float *input = new_values((size_t)shape->rows * (size_t)shape->columns);
        float *expected = multiply(cpu, WEIGHTS_F32, shape, matrix, input);
        float *actual = multiply(cuda, format, shape, matrix, input);
        assert_near(actual, expected, (size_t)shape->rows * (size_t)shape->outputs, tolerance);
        free(matrix);
        free(input);
        free(expected);
        free(actual);
    }
    backend_close(cuda);
    backend_close(cpu);
}

static void test_products_in_bf16_are_those_of_the_cpu(void **state)
{
    (void)state;
    struct backend_options options = {.device = BACKEND_CUDA};
    check_products(&hopper, &options, WEIGHTS_BF16, 0.005);
    options.batch_invariant = true;
    check_products(&hopper, &options, WEIGHTS_BF16, 0.005);
}

static void test_products_in_fp8_are_near_those_of_the_cpu(void **state)
{
    (void)state;
    struct backend_options options = {.device = BACKEND_CUDA};
    struct emulated_device ada = hopper;
    ada.capability = 89; // where cuBLAS does not scale
    check_products(&hopper, &options, WEIGHTS_FP8, 0.5);
    check_products(&ada, &options, WEIGHTS_FP8, 0.5);
    options.batch_invariant = true;
    check_products(&hopper, &options, WEIGHTS_FP8, 0.5);
}

static void test_fp8_needs_a_device_that_multiplies_it(void **state)
{
    (void)state;
    struct backend_options options = {.device = BACKEND_CUDA};
    struct emulated_device ampere = hopper;
    ampere.capability = 80;
    struct backend *backend = cuda_fixture_open(&ampere, &options);
    enum weight_format format = WEIGHTS_FP8;
    assert_int_equal(backend->ops->weight_format(backend, &format), KERNEL_NO_DEVICE);
    format = WEIGHTS_INT8;
    assert_int_equal(backend->ops->weight_format(backend, &format), KERNEL_NO_DEVICE);
    format = WEIGHTS_AUTO;
    assert_int_equal(backend->ops->weight_format(backend, &format), KERNEL_OK);
    assert_int_equal(format, WEIGHTS_BF16);
    backend_close(backend);
}

static void check_mlp(enum weight_format format, double tolerance)
{
    enum { ROWS = 3, INPUTS = 32, WIDTH = 48, OUTPUTS = 16 };
    struct backend_options options = {.device = BACKEND_CUDA};
    struct backend *backend = cuda_fixture_open(&hopper, &options);
    float *gate_up = new_values((size_t)2 * WIDTH * INPUTS);
    float *down = new_values((size_t)OUTPUTS * WIDTH);
    float *input = new_values((size_t)ROWS * INPUTS);
    struct weight *gate_up_weight =
        fixture_weight_in(backend, format, gate_up, NULL, 2 * WIDTH, INPUTS);
    struct weight *down_weight = fixture_weight_in(backend, format, down, NULL, OUTPUTS, WIDTH);
    struct device_buffer *source = upload(backend, input, (size_t)ROWS * INPUTS);
    struct mlp_args args = {
        .gate_up = gate_up_weight,
        .down = down_weight,
        .width = WIDTH,
        .input = source,
        .gated = fixture_buffer(backend, (size_t)ROWS * 2 * WIDTH * sizeof(uint16_t)),
        .activated = fixture_buffer(backend, (size_t)ROWS * WIDTH * sizeof(uint16_t)),
        .output = fixture_buffer(backend, (size_t)ROWS * OUTPUTS * sizeof(uint16_t)),
        .rows = ROWS,
    };
    assert_status(backend->ops->mlp(backend, &args));
    float *actual = download(backend, args.output, (size_t)ROWS * OUTPUTS);
    for (int r = 0; r < ROWS; r++) {
        double activated[WIDTH];
        for (int i = 0; i < WIDTH; i++) {
            double gate = 0;
            double up = 0;
            for (int k = 0; k < INPUTS; k++) {
                gate += (double)input[r * INPUTS + k] * (double)gate_up[i * INPUTS + k];
                up += (double)input[r * INPUTS + k] * (double)gate_up[(WIDTH + i) * INPUTS + k];
            }
            activated[i] = gate / (1 + exp(-gate)) * up;
        }
        for (int o = 0; o < OUTPUTS; o++) {
            double sum = 0;
            for (int i = 0; i < WIDTH; i++) {
                sum += activated[i] * (double)down[o * WIDTH + i];
            }
            assert_true(fabs(sum - (double)actual[r * OUTPUTS + o]) <= tolerance);
        }
    }
    free(actual);
    free(gate_up);
    free(down);
    free(input);
    backend->ops->weight_close(backend, gate_up_weight);
    backend->ops->weight_close(backend, down_weight);
    backend->ops->buffer_close(backend, source);
    backend->ops->buffer_close(backend, args.gated);
    backend->ops->buffer_close(backend, args.activated);
    backend->ops->buffer_close(backend, args.output);
    backend_close(backend);
}

static void test_an_mlp_is_its_three_steps(void **state)
{
    (void)state;
    check_mlp(WEIGHTS_BF16, 0.5);
    check_mlp(WEIGHTS_FP8, 2.5);
}

int main(void)
{
    noise = noise_open(20);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows_come_out_as_on_the_cpu),
        cmocka_unit_test(test_products_in_bf16_are_those_of_the_cpu),
        cmocka_unit_test(test_products_in_fp8_are_near_those_of_the_cpu),
        cmocka_unit_test(test_fp8_needs_a_device_that_multiplies_it),
        cmocka_unit_test(test_an_mlp_is_its_three_steps),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
