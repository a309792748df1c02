/* cpu_attention: rope, the paged cache, and attention cut into tasks. cpu_kernels.h has the layout
 * of the cache. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/cpu/cpu_backend_internal.h"

size_t cpu_kv_block_bytes(const struct backend *backend, const struct attention_shape *shape)
{
    (void)backend;
    return (size_t)shape->kv_heads * kv_head_floats(shape->block_tokens, shape->head_dim) *
           sizeof(float);
}

static bool is_sound(const struct attention_shape *shape)
{
    return shape->kv_heads > 0 && shape->heads % shape->kv_heads == 0 &&
           shape->heads / shape->kv_heads <= ATTENTION_QUERIES_MAX && shape->head_dim > 0 &&
           shape->head_dim % 2 == 0 && shape->head_dim <= HEAD_DIM_MAX && shape->block_tokens > 0;
}

static void rope_angles_rows(const void *context, struct row_range rows)
{
    const struct rope_angles_args *args = context;
    const int32_t *positions = step_ints(args->step, args->step->positions);
    const float *frequencies = const_floats_of(args->inverse_frequencies);
    int half = args->head_dim / 2;
    for (int r = rows.first; r < rows.end; r++) {
        float *rotations = floats_of(args->rotations) + (size_t)r * (size_t)args->head_dim;
        for (int i = 0; i < half; i++) {
            // The angle is rounded to f32 as the reference implementations do.
            double angle = (double)((float)positions[r] * frequencies[i]);
            rotations[2 * i] = (float)cos(angle);
            rotations[2 * i + 1] = (float)sin(angle);
        }
    }
}

enum kernel_status cpu_rope_angles(struct backend *backend, const struct rope_angles_args *args)
{
    cpu_each_rows(cpu_of(backend), args->step->rows, (size_t)args->head_dim * 32, rope_angles_rows,
                  args);
    return KERNEL_OK;
}

/* source and target, [head_dim], may be the same; target elements stand `stride` apart. */
static void rotate(const float *source, const float *rotations, float *target, int head_dim,
                   size_t stride)
{
    int half = head_dim / 2;
    for (int i = 0; i < half; i++) {
        float x = source[i];
        float y = source[i + half];
        float c = rotations[2 * i];
        float s = rotations[2 * i + 1];
        target[(size_t)i * stride] = x * c - y * s;
        target[(size_t)(i + half) * stride] = y * c + x * s;
    }
}

/* Rotates one row's keys into the cache and copies its values there. */
static void kv_write(const struct rope_kv_write_args *args, const float *key,
                     const float *rotations, float *block, int slot)
{
    const struct attention_shape *shape = &args->shape;
    size_t head_dim = (size_t)shape->head_dim;
    const float *value = key + (size_t)shape->kv_heads * head_dim;
    for (int h = 0; h < shape->kv_heads; h++) {
        float *keys = block + (size_t)h * kv_head_floats(shape->block_tokens, shape->head_dim);
        float *values = keys + kv_key_floats(shape->block_tokens, shape->head_dim);
        size_t group = (size_t)slot / 16;
        rotate(key + (size_t)h * head_dim, rotations, keys + group * head_dim * 16 + slot % 16,
               shape->head_dim, 16);
        memcpy(values + (size_t)slot * (size_t)kv_pad(shape->head_dim),
               value + (size_t)h * head_dim, head_dim * sizeof(float));
    }
}

/* The sequence that `row` belongs to: the last whose first row is not after it. */
static int sequence_of(const struct step_arrays *step, int row)
{
    const int32_t *starts = step_ints(step, step->row_starts);
    int low = 0;
    int high = step->sequences - 1;
    while (low < high) {
        int middle = low + (high - low + 1) / 2;
        if (starts[middle] <= row) {
            low = middle;
        } else {
            high = middle - 1;
        }
    }
    return low;
}

static void rope_kv_write_rows(const void *context, struct row_range rows)
{
    const struct rope_kv_write_args *args = context;
    const struct attention_shape *shape = &args->shape;
    const struct step_arrays *step = args->step;
    const int32_t *positions = step_ints(step, step->positions);
    const int32_t *tables = step_ints(step, step->block_tables);
    size_t head_dim = (size_t)shape->head_dim;
    size_t stride = (size_t)(shape->heads + 2 * shape->kv_heads) * head_dim;
    size_t block_floats = cpu_kv_block_bytes(NULL, shape) / sizeof(float);
    for (int r = rows.first; r < rows.end; r++) {
        float *row = floats_of(args->qkv) + (size_t)r * stride;
        const float *rotations = const_floats_of(args->rotations) + (size_t)r * head_dim;
        for (int h = 0; h < shape->heads; h++) {
            float *head = row + (size_t)h * head_dim;
            rotate(head, rotations, head, shape->head_dim, 1);
        }
        const int32_t *table = tables + (size_t)sequence_of(step, r) * (size_t)step->blocks_max;
        size_t block = (size_t)table[positions[r] / shape->block_tokens];
        kv_write(args, row + (size_t)shape->heads * head_dim, rotations,
                 floats_of(args->kv) + block * block_floats, positions[r] % shape->block_tokens);
    }
}

enum kernel_status cpu_rope_kv_write(struct backend *backend, const struct rope_kv_write_args *args)
{
    if (!is_sound(&args->shape)) {
        return KERNEL_BAD_SHAPE;
    }
    size_t cost =
        (size_t)(args->shape.heads + 2 * args->shape.kv_heads) * (size_t)args->shape.head_dim * 2;
    cpu_each_rows(cpu_of(backend), args->step->rows, cost, rope_kv_write_rows, args);
    return KERNEL_OK;
}

/* Tasks are tiles of rows, per key-value head; a tile never spans two sequences. */
struct attention_job {
    const struct cpu_backend *cpu;
    const struct attention_args *args;
    int rows_per_tile;
};

/* Finds tile number `index` of the step: false past the end of all sequences. */
static struct row_range tile_rows(const struct attention_job *job, int index, int *sequence_out)
{
    const struct step_arrays *step = job->args->step;
    const int32_t *starts = step_ints(step, step->row_starts);
    for (int s = 0; s < step->sequences; s++) {
        int rows = starts[s + 1] - starts[s];
        int tiles = (rows + job->rows_per_tile - 1) / job->rows_per_tile;
        if (index < tiles) {
            int first = starts[s] + index * job->rows_per_tile;
            int end = first + job->rows_per_tile;
            *sequence_out = s;
            return (struct row_range){first, end < starts[s + 1] ? end : starts[s + 1]};
        }
        index -= tiles;
    }
    return (struct row_range){0, 0};
}

static int tiles_count(const struct attention_job *job)
{
    const struct step_arrays *step = job->args->step;
    const int32_t *starts = step_ints(step, step->row_starts);
    int tiles = 0;
    for (int s = 0; s < step->sequences; s++) {
        tiles += (starts[s + 1] - starts[s] + job->rows_per_tile - 1) / job->rows_per_tile;
    }
    return tiles;
}

static void run_attention(void *context, int index, int thread)
{
    const struct attention_job *job = context;
    const struct attention_args *args = job->args;
    const struct attention_shape *shape = &args->shape;
    const struct step_arrays *step = args->step;
    int kv_head = index % shape->kv_heads;
    int sequence = 0;
    struct row_range rows = tile_rows(job, index / shape->kv_heads, &sequence);
    int group = shape->heads / shape->kv_heads;
    size_t head_dim = (size_t)shape->head_dim;
    size_t q_stride = (size_t)(shape->heads + 2 * shape->kv_heads) * head_dim;
    size_t output_stride = (size_t)shape->heads * head_dim;
    size_t head_at = (size_t)(kv_head * group) * head_dim;
    struct attention_task task = {
        .q = const_floats_of(args->qkv) + (size_t)rows.first * q_stride + head_at,
        .q_stride = q_stride,
        .output = floats_of(args->output) + (size_t)rows.first * output_stride + head_at,
        .output_stride = output_stride,
        .positions = step_ints(step, step->positions) + rows.first,
        .block_table =
            step_ints(step, step->block_tables) + (size_t)sequence * (size_t)step->blocks_max,
        .kv = const_floats_of(args->kv) +
              (size_t)kv_head * kv_head_floats(shape->block_tokens, shape->head_dim),
        .block_stride = cpu_kv_block_bytes(NULL, shape) / sizeof(float),
        .rows = rows.end - rows.first,
        .group = group,
        .head_dim = shape->head_dim,
        .block_tokens = shape->block_tokens,
        .scale = args->scale,
        .scratch = threads_scratch(job->cpu->threads, thread),
    };
    job->cpu->kernels->attention(&task);
}

enum kernel_status cpu_attention(struct backend *backend, const struct attention_args *args)
{
    struct cpu_backend *cpu = cpu_of(backend);
    if (!is_sound(&args->shape)) {
        return KERNEL_BAD_SHAPE;
    }
    size_t scratch = attention_scratch_floats(args->shape.head_dim) * sizeof(float);
    if (!threads_reserve(cpu->threads, scratch)) {
        return KERNEL_OUT_OF_MEMORY;
    }
    int group = args->shape.heads / args->shape.kv_heads;
    struct attention_job job = {
        .cpu = cpu, .args = args, .rows_per_tile = ATTENTION_QUERIES_MAX / group};
    threads_run(cpu->threads, run_attention, &job, tiles_count(&job) * args->shape.kv_heads);
    return KERNEL_OK;
}
