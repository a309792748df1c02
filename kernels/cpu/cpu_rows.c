/* cpu_rows: operations that treat every row alone. */
#include "kernels/cpu/cpu_backend_internal.h"

#include <stdlib.h>
#include <string.h>

/* The table as it is: only rows that are used become f32. */
enum kernel_status cpu_table_open(struct backend *backend, const struct weight_part *part,
                                  int columns, struct device_buffer **table_out)
{
    if (part->rows <= 0 || columns <= 0) {
        return KERNEL_BAD_SHAPE;
    }
    size_t bytes = (size_t)part->rows * (size_t)columns * dtype_bytes(part->dtype);
    enum kernel_status status = backend->ops->buffer_open(backend, bytes, table_out);
    if (status == KERNEL_OK) {
        (*table_out)->dtype = part->dtype;
        memcpy((*table_out)->data, part->data, bytes);
    }
    return status;
}

static const void *table_row(const struct device_buffer *table, int row, size_t width)
{
    return (const char *)table->data + (size_t)row * width * dtype_bytes(table->dtype);
}

static void add_row(const struct device_buffer *table, int row, size_t width, float *output)
{
    enum { PART = 64 };
    const char *source = table_row(table, row, width);
    for (size_t first = 0; first < width; first += PART) {
        float part[PART];
        size_t count = width - first < PART ? width - first : PART;
        dtype_to_f32(part, source + first * dtype_bytes(table->dtype), table->dtype, count);
        for (size_t i = 0; i < count; i++) {
            output[first + i] += part[i];
        }
    }
}

static void embed_rows(const void *context, struct row_range rows)
{
    const struct embed_args *args = context;
    const int32_t *tokens = step_ints(args->step, args->step->tokens);
    const int32_t *positions = step_ints(args->step, args->step->positions);
    size_t width = (size_t)args->width;
    for (int r = rows.first; r < rows.end; r++) {
        float *output = floats_of(args->output) + (size_t)r * width;
        dtype_to_f32(output, table_row(args->table, tokens[r], width), args->table->dtype, width);
        if (args->position_table != NULL) {
            add_row(args->position_table, positions[r], width, output);
        }
    }
}

enum kernel_status cpu_embed(struct backend *backend, const struct embed_args *args)
{
    cpu_each_rows(cpu_of(backend), args->step->rows, (size_t)args->width * ELEMENT_COST, embed_rows,
                  args);
    return KERNEL_OK;
}

struct add_norm_job {
    const struct cpu_backend *cpu;
    const struct add_norm_args *args;
    struct quantized quantized; // the output; bytes NULL: f32
};

static void add_without_norm(float *residual, const float *delta, float *output, int width)
{
    for (int i = 0; i < width; i++) {
        residual[i] += delta == NULL ? 0.0f : delta[i];
        output[i] = residual[i];
    }
}

static void add_norm_row(const struct add_norm_job *job, size_t row, float *output)
{
    const struct cpu_kernels *kernels = job->cpu->kernels;
    const struct add_norm_args *args = job->args;
    size_t at = row * (size_t)args->width;
    float *residual = floats_of(args->residual) + at;
    const float *delta = args->delta == NULL ? NULL : const_floats_of(args->delta) + at;
    if (args->scale == NULL) {
        add_without_norm(residual, delta, output, args->width);
        return;
    }
    const float *scale = const_floats_of(args->scale);
    if (args->bias != NULL) {
        struct layer_norm_task task = {scale, const_floats_of(args->bias), args->width,
                                       args->epsilon};
        kernels->layer_norm(residual, delta, &task, output);
    } else {
        kernels->add_norm(residual, delta, scale, output, args->width, args->epsilon);
    }
}

static void add_norm_rows(const void *context, struct row_range rows)
{
    const struct add_norm_job *job = context;
    const struct add_norm_args *args = job->args;
    for (int r = rows.first; r < rows.end; r++) {
        if (job->quantized.bytes == NULL) {
            add_norm_row(job, (size_t)r, floats_of(args->output) + (size_t)r * (size_t)args->width);
            continue;
        }
        float *numbers = threads_scratch(job->cpu->threads, rows.thread);
        struct quantized target = cpu_quantized_from(&job->quantized, (size_t)r);
        add_norm_row(job, (size_t)r, numbers);
        cpu_quantize(job->cpu->kernels, &target, numbers, (struct row_range){0, 1, rows.thread});
    }
}

enum kernel_status cpu_add_norm(struct backend *backend, const struct add_norm_args *args)
{
    struct cpu_backend *cpu = cpu_of(backend);
    struct add_norm_job job = {.cpu = cpu, .args = args};
    args->output->quantized_rows = 0;
    if (args->consumer == WEIGHTS_INT8 && args->output != args->residual &&
        cpu_quantized_bytes(args->rows, args->width) <= args->output->bytes) {
        if (!threads_reserve(cpu->threads, (size_t)args->width * sizeof(float))) {
            return KERNEL_OUT_OF_MEMORY;
        }
        job.quantized = cpu_quantized_at(args->output->data, args->rows, args->width);
        args->output->quantized_rows = args->rows;
    }
    cpu_each_rows(cpu, args->rows, (size_t)args->width * 2 * ELEMENT_COST, add_norm_rows, &job);
    return KERNEL_OK;
}

struct activation_job {
    const struct cpu_kernels *kernels;
    const float *input;
    float *output;
    int width;
};

static void silu_mul_rows(const void *context, struct row_range rows)
{
    const struct activation_job *job = context;
    size_t width = (size_t)job->width;
    for (int r = rows.first; r < rows.end; r++) {
        const float *gate = job->input + (size_t)r * 2 * width;
        job->kernels->silu_mul(gate, gate + width, job->output + (size_t)r * width, job->width);
    }
}

enum kernel_status cpu_silu_mul(struct backend *backend, const struct device_buffer *input,
                                struct device_buffer *output, int rows, int width)
{
    struct activation_job job = {.kernels = cpu_of(backend)->kernels,
                                 .input = const_floats_of(input),
                                 .output = floats_of(output),
                                 .width = width};
    cpu_each_rows(cpu_of(backend), rows, (size_t)width * 4 * ELEMENT_COST, silu_mul_rows, &job);
    return KERNEL_OK;
}

static void gelu_rows(const void *context, struct row_range rows)
{
    const struct activation_job *job = context;
    for (int r = rows.first; r < rows.end; r++) {
        size_t at = (size_t)r * (size_t)job->width;
        job->kernels->gelu(job->input + at, job->output + at, job->width);
    }
}

enum kernel_status cpu_gelu(struct backend *backend, const struct device_buffer *input,
                            struct device_buffer *output, int rows, int width)
{
    struct activation_job job = {.kernels = cpu_of(backend)->kernels,
                                 .input = const_floats_of(input),
                                 .output = floats_of(output),
                                 .width = width};
    cpu_each_rows(cpu_of(backend), rows, (size_t)width * 4 * ELEMENT_COST, gelu_rows, &job);
    return KERNEL_OK;
}

enum kernel_status cpu_gather_rows(struct backend *backend, const struct gather_args *args)
{
    (void)backend;
    const int32_t *indices = (const int32_t *)args->indices->data + args->first;
    size_t width = (size_t)args->width;
    for (int i = 0; i < args->count; i++) {
        memcpy(floats_of(args->output) + (size_t)i * width,
               const_floats_of(args->input) + (size_t)indices[i] * width, width * sizeof(float));
    }
    return KERNEL_OK;
}
