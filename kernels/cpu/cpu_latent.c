/* cpu_latent: what latent attention does beside attention itself: each head's own product, and the
 * shared keys on their way to the cache.
 *
 * A value is the first part of its key, but the cache holds it a second time: keys stand transposed
 * for scores, values in rows for sums.
 */
#include "kernels/cpu/cpu_backend_internal.h"

#include <string.h>

enum { HEAD_ROWS = 60 }; // rows of a task: whole tiles of every instruction set

struct head_job {
    const struct cpu_kernels *kernels;
    const struct head_linear_args *args;
    int row_tasks;
};

static void run_head(void *context, int index, int thread)
{
    (void)thread;
    const struct head_job *job = context;
    const struct head_linear_args *args = job->args;
    int head = index / job->row_tasks;
    int row = index % job->row_tasks * HEAD_ROWS;
    const struct weight *weight = args->weights[head];
    int width = job->kernels->panel_columns;
    size_t input_stride = (size_t)args->heads * (size_t)args->input_width;
    size_t output_stride = (size_t)args->heads * (size_t)args->output_width;
    const float *input = const_floats_of(args->input) + (size_t)row * input_stride +
                         (size_t)head * (size_t)args->input_width;
    float *output = floats_of(args->output) + (size_t)row * output_stride +
                    (size_t)head * (size_t)args->output_width;
    for (int column = 0; column < weight->rows; column += width) {
        int columns = weight->rows - column;
        struct product_task task = {
            .a = input,
            .a_stride = input_stride,
            .panel = (const float *)weight->panels + (size_t)column * (size_t)weight->columns,
            .c = output + column,
            .c_stride = output_stride,
            .rows = args->rows - row < HEAD_ROWS ? args->rows - row : HEAD_ROWS,
            .k = weight->columns,
            .columns = columns < width ? columns : width,
        };
        job->kernels->product(&task);
    }
}

enum kernel_status cpu_head_linear(struct backend *backend, const struct head_linear_args *args)
{
    struct cpu_backend *cpu = cpu_of(backend);
    size_t cost = 0;
    for (int h = 0; h < args->heads; h++) {
        const struct weight *weight = args->weights[h];
        if (weight->panels == NULL || weight->format != WEIGHTS_F32 ||
            weight->columns > args->input_width || weight->rows > args->output_width) {
            return KERNEL_BAD_SHAPE;
        }
        cost += (size_t)args->rows * (size_t)weight->rows * (size_t)weight->columns;
    }
    struct head_job job = {.kernels = cpu->kernels,
                           .args = args,
                           .row_tasks = (args->rows + HEAD_ROWS - 1) / HEAD_ROWS};
    threads_run(cpu->threads, run_head, &job, args->heads * job.row_tasks, cost);
    return KERNEL_OK;
}

struct latent_job {
    const struct latent_write_args *args;
    struct kv_target target;
};

static void write_key(const struct latent_job *job, int row, const float *rotations)
{
    const struct latent_write_args *args = job->args;
    const struct attention_shape *shape = &args->shape;
    float key[HEAD_DIM_MAX];
    size_t head_dim = (size_t)shape->head_dim;
    int slot = step_ints(args->step, args->step->positions)[row] % shape->block_tokens;
    memcpy(key, const_floats_of(args->keys) + (size_t)row * head_dim, head_dim * sizeof(float));
    job->target.kernels->add_norm(key, NULL, const_floats_of(args->norm), key, shape->latent,
                                  args->epsilon);
    cpu_rotate(key + shape->latent, rotations, key + shape->latent, shape->head_dim - shape->latent,
               args->is_interleaved);
    cpu_kv_put(&job->target, key, key, cpu_kv_block(args->step, shape, args->kv, row), slot);
}

static void latent_write_rows(const void *context, struct row_range rows)
{
    const struct latent_job *job = context;
    const struct latent_write_args *args = job->args;
    const struct attention_shape *shape = &args->shape;
    int rotated = shape->head_dim - shape->latent;
    size_t heads = (size_t)shape->heads;
    for (int r = rows.first; r < rows.end; r++) {
        const float *rotations = const_floats_of(args->rotations) + (size_t)r * (size_t)rotated;
        write_key(job, r, rotations);
        for (size_t h = 0; h < heads; h++) {
            size_t head = (size_t)r * heads + h;
            const float *q = const_floats_of(args->q) + (head + 1) * (size_t)args->q_width;
            float *target = floats_of(args->absorbed) + (head + 1) * (size_t)shape->head_dim;
            cpu_rotate(q - rotated, rotations, target - rotated, rotated, args->is_interleaved);
        }
    }
}

enum kernel_status cpu_latent_write(struct backend *backend, const struct latent_write_args *args)
{
    const struct attention_shape *shape = &args->shape;
    int rotated = shape->head_dim - shape->latent;
    if (shape->kv_heads != 1 || shape->latent < 1 || rotated < 0 || rotated % 2 != 0 ||
        shape->head_dim > HEAD_DIM_MAX || args->q_width < rotated) {
        return KERNEL_BAD_SHAPE;
    }
    if (shape->kv_format == KV_FP8) {
        return KERNEL_NO_DEVICE;
    }
    struct latent_job job = {.args = args, .target = cpu_kv_target(cpu_of(backend), shape)};
    size_t cost = (size_t)(shape->head_dim + shape->heads * rotated) * 2 * (size_t)ELEMENT_COST;
    cpu_each_rows(cpu_of(backend), args->step->rows, cost, latent_write_rows, &job);
    return KERNEL_OK;
}
