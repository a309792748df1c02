/* cuda_rows: operations that treat every row alone, by the kernels of rows.cu. */
#include "kernels/cuda/cuda_backend_internal.h"

struct cuda_grid cuda_rows_grid(int rows, int width)
{
    enum { NUMBERS_PER_THREAD = 8, THREADS_STEP = 32 };
    int threads = (width + NUMBERS_PER_THREAD * THREADS_STEP - 1) /
                  (NUMBERS_PER_THREAD * THREADS_STEP) * THREADS_STEP;
    return (struct cuda_grid){
        .x = (unsigned)rows,
        .threads = (unsigned)(threads < ROWS_THREADS_MAX ? threads : ROWS_THREADS_MAX),
    };
}

enum kernel_status cuda_embed(struct backend *backend, const struct embed_args *args)
{
    struct embed_kernel_args kernel = {
        .table = cuda_pointer(args->table),
        .position_table = cuda_pointer(args->position_table),
        .tokens = cuda_step_ints(args->step, args->step->tokens),
        .positions = cuda_step_ints(args->step, args->step->positions),
        .output = cuda_pointer(args->output),
        .width = args->width,
    };
    struct cuda_grid grid = cuda_rows_grid(args->step->rows, args->width);
    return cuda_launch(cuda_of(backend), CUDA_EMBED, &grid, &kernel, sizeof(kernel));
}

enum kernel_status cuda_add_norm(struct backend *backend, const struct add_norm_args *args)
{
    struct add_norm_kernel_args kernel = {
        .residual = cuda_pointer(args->residual),
        .delta = cuda_pointer(args->delta),
        .scale = cuda_pointer(args->scale),
        .bias = cuda_pointer(args->bias),
        .output = cuda_pointer(args->output),
        .epsilon = args->epsilon,
        .width = args->width,
    };
    struct cuda_grid grid = cuda_rows_grid(args->rows, args->width);
    return cuda_launch(cuda_of(backend), CUDA_ADD_NORM, &grid, &kernel, sizeof(kernel));
}

enum kernel_status cuda_rope_angles(struct backend *backend, const struct rope_angles_args *args)
{
    struct rope_angles_kernel_args kernel = {
        .positions = cuda_step_ints(args->step, args->step->positions),
        .inverse_frequencies = cuda_pointer(args->inverse_frequencies),
        .rotations = cuda_pointer(args->rotations),
        .magnitude = args->magnitude == 0 ? 1 : args->magnitude,
        .pairs = args->head_dim / 2,
    };
    struct cuda_grid grid = cuda_rows_grid(args->step->rows, 1);
    return cuda_launch(cuda_of(backend), CUDA_ROPE_ANGLES, &grid, &kernel, sizeof(kernel));
}

enum kernel_status cuda_silu_mul(struct backend *backend, const struct device_buffer *input,
                                 struct device_buffer *output, int rows, int width)
{
    struct silu_mul_kernel_args kernel = {
        .input = cuda_pointer(input), .output = cuda_pointer(output), .width = width};
    struct cuda_grid grid = cuda_rows_grid(rows, width);
    return cuda_launch(cuda_of(backend), CUDA_SILU_MUL, &grid, &kernel, sizeof(kernel));
}

enum kernel_status cuda_gelu(struct backend *backend, const struct device_buffer *input,
                             struct device_buffer *output, int rows, int width)
{
    struct gelu_kernel_args kernel = {
        .input = cuda_pointer(input), .output = cuda_pointer(output), .width = width};
    struct cuda_grid grid = cuda_rows_grid(rows, width);
    return cuda_launch(cuda_of(backend), CUDA_GELU, &grid, &kernel, sizeof(kernel));
}

enum kernel_status cuda_gather_rows(struct backend *backend, const struct gather_args *args)
{
    struct gather_kernel_args kernel = {
        .indices = (const int32_t *)cuda_pointer(args->indices) + args->first,
        .input = cuda_pointer(args->input),
        .output = cuda_pointer(args->output),
        .width = args->width,
    };
    struct cuda_grid grid = cuda_rows_grid(args->count, args->width);
    return cuda_launch(cuda_of(backend), CUDA_GATHER, &grid, &kernel, sizeof(kernel));
}
