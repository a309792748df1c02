/* cpu_mlp: gate and up, their activation, and down, for many rows at once.
 *
 * In one operation after the other, what gate and up give is written to memory and read back, four
 * times as many bytes as the products read: the processors would wait for it. So each thread takes
 * a block of rows the whole way, through memory that stays in its caches. Weights of bytes only:
 * with others the products take so long that it does not show. Few rows are better shared by
 * outputs, as the operations alone do it. All numbers are the same either way.
 */
#include "kernels/cpu/cpu_backend_internal.h"

enum {
    BLOCK_ROWS_MIN = 96, // below, reading the weights for each block costs more than is won
    BLOCK_ROWS_MAX = 240,
    ROWS_UNIT = 6,          // of the largest tile
    BLOCK_BYTES = 12 << 20, // of one thread's memory
    PADDING = 64,           // between its parts
};

struct mlp_job {
    struct cpu_backend *cpu;
    const struct mlp_args *args;
    int block_rows;
};

/* One thread's memory, for one block of rows. */
struct block {
    struct quantized input;
    struct quantized activated;
    float *numbers; // [rows, width], activated, before they are bytes
    float *gate;    // [rows, INT8_PANEL]
    float *up;      // likewise
};

static size_t padded(size_t bytes)
{
    return (bytes + PADDING - 1) / PADDING * PADDING;
}

static size_t block_bytes(const struct mlp_args *args, int rows)
{
    return padded(cpu_quantized_bytes(rows, args->gate_up->columns)) +
           padded(cpu_quantized_bytes(rows, args->width)) +
           (size_t)rows * ((size_t)args->width + 2 * INT8_PANEL) * sizeof(float);
}

static struct block block_at(char *memory, const struct mlp_args *args, int rows)
{
    int inputs = args->gate_up->columns;
    char *activated = memory + padded(cpu_quantized_bytes(rows, inputs));
    struct block block = {.input = cpu_quantized_at(memory, rows, inputs),
                          .activated = cpu_quantized_at(activated, rows, args->width)};
    block.numbers = (float *)(void *)(activated + padded(cpu_quantized_bytes(rows, args->width)));
    block.gate = block.numbers + (size_t)rows * (size_t)args->width;
    block.up = block.gate + (size_t)rows * INT8_PANEL;
    return block;
}

/* One panel of gate, the same of up, and what they make. */
static void run_panel(const struct mlp_job *job, const struct block *block, int panel, int rows)
{
    const struct mlp_args *args = job->args;
    struct int8_product product = {.weight = args->gate_up,
                                   .input = &block->input,
                                   .rows = rows,
                                   .panel = panel,
                                   .panel_end = panel + 1,
                                   .output = block->gate,
                                   .output_stride = INT8_PANEL};
    cpu_int8_product(job->cpu, &product);
    product.panel += args->width / INT8_PANEL;
    product.panel_end = product.panel + 1;
    product.output = block->up;
    cpu_int8_product(job->cpu, &product);
    float *target = block->numbers + (size_t)panel * INT8_PANEL;
    for (int r = 0; r < rows; r++) {
        job->cpu->kernels->silu_mul(block->gate + (size_t)r * INT8_PANEL,
                                    block->up + (size_t)r * INT8_PANEL,
                                    target + (size_t)r * (size_t)args->width, INT8_PANEL);
    }
}

static void run_block(void *context, int index, int thread)
{
    const struct mlp_job *job = context;
    const struct mlp_args *args = job->args;
    const struct cpu_kernels *kernels = job->cpu->kernels;
    struct block block =
        block_at(threads_scratch(job->cpu->threads, thread), args, job->block_rows);
    size_t first = (size_t)index * (size_t)job->block_rows;
    int left = args->rows - (int)first;
    int rows = left < job->block_rows ? left : job->block_rows;
    struct row_range all = {0, rows, thread};
    size_t inputs = (size_t)args->gate_up->columns;
    if (args->input->quantized_rows > 0) {
        struct quantized input = cpu_quantized_at(args->input->data, args->input->quantized_rows,
                                                  args->gate_up->columns);
        block.input = cpu_quantized_from(&input, first);
    } else {
        cpu_quantize(kernels, &block.input, const_floats_of(args->input) + first * inputs, all);
    }
    for (int panel = 0; panel < args->width / INT8_PANEL; panel++) {
        run_panel(job, &block, panel, rows);
    }
    cpu_quantize(kernels, &block.activated, block.numbers, all);
    size_t outputs = (size_t)args->down->rows;
    struct int8_product down = {.weight = args->down,
                                .input = &block.activated,
                                .rows = rows,
                                .panel_end = cpu_panels_count(job->cpu, args->down),
                                .output = floats_of(args->output) + first * outputs,
                                .output_stride = outputs};
    cpu_int8_product(job->cpu, &down);
}

/* Rows of a block: as many as fit, shared evenly among the threads; 0: in steps. */
static int block_rows(const struct cpu_backend *cpu, const struct mlp_args *args)
{
    const struct weight *gate_up = args->gate_up;
    if (gate_up->panels == NULL || gate_up->format != WEIGHTS_INT8 || args->down->panels == NULL ||
        args->down->format != WEIGHTS_INT8 || args->width % INT8_PANEL != 0) {
        return 0;
    }
    int rows_max = BLOCK_ROWS_MAX;
    while (rows_max > 0 && block_bytes(args, rows_max) > BLOCK_BYTES) {
        rows_max -= ROWS_UNIT;
    }
    int threads = threads_count(cpu->threads);
    if (rows_max < BLOCK_ROWS_MIN || args->rows / threads < BLOCK_ROWS_MIN) {
        return 0;
    }
    int rounds = (args->rows - 1) / (rows_max * threads) + 1;
    int rows = (args->rows - 1) / (rounds * threads) + 1;
    return (rows + ROWS_UNIT - 1) / ROWS_UNIT * ROWS_UNIT;
}

static enum kernel_status run_steps(struct backend *backend, const struct mlp_args *args)
{
    enum kernel_status status =
        cpu_linear(backend, args->gate_up, args->input, args->gated, args->rows);
    if (status == KERNEL_OK) {
        status = cpu_silu_mul(backend, args->gated, args->activated, args->rows, args->width);
    }
    return status != KERNEL_OK
               ? status
               : cpu_linear(backend, args->down, args->activated, args->output, args->rows);
}

enum kernel_status cpu_mlp(struct backend *backend, const struct mlp_args *args)
{
    struct cpu_backend *cpu = cpu_of(backend);
    int quantized_rows = args->input->quantized_rows;
    if (args->gate_up->rows != 2 * args->width || args->down->columns != args->width ||
        (quantized_rows != 0 &&
         (quantized_rows != args->rows || args->gate_up->format != WEIGHTS_INT8))) {
        return KERNEL_BAD_SHAPE;
    }
    struct mlp_job job = {.cpu = cpu, .args = args, .block_rows = block_rows(cpu, args)};
    if (job.block_rows == 0) {
        return run_steps(backend, args);
    }
    if (!threads_reserve(cpu->threads, block_bytes(args, job.block_rows))) {
        return KERNEL_OUT_OF_MEMORY;
    }
    size_t weights = (size_t)args->gate_up->rows * (size_t)args->gate_up->columns +
                     (size_t)args->down->rows * (size_t)args->down->columns;
    threads_run(cpu->threads, run_block, &job, (args->rows - 1) / job.block_rows + 1,
                weights * (size_t)args->rows / 4);
    return KERNEL_OK;
}
