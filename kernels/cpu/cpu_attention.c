/* cpu_attention: rope, the paged cache, and attention cut into tasks. cpu_kernels.h has the layout
 * of the cache. */
#include "kernels/cpu/cpu_backend_internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

size_t cpu_kv_block_bytes(const struct backend *backend, const struct attention_shape *shape)
{
    (void)backend;
    return (size_t)shape->kv_heads * kv_layout_of(shape).bytes;
}

static bool is_sound(const struct attention_shape *shape)
{
    return shape->kv_heads > 0 && shape->heads % shape->kv_heads == 0 && shape->head_dim > 0 &&
           shape->head_dim % 2 == 0 && shape->head_dim <= HEAD_DIM_MAX && shape->block_tokens > 0 &&
           shape->latent >= 0 && shape->latent <= shape->head_dim;
}

static void rope_angles_rows(const void *context, struct row_range rows)
{
    const struct rope_angles_args *args = context;
    const int32_t *positions = step_ints(args->step, args->step->positions);
    const float *frequencies = const_floats_of(args->inverse_frequencies);
    int half = args->head_dim / 2;
    double magnitude = args->magnitude == 0 ? 1 : (double)args->magnitude;
    for (int r = rows.first; r < rows.end; r++) {
        float *rotations = floats_of(args->rotations) + (size_t)r * (size_t)args->head_dim;
        for (int i = 0; i < half; i++) {
            // The angle is rounded to f32 as the reference implementations do.
            double angle = (double)((float)positions[r] * frequencies[i]);
            rotations[2 * i] = (float)(cos(angle) * magnitude);
            rotations[2 * i + 1] = (float)(sin(angle) * magnitude);
        }
    }
}

enum kernel_status cpu_rope_angles(struct backend *backend, const struct rope_angles_args *args)
{
    cpu_each_rows(cpu_of(backend), args->step->rows, (size_t)args->head_dim * 64 * ELEMENT_COST,
                  rope_angles_rows, args);
    return KERNEL_OK;
}

struct rope_job {
    const struct cpu_kernels *kernels;
    const struct rope_kv_write_args *args;
    struct kv_target target;
};

/* Puts `count` numbers into the cache, elements `stride` apart; gives the scale of bytes. */
static float kv_store(const struct cpu_kernels *kernels, enum kv_format format, const float *values,
                      int count, char *target, size_t stride)
{
    if (format == KV_INT8) {
        int8_t bytes[HEAD_DIM_MAX];
        int32_t sum = 0;
        float scale = kernels->quantize(values, count, bytes, &sum);
        for (int i = 0; i < count; i++) {
            ((int8_t *)target)[(size_t)i * stride] = bytes[i];
        }
        return scale;
    }
    for (int i = 0; i < count; i++) {
        if (format == KV_BF16) {
            ((uint16_t *)(void *)target)[(size_t)i * stride] = dtype_f32_to_bf16(values[i]);
        } else {
            ((float *)(void *)target)[(size_t)i * stride] = values[i];
        }
    }
    return 1;
}

void cpu_kv_put(const struct kv_target *target, const float *key, const float *value, char *block,
                int slot)
{
    const struct cpu_kernels *kernels = target->kernels;
    const struct attention_shape *shape = target->shape;
    const struct kv_layout layout = target->layout;
    size_t element = kv_element_bytes(layout.format);
    size_t position = (size_t)slot;
    size_t key_at = (position / 16 * (size_t)shape->head_dim * 16 + position % 16) * element;
    size_t value_at = layout.values + position * (size_t)kv_pad(kv_value_dim(shape)) * element;
    float key_scale = kv_store(kernels, layout.format, key, shape->head_dim, block + key_at, 16);
    float value_scale =
        kv_store(kernels, layout.format, value, kv_value_dim(shape), block + value_at, 1);
    if (layout.format == KV_INT8) {
        ((float *)(void *)(block + layout.key_scales))[slot] = key_scale;
        ((float *)(void *)(block + layout.value_scales))[slot] = value_scale;
    }
}

/* Rotates (unless NULL) one row's keys and puts them and its values into the cache. `key`: the
 * first head's. */
static void kv_write(const struct rope_job *job, float *key, const float *rotations, char *block,
                     int slot)
{
    const struct attention_shape *shape = &job->args->shape;
    size_t head_dim = (size_t)shape->head_dim;
    for (int h = 0; h < shape->kv_heads; h++, key += head_dim, block += job->target.layout.bytes) {
        if (rotations != NULL) {
            cpu_rotate(key, rotations, key, shape->head_dim, false);
        }
        cpu_kv_put(&job->target, key, key + (size_t)shape->kv_heads * head_dim, block, slot);
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

static void norm_heads(const struct rope_job *job, const struct device_buffer *scale, float *heads,
                       int count)
{
    int head_dim = job->args->shape.head_dim;
    int width = job->args->is_norm_whole ? count * head_dim : head_dim;
    float *end = heads + (size_t)count * (size_t)head_dim;
    for (; scale != NULL && heads < end; heads += width) {
        job->kernels->add_norm(heads, NULL, const_floats_of(scale), heads, width,
                               job->args->epsilon);
    }
}

char *cpu_kv_block(const struct step_arrays *step, const struct attention_shape *shape,
                   struct device_buffer *kv, int row)
{
    int position = step_ints(step, step->positions)[row];
    const int32_t *table = step_ints(step, step->block_tables) +
                           (size_t)sequence_of(step, row) * (size_t)step->blocks_max;
    size_t block = (size_t)table[position / shape->block_tokens];
    return (char *)kv->data + block * cpu_kv_block_bytes(NULL, shape);
}

static void rope_kv_write_rows(const void *context, struct row_range rows)
{
    const struct rope_job *job = context;
    const struct rope_kv_write_args *args = job->args;
    const struct attention_shape *shape = &args->shape;
    const struct step_arrays *step = args->step;
    const int32_t *positions = step_ints(step, step->positions);
    size_t head_dim = (size_t)shape->head_dim;
    size_t stride = (size_t)(shape->heads + 2 * shape->kv_heads) * head_dim;
    for (int r = rows.first; r < rows.end; r++) {
        float *row = floats_of(args->qkv) + (size_t)r * stride;
        float *keys = row + (size_t)shape->heads * head_dim;
        const float *rotations = args->rotations == NULL
                                     ? NULL
                                     : const_floats_of(args->rotations) + (size_t)r * head_dim;
        norm_heads(job, args->q_norm, row, shape->heads);
        norm_heads(job, args->k_norm, keys, shape->kv_heads);
        for (int h = 0; h < shape->heads && rotations != NULL; h++) {
            float *head = row + (size_t)h * head_dim;
            cpu_rotate(head, rotations, head, shape->head_dim, false);
        }
        kv_write(job, keys, rotations, cpu_kv_block(step, shape, args->kv, r),
                 positions[r] % shape->block_tokens);
    }
}

enum kernel_status cpu_rope_kv_write(struct backend *backend, const struct rope_kv_write_args *args)
{
    if (!is_sound(&args->shape)) {
        return KERNEL_BAD_SHAPE;
    }
    if (args->shape.kv_format == KV_FP8) {
        return KERNEL_NO_DEVICE;
    }
    size_t cost = (size_t)(args->shape.heads + 2 * args->shape.kv_heads) *
                  (size_t)args->shape.head_dim * 2 * ELEMENT_COST;
    struct rope_job job = {.kernels = cpu_of(backend)->kernels,
                           .args = args,
                           .target = cpu_kv_target(cpu_of(backend), &args->shape)};
    cpu_each_rows(cpu_of(backend), args->step->rows, cost, rope_kv_write_rows, &job);
    return KERNEL_OK;
}

/* Some rows of one sequence. Tasks are tiles, per key-value head, and where many query heads share
 * one, per part of them. */
struct tile {
    int sequence;
    struct row_range rows;
};

struct attention_job {
    const struct cpu_backend *cpu;
    const struct attention_args *args;
    const struct tile *tiles;
    int part; // query heads of a task
    int parts;
};

/* Cuts the step's sequences into tiles of at most `rows_max` rows and counts the keys that all rows
 * meet. */
static int cut_tiles(const struct step_arrays *step, int rows_max, struct tile *tiles,
                     size_t *keys_out)
{
    const int32_t *starts = step_ints(step, step->row_starts);
    const int32_t *positions = step_ints(step, step->positions);
    int count = 0;
    *keys_out = 0;
    for (int s = 0; s < step->sequences; s++) {
        for (int row = starts[s]; row < starts[s + 1]; row += rows_max) {
            int end = row + rows_max < starts[s + 1] ? row + rows_max : starts[s + 1];
            tiles[count++] = (struct tile){.sequence = s, .rows = {row, end}};
            *keys_out += (size_t)(end - row) * (size_t)(positions[end - 1] + 1);
        }
    }
    return count;
}

static void run_attention(void *context, int index, int thread)
{
    const struct attention_job *job = context;
    const struct attention_args *args = job->args;
    const struct attention_shape *shape = &args->shape;
    const struct step_arrays *step = args->step;
    const struct tile *tile = &job->tiles[index / job->parts / shape->kv_heads];
    const struct kv_layout layout = kv_layout_of(shape);
    int kv_head = index / job->parts % shape->kv_heads;
    int group = shape->heads / shape->kv_heads;
    int part_first = index % job->parts * job->part;
    size_t first = (size_t)tile->rows.first;
    size_t head_dim = (size_t)shape->head_dim;
    int q_heads = shape->latent > 0 ? shape->heads : shape->heads + 2 * shape->kv_heads;
    size_t q_stride = (size_t)q_heads * head_dim;
    size_t output_stride = (size_t)shape->heads * (size_t)kv_value_dim(shape);
    size_t head = (size_t)kv_head * (size_t)group + (size_t)part_first;
    struct attention_task task = {
        .q = const_floats_of(args->qkv) + first * q_stride + head * head_dim,
        .q_stride = q_stride,
        .output =
            floats_of(args->output) + first * output_stride + head * (size_t)kv_value_dim(shape),
        .output_stride = output_stride,
        .positions = step_ints(step, step->positions) + first,
        .block_table =
            step_ints(step, step->block_tables) + (size_t)tile->sequence * (size_t)step->blocks_max,
        .kv = (const char *)args->kv->data + (size_t)kv_head * layout.bytes,
        .block_stride = cpu_kv_block_bytes(NULL, shape),
        .layout = layout,
        .rows = tile->rows.end - tile->rows.first,
        .group = group - part_first < job->part ? group - part_first : job->part,
        .head_dim = shape->head_dim,
        .value_dim = kv_value_dim(shape),
        .block_tokens = shape->block_tokens,
        .window = args->window > 0 && args->window < WINDOW_ALL ? args->window : WINDOW_ALL,
        .scale = args->scale,
        .scratch = threads_scratch(job->cpu->threads, thread),
    };
    int32_t last[ATTENTION_QUERIES_MAX];
    if (args->is_bidirectional) {
        int end = step_ints(step, step->row_starts)[tile->sequence + 1];
        for (int i = 0; i < task.rows; i++) {
            last[i] = step_ints(step, step->positions)[end - 1];
        }
        task.positions = last;
    }
    job->cpu->kernels->attention(&task);
}

/* Each thread's scratch is the kernel's; the caller's holds the tiles behind that. */
enum kernel_status cpu_attention(struct backend *backend, const struct attention_args *args)
{
    struct cpu_backend *cpu = cpu_of(backend);
    const struct attention_shape *shape = &args->shape;
    if (!is_sound(shape) || args->window < 0) {
        return KERNEL_BAD_SHAPE;
    }
    size_t scratch = attention_scratch_floats(shape->head_dim, kv_value_dim(shape)) * sizeof(float);
    if (!threads_reserve(cpu->threads, scratch + (size_t)args->step->rows * sizeof(struct tile))) {
        return KERNEL_OUT_OF_MEMORY;
    }
    struct tile *tiles = (void *)((char *)threads_scratch(cpu->threads, 0) + scratch);
    size_t keys = 0;
    int group = shape->heads / shape->kv_heads;
    struct attention_job job = {.cpu = cpu, .args = args, .tiles = tiles};
    job.part = group < ATTENTION_QUERIES_MAX ? group : ATTENTION_QUERIES_MAX;
    job.parts = (group + job.part - 1) / job.part;
    int count = cut_tiles(args->step, ATTENTION_QUERIES_MAX / job.part, tiles, &keys);
    size_t cost = keys * 2 * (size_t)(shape->heads * shape->head_dim);
    threads_run(cpu->threads, run_attention, &job, count * shape->kv_heads * job.parts, cost);
    return KERNEL_OK;
}
