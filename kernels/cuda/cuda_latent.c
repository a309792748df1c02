/* cuda_latent: launches the kernel that writes latent attention's keys; cuda_attention.c launches
 * attention itself. */
#include "kernels/cuda/cuda_backend_internal.h"

enum kernel_status cuda_latent_write(struct backend *backend, const struct latent_write_args *args)
{
    const struct attention_shape *shape = &args->shape;
    const struct step_arrays *step = args->step;
    int rotated = shape->head_dim - shape->latent;
    struct latent_write_kernel_args kernel = {
        .rotations = cuda_pointer(args->rotations),
        .keys = cuda_pointer(args->keys),
        .norm = cuda_pointer(args->norm),
        .q = cuda_pointer(args->q),
        .absorbed = cuda_pointer(args->absorbed),
        .positions = cuda_step_ints(step, step->positions),
        .row_starts = cuda_step_ints(step, step->row_starts),
        .sequences = step->sequences,
        .heads = shape->heads,
        .head_dim = shape->head_dim,
        .latent = shape->latent,
        .q_width = args->q_width,
        .is_interleaved = args->is_interleaved,
        .epsilon = args->epsilon,
    };
    enum kernel_status status = cuda_kv_view(step, shape, args->kv, &kernel.kv);
    if (status != KERNEL_OK) {
        return status;
    }
    if (shape->kv_heads != 1 || shape->latent < 1 || rotated % 2 != 0 ||
        shape->head_dim > CUDA_LATENT_KEY_MAX || args->q_width < rotated) {
        return KERNEL_BAD_SHAPE;
    }
    struct cuda_grid grid = {.x = (unsigned)step->rows, .threads = CUDA_KV_WRITE_THREADS};
    return cuda_launch(cuda_of(backend), CUDA_LATENT_WRITE, &grid, &kernel, sizeof(kernel));
}
