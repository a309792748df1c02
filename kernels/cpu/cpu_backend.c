/* cpu_backend: opening, memory and the table of operations. Operations are done when they return.
 */
#include "kernels/cpu/cpu_backend.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "kernels/cpu/cpu_backend_internal.h"
#include "kernels/cpu/isa.h"
#include "kernels/cpu/onednn.h"
#include "schemas/base/check.h"

enum {
    THREADS_MAX = 256,
    ALIGNMENT = 64,
    CHUNKS_PER_THREAD = 4, // so that a thread that was held up leaves its share to others
};

void *cpu_alloc(size_t bytes)
{
    if (bytes > SIZE_MAX - 64) {
        return NULL;
    }
    size_t rounded = bytes == 0 ? 64 : (bytes + 63) / 64 * 64;
    void *data = aligned_alloc(64, rounded);
    if (data != NULL) {
        memset(data, 0, rounded);
    }
    return data;
}

static void cpu_close(struct backend *backend)
{
    struct cpu_backend *cpu = cpu_of(backend);
    threads_close(cpu->threads);
    free(cpu->quantized);
    onednn_close(cpu->onednn);
    free(cpu);
}

static enum kernel_status cpu_buffer_open(struct backend *backend, size_t bytes,
                                          struct device_buffer **buffer_out)
{
    (void)backend;
    struct device_buffer *buffer = malloc(sizeof(*buffer));
    // Zeros that the system gives cost neither time nor memory before they are touched, which most
    // of a large KV cache may never be; so calloc, and the alignment by hand.
    void *memory = bytes > SIZE_MAX - ALIGNMENT ? NULL : calloc(1, bytes + ALIGNMENT);
    if (buffer == NULL || memory == NULL) {
        free(buffer);
        free(memory);
        return KERNEL_OUT_OF_MEMORY;
    }
    size_t beyond = (uintptr_t)memory % ALIGNMENT;
    *buffer = (struct device_buffer){
        .memory = memory,
        .data = (char *)memory + (beyond == 0 ? 0 : ALIGNMENT - beyond),
        .bytes = bytes,
    };
    *buffer_out = buffer;
    return KERNEL_OK;
}

static void cpu_buffer_close(struct backend *backend, struct device_buffer *buffer)
{
    (void)backend;
    if (buffer != NULL) {
        free(buffer->memory);
        free(buffer);
    }
}

static bool lies_inside(const struct device_buffer *buffer, size_t offset, size_t bytes)
{
    return offset <= buffer->bytes && bytes <= buffer->bytes - offset;
}

static enum kernel_status cpu_copy_in(struct backend *backend, struct device_buffer *target,
                                      size_t offset, const void *source, size_t bytes)
{
    (void)backend;
    if (!lies_inside(target, offset, bytes)) {
        return KERNEL_BAD_SHAPE;
    }
    memcpy((char *)target->data + offset, source, bytes);
    return KERNEL_OK;
}

static enum kernel_status cpu_copy_out(struct backend *backend, void *target,
                                       const struct device_buffer *source, size_t offset,
                                       size_t bytes)
{
    (void)backend;
    if (!lies_inside(source, offset, bytes)) {
        return KERNEL_BAD_SHAPE;
    }
    memcpy(target, (const char *)source->data + offset, bytes);
    return KERNEL_OK;
}

static enum kernel_status cpu_synchronize(struct backend *backend)
{
    (void)backend;
    return KERNEL_OK;
}

static size_t cpu_memory_left(const struct backend *backend)
{
    (void)backend;
    return 0;
}

static const struct backend_operations cpu_operations = {
    .close = cpu_close,
    .buffer_open = cpu_buffer_open,
    .buffer_close = cpu_buffer_close,
    .copy_in = cpu_copy_in,
    .copy_out = cpu_copy_out,
    .synchronize = cpu_synchronize,
    .memory_left = cpu_memory_left,
    .weight_format = cpu_weight_format,
    .kv_format = cpu_kv_format,
    .weight_open = cpu_weight_open,
    .weight_close = cpu_weight_close,
    .table_open = cpu_table_open,
    .kv_block_bytes = cpu_kv_block_bytes,
    .embed = cpu_embed,
    .add_norm = cpu_add_norm,
    .linear = cpu_linear,
    .logits = cpu_linear, // activations are f32 already
    .rope_angles = cpu_rope_angles,
    .rope_kv_write = cpu_rope_kv_write,
    .attention = cpu_attention,
    .head_linear = cpu_head_linear,
    .latent_write = cpu_latent_write,
    .silu_mul = cpu_silu_mul,
    .gelu = cpu_gelu,
    .mlp = cpu_mlp,
    .gather_rows = cpu_gather_rows,
    .expert_route = cpu_expert_route,
    .expert_linear = cpu_expert_linear,
    .expert_combine = cpu_expert_combine,
    .sample = cpu_sample,
};

static int processors(void)
{
    long count = sysconf(_SC_NPROCESSORS_ONLN);
    return count < 1 ? 1 : count > THREADS_MAX ? THREADS_MAX : (int)count;
}

/* The instruction set to run with, and oneDNN where it can be used. Tiles are used by oneDNN alone:
 * without it, auto takes what comes after them. */
static bool choose_isa(struct cpu_backend *cpu, const struct backend_options *options, int threads)
{
    cpu->isa = options->isa;
    if (!isa_choose(&cpu->isa)) {
        return false;
    }
    cpu->onednn = options->without_onednn ? NULL : onednn_open(cpu->isa, threads);
    if (cpu->isa == ISA_AMX && cpu->onednn == NULL) {
        cpu->isa = ISA_AVX512_VNNI;
        return options->isa == ISA_AUTO;
    }
    return true;
}

bool cpu_backend_open(const struct backend_options *options, struct backend **backend_out,
                      struct error *error)
{
    if (options->threads < 0 || options->threads > THREADS_MAX) {
        return error_set(error, ERROR_CONFIG, "invalid_value", "threads",
                         "threads is %d, must be from 0 (one per processor) to %d",
                         options->threads, THREADS_MAX);
    }
    struct cpu_backend *cpu = calloc(1, sizeof(*cpu));
    if (cpu == NULL) {
        return error_set(error, ERROR_FATAL, NULL, NULL, "out of memory for the cpu backend");
    }
    cpu->base.ops = &cpu_operations;
    cpu->base.activation_bytes = sizeof(float);
    cpu->base.device = BACKEND_CPU;
    int threads = options->threads == 0 ? processors() : options->threads;
    if (!choose_isa(cpu, options, threads)) {
        cpu_close(&cpu->base);
        return error_set(error, ERROR_CONFIG, "invalid_value", "isa",
                         "this processor has no %s%s: choose another instruction set, or auto",
                         isa_name(options->isa),
                         options->isa == ISA_AMX ? ", or oneDNN is not used" : "");
    }
    cpu->kernels = isa_kernels(cpu->isa);
    cpu->threads = threads_open(threads);
    if (cpu->threads == NULL) {
        cpu_close(&cpu->base);
        return error_set(error, ERROR_FATAL, NULL, NULL, "cannot start %d threads", threads);
    }
    (void)snprintf(cpu->base.description, sizeof(cpu->base.description), "cpu %s%s%s, %d thread%s",
                   isa_name(cpu->isa), cpu->onednn == NULL ? "" : " onednn ",
                   onednn_version(cpu->onednn), threads, threads == 1 ? "" : "s");
    (void)cpu_auto_format(cpu, &cpu->base.auto_reason);
    *backend_out = &cpu->base;
    return true;
}

struct row_job {
    void (*body)(const void *context, struct row_range rows);
    const void *context;
    int rows;
    int chunk;
};

static void run_rows(void *context, int index, int thread)
{
    const struct row_job *job = context;
    int first = index * job->chunk;
    int end = job->rows - first < job->chunk ? job->rows : first + job->chunk;
    job->body(job->context, (struct row_range){first, end, thread});
}

void cpu_each_rows(struct cpu_backend *cpu, int rows, size_t cost,
                   void (*body)(const void *context, struct row_range rows), const void *context)
{
    struct row_job job = {.body = body, .context = context, .rows = rows};
    int chunks = threads_count(cpu->threads) * CHUNKS_PER_THREAD;
    job.chunk = rows < chunks ? 1 : (rows + chunks - 1) / chunks;
    int tasks = (rows + job.chunk - 1) / job.chunk;
    threads_run(cpu->threads, run_rows, &job, tasks, (size_t)rows * cost);
}
