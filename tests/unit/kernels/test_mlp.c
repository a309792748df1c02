/* The MLP in one operation: the same numbers as in steps, for every number of rows. */
#include <math.h>
#include <stdlib.h>

#include "tests/support/backend_fixture.h"
#include "tests/support/cmocka.h"

enum { INPUTS = 40, OUTPUTS = 70, ROWS_MAX = 400 };

struct mlp {
    struct backend *backend;
    int width;
    float *numbers; // [ROWS_MAX, INPUTS]
    struct weight *gate_up;
    struct weight *down;
};

static struct mlp mlp_open(struct backend *backend, enum weight_format format, int width)
{
    struct mlp mlp = {.backend = backend, .width = width};
    struct noise noise = noise_open(21);
    size_t count = (size_t)width * INPUTS;
    float *gate_up = malloc(2 * count * sizeof(float));
    float *down = malloc((size_t)width * OUTPUTS * sizeof(float));
    float bias[OUTPUTS];
    mlp.numbers = malloc((size_t)ROWS_MAX * INPUTS * sizeof(float));
    assert_true(gate_up != NULL && down != NULL && mlp.numbers != NULL);
    noise_fill(&noise, gate_up, 2 * count);
    noise_fill(&noise, down, (size_t)width * OUTPUTS);
    noise_fill(&noise, bias, OUTPUTS);
    noise_fill(&noise, mlp.numbers, (size_t)ROWS_MAX * INPUTS);
    mlp.gate_up = fixture_weight_in(backend, format, gate_up, NULL, 2 * width, INPUTS);
    mlp.down = fixture_weight_in(backend, format, down, bias, OUTPUTS, width);
    free(gate_up);
    free(down);
    return mlp;
}

static void mlp_close(struct mlp *mlp)
{
    mlp->backend->ops->weight_close(mlp->backend, mlp->gate_up);
    mlp->backend->ops->weight_close(mlp->backend, mlp->down);
    free(mlp->numbers);
}

/* rows[first, first + rows) through the MLP, in steps or in one operation; the caller frees. */
static float *run(const struct mlp *mlp, int first, int rows, bool in_steps)
{
    struct backend *backend = mlp->backend;
    const struct backend_operations *ops = backend->ops;
    size_t count = (size_t)rows * (size_t)mlp->width * sizeof(float);
    size_t out_bytes = (size_t)rows * OUTPUTS * sizeof(float);
    struct device_buffer *input = fixture_upload(backend, mlp->numbers + (size_t)first * INPUTS,
                                                 (size_t)rows * INPUTS * sizeof(float));
    struct mlp_args args = {.gate_up = mlp->gate_up,
                            .down = mlp->down,
                            .width = mlp->width,
                            .input = input,
                            .gated = fixture_buffer(backend, 2 * count),
                            .activated = fixture_buffer(backend, count),
                            .output = fixture_buffer(backend, out_bytes),
                            .rows = rows};
    if (in_steps) {
        assert_status(ops->linear(backend, args.gate_up, input, args.gated, rows));
        assert_status(ops->silu_mul(backend, args.gated, args.activated, rows, args.width));
        assert_status(ops->linear(backend, args.down, args.activated, args.output, rows));
    } else {
        assert_status(ops->mlp(backend, &args));
    }
    float *result = malloc(out_bytes);
    assert_non_null(result);
    fixture_download(backend, result, args.output, out_bytes);
    ops->buffer_close(backend, input);
    ops->buffer_close(backend, args.gated);
    ops->buffer_close(backend, args.activated);
    ops->buffer_close(backend, args.output);
    return result;
}

/* In steps, all rows at once, is what every number of rows must give. */
static void check_rows(const struct mlp *mlp)
{
    static const int counts[] = {1, 95, 96, 97, 191, 192, 193, 250, 386, ROWS_MAX};
    float *expected = run(mlp, 0, ROWS_MAX, true);
    for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
        int first = (int)i * 7 % (ROWS_MAX - counts[i] + 1);
        float *actual = run(mlp, first, counts[i], false);
        assert_memory_equal(actual, expected + (size_t)first * OUTPUTS,
                            (size_t)counts[i] * OUTPUTS * sizeof(float));
        free(actual);
    }
    free(expected);
}

static void check_formats(struct backend *backend)
{
    static const int widths[] = {64, 192, 100}; // the last is no whole number of panels
    for (enum weight_format format = WEIGHTS_F32; format <= WEIGHTS_INT8; format++) {
        for (size_t i = 0; i < sizeof(widths) / sizeof(widths[0]); i++) {
            struct mlp mlp = mlp_open(backend, format, widths[i]);
            check_rows(&mlp);
            mlp_close(&mlp);
        }
    }
}

static void test_one_operation_gives_what_its_steps_give_at_every_number_of_rows(void **state)
{
    (void)state;
    each_backend(2, check_formats);
}

static void check_not_finite(struct backend *backend)
{
    enum { SPOILT = 130 };
    struct mlp mlp = mlp_open(backend, WEIGHTS_INT8, 128);
    float *before = run(&mlp, 0, ROWS_MAX, false);
    mlp.numbers[SPOILT * INPUTS + 3] = NAN;
    float *after = run(&mlp, 0, ROWS_MAX, false);
    for (size_t i = 0; i < (size_t)ROWS_MAX * OUTPUTS; i++) {
        assert_true(i / OUTPUTS == SPOILT ? isnan(after[i]) : after[i] == before[i]);
    }
    free(before);
    free(after);
    mlp_close(&mlp);
}

static void test_a_row_that_is_not_finite_stays_so_and_alone(void **state)
{
    (void)state;
    each_backend(2, check_not_finite);
}

/* The MLP of normed rows, where the norm knows who reads them or not; the caller frees. */
static float *run_normed(const struct mlp *mlp, enum weight_format consumer, int rows)
{
    struct backend *backend = mlp->backend;
    const struct backend_operations *ops = backend->ops;
    size_t count = (size_t)rows * (size_t)mlp->width * sizeof(float);
    size_t in_bytes = (size_t)rows * INPUTS * sizeof(float);
    size_t out_bytes = (size_t)rows * OUTPUTS * sizeof(float);
    struct device_buffer *scale = fixture_upload(backend, mlp->numbers, INPUTS * sizeof(float));
    struct add_norm_args norm = {.residual = fixture_upload(backend, mlp->numbers, in_bytes),
                                 .scale = scale,
                                 .output = fixture_buffer(backend, in_bytes),
                                 .consumer = consumer,
                                 .rows = rows,
                                 .width = INPUTS,
                                 .epsilon = 1e-6f};
    struct mlp_args args = {.gate_up = mlp->gate_up,
                            .down = mlp->down,
                            .width = mlp->width,
                            .input = norm.output,
                            .gated = fixture_buffer(backend, 2 * count),
                            .activated = fixture_buffer(backend, count),
                            .output = fixture_buffer(backend, out_bytes),
                            .rows = rows};
    float *result = malloc(out_bytes + 2 * count);
    assert_non_null(result);
    assert_status(ops->add_norm(backend, &norm));
    assert_status(ops->mlp(backend, &args));
    fixture_download(backend, result, args.output, out_bytes);
    assert_status(ops->linear(backend, mlp->gate_up, norm.output, args.gated, rows));
    fixture_download(backend, result + (size_t)rows * OUTPUTS, args.gated, 2 * count);
    ops->buffer_close(backend, norm.residual);
    ops->buffer_close(backend, scale);
    ops->buffer_close(backend, norm.output);
    ops->buffer_close(backend, args.gated);
    ops->buffer_close(backend, args.activated);
    ops->buffer_close(backend, args.output);
    return result;
}

static void check_consumers(struct backend *backend)
{
    static const int counts[] = {1, 7, 250, ROWS_MAX};
    for (enum weight_format format = WEIGHTS_F32; format <= WEIGHTS_INT8; format++) {
        struct mlp mlp = mlp_open(backend, format, 128);
        for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
            float *plain = run_normed(&mlp, WEIGHTS_AUTO, counts[i]);
            float *informed = run_normed(&mlp, format, counts[i]);
            size_t numbers = (size_t)counts[i] * (OUTPUTS + 2 * 128);
            assert_memory_equal(plain, informed, numbers * sizeof(float));
            free(plain);
            free(informed);
        }
        mlp_close(&mlp);
    }
}

static void test_a_norm_that_knows_who_reads_it_changes_no_number(void **state)
{
    (void)state;
    each_backend(2, check_consumers);
}

static void check_refusal(struct backend *backend)
{
    struct mlp mlp = mlp_open(backend, WEIGHTS_INT8, 128);
    struct device_buffer *rows = fixture_buffer(backend, INPUTS * sizeof(float));
    struct mlp_args args = {
        .gate_up = mlp.gate_up, .down = mlp.down, .width = 64, .input = rows, .rows = 1};
    assert_int_equal(backend->ops->mlp(backend, &args), KERNEL_BAD_SHAPE);
    backend->ops->buffer_close(backend, rows);
    mlp_close(&mlp);
}

static void test_weights_of_another_width_are_refused(void **state)
{
    (void)state;
    each_backend(1, check_refusal);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_operation_gives_what_its_steps_give_at_every_number_of_rows),
        cmocka_unit_test(test_a_row_that_is_not_finite_stays_so_and_alone),
        cmocka_unit_test(test_a_norm_that_knows_who_reads_it_changes_no_number),
        cmocka_unit_test(test_weights_of_another_width_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
