/* cpu_linear: weights packed into panels of output columns, and their products.
 *
 * A panel is [columns, panel_columns]: what one register tile needs for one input stands together.
 * Tasks are a few panels times a block of rows; how they are cut does not show in the results.
 */
#include <stdlib.h>
#include <string.h>

#include "kernels/cpu/cpu_backend_internal.h"
#include "kernels/cpu/onednn.h"

enum {
    ROWS_PER_TASK = 240,     // a multiple of every tile's rows; their inputs stay in L2
    PARALLEL_COST = 1 << 20, // multiplications that pay for waking a thread
    TASKS_PER_THREAD = 4,    // so that a thread that was held up leaves its share to others
};

enum kernel_status cpu_weight_format(const struct backend *backend, enum weight_format *format)
{
    (void)backend;
    if (*format == WEIGHTS_AUTO) {
        *format = WEIGHTS_F32;
    }
    return *format == WEIGHTS_F32 || *format == WEIGHTS_BF16 ? KERNEL_OK : KERNEL_NO_DEVICE;
}

void cpu_weight_close(struct backend *backend, struct weight *weight)
{
    (void)backend;
    if (weight != NULL) {
        free(weight->bias);
        free(weight->panels);
        free(weight);
    }
}

static int panels_count(const struct cpu_backend *cpu, const struct weight *weight)
{
    int width = cpu->kernels->panel_columns;
    return (weight->rows + width - 1) / width;
}

/* Puts one output's weights into its column of its panel. */
static void pack_row(const struct cpu_backend *cpu, struct weight *weight, int row,
                     const float *values)
{
    size_t width = (size_t)cpu->kernels->panel_columns;
    size_t panel = (size_t)row / width;
    size_t at = panel * (size_t)weight->columns * width + (size_t)row % width;
    for (int k = 0; k < weight->columns; k++, at += width) {
        if (weight->is_bf16) {
            ((uint16_t *)weight->panels)[at] = dtype_f32_to_bf16(values[k]);
        } else {
            ((float *)weight->panels)[at] = values[k];
        }
    }
}

static void pack_part(const struct cpu_backend *cpu, struct weight *weight, int first,
                      const struct weight_part *part, float *values)
{
    const char *data = part->data;
    size_t row_bytes = (size_t)weight->columns * dtype_bytes(part->dtype);
    for (int r = 0; r < part->rows; r++) {
        dtype_to_f32(values, data + (size_t)r * row_bytes, part->dtype, (size_t)weight->columns);
        pack_row(cpu, weight, first + r, values);
    }
    if (part->bias != NULL) {
        dtype_to_f32(weight->bias + first, part->bias, part->bias_dtype, (size_t)part->rows);
    }
}

static enum kernel_status count_rows(const struct weight_source *source, int *rows_out,
                                     bool *has_bias_out)
{
    int rows = 0;
    for (int i = 0; i < source->parts_count; i++) {
        const struct weight_part *part = &source->parts[i];
        if (part->rows <= 0 || part->rows > INT32_MAX - rows) {
            return KERNEL_BAD_SHAPE;
        }
        rows += part->rows;
        *has_bias_out = *has_bias_out || part->bias != NULL;
    }
    *rows_out = rows;
    return rows > 0 && source->columns > 0 ? KERNEL_OK : KERNEL_BAD_SHAPE;
}

enum kernel_status cpu_weight_open(struct backend *backend, const struct weight_source *source,
                                   struct weight **weight_out)
{
    struct cpu_backend *cpu = cpu_of(backend);
    int rows = 0;
    bool has_bias = false;
    enum kernel_status status = count_rows(source, &rows, &has_bias);
    enum weight_format format = source->format;
    if (status == KERNEL_OK) {
        status = cpu_weight_format(backend, &format);
    }
    if (status != KERNEL_OK) {
        return status;
    }
    struct weight *weight = calloc(1, sizeof(*weight));
    if (weight == NULL) {
        return KERNEL_OUT_OF_MEMORY;
    }
    weight->rows = rows;
    weight->columns = source->columns;
    weight->is_bf16 = format == WEIGHTS_BF16;
    size_t padded = (size_t)panels_count(cpu, weight) * (size_t)cpu->kernels->panel_columns;
    weight->panels = cpu_alloc(padded * (size_t)weight->columns * (weight->is_bf16 ? 2 : 4));
    weight->bias = has_bias ? cpu_alloc(padded * sizeof(float)) : NULL;
    float *values = malloc((size_t)weight->columns * sizeof(float));
    if (weight->panels == NULL || values == NULL || (has_bias && weight->bias == NULL)) {
        free(values);
        cpu_weight_close(backend, weight);
        return KERNEL_OUT_OF_MEMORY;
    }
    int first = 0;
    for (int i = 0; i < source->parts_count; i++) {
        pack_part(cpu, weight, first, &source->parts[i], values);
        first += source->parts[i].rows;
    }
    free(values);
    *weight_out = weight;
    return KERNEL_OK;
}

struct linear_job {
    const struct cpu_backend *cpu;
    const struct weight *weight;
    const float *input;
    float *output;
    int rows;
    int panels;
    int panels_per_task;
    int panel_tasks;
};

static void run_linear(void *context, int index, int thread)
{
    (void)thread;
    const struct linear_job *job = context;
    const struct weight *weight = job->weight;
    const struct cpu_kernels *kernels = job->cpu->kernels;
    int row = index / job->panel_tasks * ROWS_PER_TASK;
    int panel = index % job->panel_tasks * job->panels_per_task;
    int panel_end = panel + job->panels_per_task;
    size_t panel_bytes = (size_t)weight->columns * (size_t)kernels->panel_columns *
                         (weight->is_bf16 ? sizeof(uint16_t) : sizeof(float));
    for (; panel < panel_end && panel < job->panels; panel++) {
        int column = panel * kernels->panel_columns;
        int columns = weight->rows - column;
        struct product_task task = {
            .a = job->input + (size_t)row * (size_t)weight->columns,
            .a_stride = (size_t)weight->columns,
            .panel = (const char *)weight->panels + (size_t)panel * panel_bytes,
            .is_bf16 = weight->is_bf16,
            .bias = weight->bias == NULL ? NULL : weight->bias + column,
            .c = job->output + (size_t)row * (size_t)weight->rows + column,
            .c_stride = (size_t)weight->rows,
            .rows = job->rows - row < ROWS_PER_TASK ? job->rows - row : ROWS_PER_TASK,
            .k = weight->columns,
            .columns = columns < kernels->panel_columns ? columns : kernels->panel_columns,
        };
        kernels->product(&task);
    }
}

enum kernel_status cpu_linear(struct backend *backend, const struct weight *weight,
                              const struct device_buffer *input, struct device_buffer *output,
                              int rows)
{
    struct cpu_backend *cpu = cpu_of(backend);
    struct linear_job job = {
        .cpu = cpu,
        .weight = weight,
        .input = const_floats_of(input),
        .output = floats_of(output),
        .rows = rows,
        .panels = panels_count(cpu, weight),
    };
    size_t cost = (size_t)rows * (size_t)weight->rows * (size_t)weight->columns;
    int tasks_wanted = cost < PARALLEL_COST ? 1 : threads_count(cpu->threads) * TASKS_PER_THREAD;
    job.panels_per_task = (job.panels + tasks_wanted - 1) / tasks_wanted;
    job.panel_tasks = (job.panels + job.panels_per_task - 1) / job.panels_per_task;
    int row_tasks = (rows + ROWS_PER_TASK - 1) / ROWS_PER_TASK;
    threads_run(cpu->threads, run_linear, &job, job.panel_tasks * row_tasks);
    return KERNEL_OK;
}
