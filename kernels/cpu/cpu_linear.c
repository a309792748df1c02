/* cpu_linear: weights packed into panels of outputs, and their products.
 *
 * oneDNN multiplies where it is there and its rows do not depend on the batch, own kernels
 * elsewhere. An own panel is [columns, panel_columns]: what one register tile needs for one input
 * stands together. Tasks are a few panels times a block of rows; how they are cut does not show in
 * the results. The bias is added when a row's sum is complete.
 */
#include "kernels/cpu/cpu_backend_internal.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "kernels/cpu/isa.h"
#include "kernels/cpu/onednn.h"

enum {
    ROWS_PER_TASK = 240,  // of own kernels: a multiple of every tile's rows; they stay in L2
    TASKS_PER_THREAD = 4, // so that a thread that was held up leaves its share to others
};

enum kernel_status cpu_weight_format(const struct backend *backend, enum weight_format *format)
{
    const struct cpu_backend *cpu = (const struct cpu_backend *)backend;
    if (*format == WEIGHTS_AUTO) {
        // Without tiles bf16 products are slower than f32 on most processors.
        *format = cpu->onednn != NULL && isa_has_amx_bf16() ? WEIGHTS_BF16 : WEIGHTS_F32;
    }
    return *format == WEIGHTS_F32 || *format == WEIGHTS_BF16 ? KERNEL_OK : KERNEL_NO_DEVICE;
}

void cpu_weight_close(struct backend *backend, struct weight *weight)
{
    (void)backend;
    if (weight != NULL) {
        onednn_weight_close(weight->onednn);
        free(weight->bias);
        free(weight->panels);
        free(weight);
    }
}

static int panels_count(const struct cpu_backend *cpu, const struct weight *weight)
{
    int width = weight->onednn != NULL ? ONEDNN_PANEL : cpu->kernels->panel_columns;
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

static enum kernel_status pack_own(const struct cpu_backend *cpu, struct weight *weight,
                                   const float *matrix)
{
    size_t padded = (size_t)panels_count(cpu, weight) * (size_t)cpu->kernels->panel_columns;
    weight->panels = cpu_alloc(padded * (size_t)weight->columns * (weight->is_bf16 ? 2 : 4));
    if (weight->panels == NULL) {
        return KERNEL_OUT_OF_MEMORY;
    }
    for (int r = 0; r < weight->rows; r++) {
        pack_row(cpu, weight, r, matrix + (size_t)r * (size_t)weight->columns);
    }
    return KERNEL_OK;
}

/* oneDNN for f32, and for bf16 where tiles make it pay; else, or where it declines, own kernels. */
static enum kernel_status pack(struct cpu_backend *cpu, struct weight *weight, const float *matrix)
{
    if (cpu->onednn != NULL && (!weight->is_bf16 || isa_has_amx_bf16())) {
        enum kernel_status status = onednn_weight_open(
            cpu->onednn, matrix, weight->rows, weight->columns, weight->is_bf16, &weight->onednn);
        if (status != KERNEL_NO_DEVICE) {
            return status;
        }
    }
    return pack_own(cpu, weight, matrix);
}

/* The parts below each other as f32. */
static void stack(const struct weight_source *source, float *matrix, float *bias)
{
    size_t row = 0;
    for (int i = 0; i < source->parts_count; i++) {
        const struct weight_part *part = &source->parts[i];
        size_t columns = (size_t)source->columns;
        dtype_to_f32(matrix + row * columns, part->data, part->dtype, (size_t)part->rows * columns);
        if (part->bias != NULL) {
            dtype_to_f32(bias + row, part->bias, part->bias_dtype, (size_t)part->rows);
        }
        row += (size_t)part->rows;
    }
}

static enum kernel_status check_source(const struct weight_source *source, int *rows_out,
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
    int rows = 0;
    bool has_bias = false;
    enum weight_format format = source->format;
    enum kernel_status status = check_source(source, &rows, &has_bias);
    if (status == KERNEL_OK) {
        status = cpu_weight_format(backend, &format);
    }
    if (status != KERNEL_OK) {
        return status;
    }
    struct weight *weight = calloc(1, sizeof(*weight));
    float *matrix = cpu_alloc((size_t)rows * (size_t)source->columns * sizeof(float));
    float *bias = has_bias ? cpu_alloc((size_t)rows * sizeof(float)) : NULL;
    if (weight == NULL || matrix == NULL || (has_bias && bias == NULL)) {
        status = KERNEL_OUT_OF_MEMORY;
        free(bias);
    } else {
        *weight = (struct weight){.rows = rows,
                                  .columns = source->columns,
                                  .is_bf16 = format == WEIGHTS_BF16,
                                  .bias = bias};
        stack(source, matrix, bias);
        status = pack(cpu_of(backend), weight, matrix);
    }
    free(matrix);
    if (status != KERNEL_OK) {
        cpu_weight_close(backend, weight);
        return status;
    }
    *weight_out = weight;
    return KERNEL_OK;
}

struct linear_job {
    struct cpu_backend *cpu;
    const struct weight *weight;
    const float *input;
    float *output;
    int rows;
    int rows_per_task;
    int panels;
    int panels_per_task;
    int panel_tasks;
    atomic_int status; // an enum kernel_status
};

/* One task's share. */
struct share {
    int row;
    int rows;
    int panel;
    int panel_end;
};

static void run_own(const struct linear_job *job, const struct share *share)
{
    const struct weight *weight = job->weight;
    const struct cpu_kernels *kernels = job->cpu->kernels;
    size_t panel_bytes = (size_t)weight->columns * (size_t)kernels->panel_columns *
                         (weight->is_bf16 ? sizeof(uint16_t) : sizeof(float));
    for (int panel = share->panel; panel < share->panel_end; panel++) {
        int column = panel * kernels->panel_columns;
        int columns = weight->rows - column;
        struct product_task task = {
            .a = job->input + (size_t)share->row * (size_t)weight->columns,
            .a_stride = (size_t)weight->columns,
            .panel = (const char *)weight->panels + (size_t)panel * panel_bytes,
            .is_bf16 = weight->is_bf16,
            .bias = weight->bias == NULL ? NULL : weight->bias + column,
            .c = job->output + (size_t)share->row * (size_t)weight->rows + column,
            .c_stride = (size_t)weight->rows,
            .rows = share->rows,
            .k = weight->columns,
            .columns = columns < kernels->panel_columns ? columns : kernels->panel_columns,
        };
        kernels->product(&task);
    }
}

static void run_onednn(struct linear_job *job, const struct share *share, int thread)
{
    const struct weight *weight = job->weight;
    struct onednn_task task = {
        .weight = weight->onednn,
        .panel = share->panel,
        .panel_end = share->panel_end,
        .input = job->input + (size_t)share->row * (size_t)weight->columns,
        .output = job->output + (size_t)share->row * (size_t)weight->rows,
        .rows = share->rows,
        .scratch = threads_scratch(job->cpu->threads, thread),
        .thread = thread,
    };
    enum kernel_status status = onednn_product(&task);
    if (status != KERNEL_OK) {
        atomic_store(&job->status, (int)status);
    }
    int first = share->panel * ONEDNN_PANEL;
    int end = share->panel_end * ONEDNN_PANEL;
    end = end < weight->rows ? end : weight->rows;
    for (int r = 0; weight->bias != NULL && r < share->rows; r++) {
        float *row = task.output + (size_t)r * (size_t)weight->rows;
        for (int i = first; i < end; i++) {
            row[i] += weight->bias[i];
        }
    }
}

static void run_linear(void *context, int index, int thread)
{
    struct linear_job *job = context;
    struct share share = {
        .row = index / job->panel_tasks * job->rows_per_task,
        .panel = index % job->panel_tasks * job->panels_per_task,
    };
    int rows = job->rows - share.row;
    share.rows = rows < job->rows_per_task ? rows : job->rows_per_task;
    share.panel_end = share.panel + job->panels_per_task;
    share.panel_end = share.panel_end < job->panels ? share.panel_end : job->panels;
    if (job->weight->onednn != NULL) {
        run_onednn(job, &share, thread);
    } else {
        run_own(job, &share);
    }
}

enum kernel_status cpu_multiply(struct cpu_backend *cpu, const struct weight *weight,
                                const float *input, float *output, int rows)
{
    bool is_own = weight->onednn == NULL;
    struct linear_job job = {
        .cpu = cpu,
        .weight = weight,
        .input = input,
        .output = output,
        .rows = rows,
        .rows_per_task = is_own ? ROWS_PER_TASK : onednn_block_rows(weight->onednn),
        .panels = panels_count(cpu, weight),
        .status = KERNEL_OK,
    };
    if (!is_own && !threads_reserve(cpu->threads, onednn_scratch_bytes(weight->onednn))) {
        return KERNEL_OUT_OF_MEMORY;
    }
    size_t cost = (size_t)rows * (size_t)weight->rows * (size_t)weight->columns;
    int tasks_wanted = threads_count(cpu->threads) * TASKS_PER_THREAD;
    job.panels_per_task = (job.panels + tasks_wanted - 1) / tasks_wanted;
    job.panel_tasks = (job.panels + job.panels_per_task - 1) / job.panels_per_task;
    int row_tasks = (rows + job.rows_per_task - 1) / job.rows_per_task;
    threads_run(cpu->threads, run_linear, &job, job.panel_tasks * row_tasks, cost);
    return (enum kernel_status)atomic_load(&job.status);
}

enum kernel_status cpu_linear(struct backend *backend, const struct weight *weight,
                              const struct device_buffer *input, struct device_buffer *output,
                              int rows)
{
    return cpu_multiply(cpu_of(backend), weight, const_floats_of(input), floats_of(output), rows);
}
