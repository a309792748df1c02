/* cpu_linear: products of rows with packed weights.
 *
 * oneDNN multiplies where it is there and its rows do not depend on the batch, own kernels
 * elsewhere. Tasks are a few panels times a block of rows; how they are cut does not show in the
 * results. The bias is added when a row's sum is complete. Before a product of bytes each row is
 * rounded to bytes and a scale of its own.
 */
#include "kernels/cpu/cpu_backend_internal.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "kernels/cpu/onednn.h"

enum {
    ROWS_PER_TASK = 240,         // of own kernels: a multiple of every tile's rows
    TASK_ROWS_UNIT = 48,         // likewise
    INT8_TASK_BYTES = 256 << 10, // of input, so that it stays in L2 beside a panel
    TASKS_PER_THREAD = 4,        // so that a thread that was held up leaves its share to others
};

struct linear_job {
    struct cpu_backend *cpu;
    const struct weight *weight;
    const float *input;
    struct quantized quantized; // the input, of int8; bytes NULL: yet to be made
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
    size_t panel_bytes = cpu_panel_bytes(job->cpu, weight);
    for (int panel = share->panel; panel < share->panel_end; panel++) {
        int column = panel * kernels->panel_columns;
        int columns = weight->rows - column;
        struct product_task task = {
            .a = job->input + (size_t)share->row * (size_t)weight->columns,
            .a_stride = (size_t)weight->columns,
            .panel = (const char *)weight->panels + (size_t)panel * panel_bytes,
            .is_bf16 = weight->format == WEIGHTS_BF16,
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

void cpu_int8_product(const struct cpu_backend *cpu, const struct int8_product *product)
{
    const struct weight *weight = product->weight;
    const struct quantized *input = product->input;
    size_t row = (size_t)product->row;
    size_t panel_bytes = cpu_panel_bytes(cpu, weight);
    for (int panel = product->panel; panel < product->panel_end; panel++) {
        int column = panel * INT8_PANEL;
        int columns = weight->rows - column;
        struct int8_task task = {
            .a = input->bytes + row * input->stride,
            .a_stride = input->stride,
            .a_scales = input->scales + row,
            .a_sums = input->sums + row,
            .panel = (const uint8_t *)weight->panels + (size_t)panel * panel_bytes,
            .scales = weight->scales + column,
            .bias = weight->bias == NULL ? NULL : weight->bias + column,
            .c = product->output + (size_t)(panel - product->panel) * INT8_PANEL,
            .c_stride = product->output_stride,
            .rows = product->rows,
            .k = (size_t)weight->columns,
            .columns = columns < INT8_PANEL ? columns : INT8_PANEL,
        };
        cpu->kernels->product_int8(&task);
    }
}

static void run_int8(const struct linear_job *job, const struct share *share)
{
    size_t outputs = (size_t)job->weight->rows;
    size_t column = (size_t)share->panel * INT8_PANEL;
    struct int8_product product = {
        .weight = job->weight,
        .input = &job->quantized,
        .row = share->row,
        .rows = share->rows,
        .panel = share->panel,
        .panel_end = share->panel_end,
        .output = job->output + (size_t)share->row * outputs + column,
        .output_stride = outputs,
    };
    cpu_int8_product(job->cpu, &product);
}

/* What oneDNN leaves to do: the bias, and for int8 the scales. */
static void finish_onednn(const struct linear_job *job, const struct share *share)
{
    const struct weight *weight = job->weight;
    int first = share->panel * ONEDNN_PANEL;
    int end = share->panel_end * ONEDNN_PANEL;
    end = end < weight->rows ? end : weight->rows;
    for (int r = share->row; r < share->row + share->rows; r++) {
        float *row = job->output + (size_t)r * (size_t)weight->rows;
        if (weight->format == WEIGHTS_INT8) {
            job->cpu->kernels->scale_sums(row + first, end - first, job->quantized.scales[r],
                                          weight->scales + first,
                                          weight->bias == NULL ? NULL : weight->bias + first);
            continue;
        }
        for (int i = first; weight->bias != NULL && i < end; i++) {
            row[i] += weight->bias[i];
        }
    }
}

static void run_onednn(struct linear_job *job, const struct share *share, int thread)
{
    const struct weight *weight = job->weight;
    const struct quantized *quantized = &job->quantized;
    bool is_int8 = weight->format == WEIGHTS_INT8;
    size_t row = (size_t)share->row;
    struct onednn_task task = {
        .weight = weight->onednn,
        .panel = share->panel,
        .panel_end = share->panel_end,
        .input = is_int8 ? (const void *)(quantized->bytes + row * quantized->stride)
                         : job->input + row * (size_t)weight->columns,
        .input_stride = quantized->stride,
        .output = job->output + row * (size_t)weight->rows,
        .rows = share->rows,
        .scratch = threads_scratch(job->cpu->threads, thread),
        .thread = thread,
    };
    enum kernel_status status = onednn_product(&task);
    if (status != KERNEL_OK) {
        atomic_store(&job->status, (int)status);
        return;
    }
    finish_onednn(job, share);
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
    } else if (job->weight->format == WEIGHTS_INT8) {
        run_int8(job, &share);
    } else {
        run_own(job, &share);
    }
}

size_t cpu_quantized_bytes(int rows, int columns)
{
    return (size_t)rows * ((size_t)kv_pad(columns) + sizeof(float) + sizeof(int32_t));
}

struct quantized cpu_quantized_at(void *memory, int rows, int columns)
{
    size_t stride = (size_t)kv_pad(columns);
    struct quantized quantized = {.bytes = memory, .stride = stride, .columns = columns};
    quantized.scales = (float *)(void *)((char *)memory + (size_t)rows * stride);
    quantized.sums = (int32_t *)(void *)(quantized.scales + rows);
    return quantized;
}

struct quantized cpu_quantized_from(const struct quantized *all, size_t first)
{
    return (struct quantized){.bytes = all->bytes + first * all->stride,
                              .stride = all->stride,
                              .scales = all->scales + first,
                              .sums = all->sums + first,
                              .columns = all->columns};
}

void cpu_quantize(const struct cpu_kernels *kernels, const struct quantized *quantized,
                  const float *input, struct row_range rows)
{
    size_t columns = (size_t)quantized->columns;
    for (int r = rows.first; r < rows.end; r++) {
        quantized->scales[r] = kernels->quantize(input + (size_t)r * columns, quantized->columns,
                                                 quantized->bytes + (size_t)r * quantized->stride,
                                                 &quantized->sums[r]);
    }
}

static void quantize_rows(const void *context, struct row_range rows)
{
    const struct linear_job *job = context;
    cpu_quantize(job->cpu->kernels, &job->quantized, job->input, rows);
}

static bool quantized_reserve(struct cpu_backend *cpu, size_t bytes)
{
    if (bytes <= cpu->quantized_bytes) {
        return true;
    }
    free(cpu->quantized);
    cpu->quantized = cpu_alloc(bytes);
    cpu->quantized_bytes = cpu->quantized == NULL ? 0 : bytes;
    return cpu->quantized != NULL;
}

/* Rounds the input to bytes, in memory that the backend keeps. */
static bool quantize(struct linear_job *job)
{
    struct cpu_backend *cpu = job->cpu;
    int columns = job->weight->columns;
    if (!quantized_reserve(cpu, cpu_quantized_bytes(job->rows, columns))) {
        return false;
    }
    job->quantized = cpu_quantized_at(cpu->quantized, job->rows, columns);
    cpu_each_rows(cpu, job->rows, (size_t)columns * ELEMENT_COST / 4, quantize_rows, job);
    return true;
}

static int rows_per_task(const struct weight *weight)
{
    if (weight->onednn != NULL) {
        return onednn_block_rows(weight->onednn);
    }
    if (weight->format != WEIGHTS_INT8) {
        return ROWS_PER_TASK;
    }
    int units = INT8_TASK_BYTES / kv_pad(weight->columns) / TASK_ROWS_UNIT;
    return TASK_ROWS_UNIT * (units < 1 ? 1 : units);
}

/* In multiplications of f32: those of bytes are four at a time, but their weights must be read. */
static size_t product_cost(const struct weight *weight, int rows)
{
    size_t count = (size_t)weight->rows * (size_t)weight->columns;
    bool is_int8 = weight->format == WEIGHTS_INT8;
    return is_int8 ? count * ((size_t)rows / 4 + 3) : count * (size_t)rows;
}

static enum kernel_status multiply(struct linear_job *job)
{
    struct cpu_backend *cpu = job->cpu;
    const struct weight *weight = job->weight;
    if ((weight->onednn != NULL &&
         !threads_reserve(cpu->threads, onednn_scratch_bytes(weight->onednn))) ||
        (weight->format == WEIGHTS_INT8 && job->quantized.bytes == NULL && !quantize(job))) {
        return KERNEL_OUT_OF_MEMORY;
    }
    job->rows_per_task = rows_per_task(weight);
    job->panels = cpu_panels_count(cpu, weight);
    int tasks_wanted = threads_count(cpu->threads) * TASKS_PER_THREAD;
    job->panels_per_task = (job->panels + tasks_wanted - 1) / tasks_wanted;
    job->panel_tasks = (job->panels + job->panels_per_task - 1) / job->panels_per_task;
    int row_tasks = (job->rows + job->rows_per_task - 1) / job->rows_per_task;
    threads_run(cpu->threads, run_linear, job, job->panel_tasks * row_tasks,
                product_cost(weight, job->rows));
    return (enum kernel_status)atomic_load(&job->status);
}

enum kernel_status cpu_multiply(struct cpu_backend *cpu, const struct weight *weight,
                                const float *input, float *output, int rows)
{
    struct linear_job job = {.cpu = cpu,
                             .weight = weight,
                             .input = input,
                             .output = output,
                             .rows = rows,
                             .status = KERNEL_OK};
    return multiply(&job);
}

enum kernel_status cpu_linear(struct backend *backend, const struct weight *weight,
                              const struct device_buffer *input, struct device_buffer *output,
                              int rows)
{
    if (input->quantized_rows == 0) {
        return cpu_multiply(cpu_of(backend), weight, const_floats_of(input), floats_of(output),
                            rows);
    }
    if (input->quantized_rows != rows || weight->format != WEIGHTS_INT8) {
        return KERNEL_BAD_SHAPE;
    }
    struct linear_job job = {.cpu = cpu_of(backend),
                             .weight = weight,
                             .quantized = cpu_quantized_at(input->data, rows, weight->columns),
                             .output = floats_of(output),
                             .rows = rows,
                             .status = KERNEL_OK};
    return multiply(&job);
}
