/* cpu_weight: weights packed into panels of outputs, by all threads.
 *
 * What one register tile needs for one step through the inputs stands together: an own panel of f32
 * or bf16 is [columns, panel_columns], one of int8 [columns / 4, INT8_PANEL, 4] of bytes w + 128
 * with a scale per output. Padding multiplies to 0. oneDNN lays out its panels itself.
 */
#include "kernels/cpu/cpu_backend_internal.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/cpu/isa.h"
#include "kernels/cpu/onednn.h"

/* Multiplications that take as long as packing one weight. */
enum { PACK_COST = 64 };

/* The most exact format that the processor has products for which are faster than f32's. Without
 * tiles those of bf16 are slower on most processors. */
enum weight_format cpu_auto_format(const struct cpu_backend *cpu, const char **reason_out)
{
    if (cpu->isa == ISA_AMX && isa_has_amx_bf16()) {
        *reason_out = "amx multiplies bf16 fast";
        return WEIGHTS_BF16;
    }
    if (cpu->isa == ISA_AMX || cpu->isa == ISA_AVX512_VNNI) {
        *reason_out = "vnni multiplies bytes fast";
        return WEIGHTS_INT8;
    }
    *reason_out = "neither amx nor vnni";
    return WEIGHTS_F32;
}

enum kernel_status cpu_weight_format(const struct backend *backend, enum weight_format *format)
{
    const struct cpu_backend *cpu = (const struct cpu_backend *)backend;
    if (*format == WEIGHTS_AUTO) {
        const char *reason = NULL;
        *format = cpu_auto_format(cpu, &reason);
    }
    return *format == WEIGHTS_FP8 ? KERNEL_NO_DEVICE : KERNEL_OK;
}

enum kernel_status cpu_kv_format(const struct backend *backend, enum weight_format weights,
                                 enum kv_format *format)
{
    (void)backend;
    if (*format == KV_AUTO) {
        *format = weights == WEIGHTS_F32 ? KV_F32 : KV_BF16;
    }
    return *format == KV_FP8 ? KERNEL_NO_DEVICE : KERNEL_OK;
}

void cpu_weight_close(struct backend *backend, struct weight *weight)
{
    (void)backend;
    if (weight != NULL) {
        onednn_weight_close(weight->onednn);
        free(weight->bias);
        free(weight->scales);
        free(weight->panels);
        free(weight);
    }
}

int cpu_panel_columns(const struct cpu_backend *cpu, const struct weight *weight)
{
    return weight->onednn != NULL           ? ONEDNN_PANEL
           : weight->format == WEIGHTS_INT8 ? INT8_PANEL
                                            : cpu->kernels->panel_columns;
}

int cpu_panels_count(const struct cpu_backend *cpu, const struct weight *weight)
{
    int width = cpu_panel_columns(cpu, weight);
    return (weight->rows - 1) / width + 1;
}

size_t cpu_panel_bytes(const struct cpu_backend *cpu, const struct weight *weight)
{
    size_t columns = (size_t)weight->columns;
    switch (weight->format) {
    case WEIGHTS_INT8:
        return (columns + 3) / 4 * 4 * INT8_PANEL;
    case WEIGHTS_BF16:
        return columns * (size_t)cpu->kernels->panel_columns * sizeof(uint16_t);
    case WEIGHTS_F32:
    case WEIGHTS_FP8:
    case WEIGHTS_AUTO:
        break;
    }
    return columns * (size_t)cpu->kernels->panel_columns * sizeof(float);
}

struct pack_job {
    struct cpu_backend *cpu;
    struct weight *weight;
    const struct weight_source *source;
    atomic_int status; // an enum kernel_status
};

/* Row `row` of the stacked parts as f32. */
static void read_row(const struct weight_source *source, int row, float *values)
{
    const struct weight_part *part = source->parts;
    for (; row >= part->rows; part++) {
        row -= part->rows;
    }
    size_t columns = (size_t)source->columns;
    size_t at = (size_t)row * columns * dtype_bytes(part->dtype);
    dtype_to_f32(values, (const char *)part->data + at, part->dtype, columns);
}

static void pack_floats(const struct pack_job *job, char *panel, int column, const float *values)
{
    size_t width = (size_t)job->cpu->kernels->panel_columns;
    size_t at = (size_t)column;
    for (int k = 0; k < job->weight->columns; k++, at += width) {
        if (job->weight->format == WEIGHTS_BF16) {
            ((uint16_t *)(void *)panel)[at] = dtype_f32_to_bf16(values[k]);
        } else {
            ((float *)(void *)panel)[at] = values[k];
        }
    }
}

/* `bytes`: [columns, padded with zeros to a multiple of 16]. */
static void pack_bytes(const struct pack_job *job, char *panel, int column, const int8_t *bytes)
{
    uint8_t *target = (uint8_t *)panel + (size_t)column * 4;
    for (int k = 0; k < job->weight->columns; k += 4, target += (size_t)INT8_PANEL * 4) {
        for (int i = 0; i < 4; i++) {
            target[i] = (uint8_t)(bytes[k + i] + 128);
        }
    }
}

/* The scratch memory holds a row (or oneDNN's panel of them) and a row of bytes. */
static size_t float_rows_bytes(const struct weight *weight)
{
    size_t rows = weight->onednn != NULL && weight->format != WEIGHTS_INT8 ? ONEDNN_PANEL : 1;
    return rows * (size_t)kv_pad(weight->columns) * sizeof(float);
}

static size_t pack_scratch_bytes(const struct weight *weight)
{
    size_t rows = weight->onednn != NULL ? ONEDNN_PANEL : 1;
    return float_rows_bytes(weight) + rows * (size_t)kv_pad(weight->columns);
}

static int8_t *quantize_row(const struct pack_job *job, int row, const float *values, int8_t *bytes)
{
    int32_t sum = 0;
    job->weight->scales[row] =
        job->cpu->kernels->quantize(values, job->weight->columns, bytes, &sum);
    return bytes;
}

static void pack_own(const struct pack_job *job, int index, char *scratch)
{
    const struct weight *weight = job->weight;
    size_t panel_bytes = cpu_panel_bytes(job->cpu, weight);
    char *panel = (char *)weight->panels + (size_t)index * panel_bytes;
    float *values = (float *)(void *)scratch;
    int8_t *bytes = (int8_t *)scratch + float_rows_bytes(weight);
    int width = cpu_panel_columns(job->cpu, weight);
    memset(panel, 0, panel_bytes);
    for (int i = 0; i < width && index * width + i < weight->rows; i++) {
        int row = index * width + i;
        read_row(job->source, row, values);
        if (weight->format == WEIGHTS_INT8) {
            pack_bytes(job, panel, i, quantize_row(job, row, values, bytes));
        } else {
            pack_floats(job, panel, i, values);
        }
    }
}

static enum kernel_status pack_onednn(const struct pack_job *job, int index, char *scratch,
                                      int thread)
{
    const struct weight *weight = job->weight;
    size_t columns = (size_t)weight->columns;
    float *values = (float *)(void *)scratch;
    int8_t *bytes = (int8_t *)scratch + float_rows_bytes(weight);
    bool is_int8 = weight->format == WEIGHTS_INT8;
    for (int i = 0; i < ONEDNN_PANEL && index * ONEDNN_PANEL + i < weight->rows; i++) {
        int row = index * ONEDNN_PANEL + i;
        if (is_int8) { // a row's padding is overwritten by the next
            read_row(job->source, row, values);
            (void)quantize_row(job, row, values, bytes + (size_t)i * columns);
        } else {
            read_row(job->source, row, values + (size_t)i * columns);
        }
    }
    return onednn_weight_pack(weight->onednn, index, is_int8 ? (void *)bytes : values, thread);
}

static void run_pack(void *context, int index, int thread)
{
    struct pack_job *job = context;
    char *scratch = threads_scratch(job->cpu->threads, thread);
    if (job->weight->onednn == NULL) {
        pack_own(job, index, scratch);
        return;
    }
    enum kernel_status status = pack_onednn(job, index, scratch, thread);
    if (status != KERNEL_OK) {
        atomic_store(&job->status, (int)status);
    }
}

static bool wants_onednn(const struct cpu_backend *cpu, enum weight_format format)
{
    bool has_tiles = cpu->isa == ISA_AMX;
    return cpu->onednn != NULL &&
           (format == WEIGHTS_F32 || (format == WEIGHTS_BF16 && has_tiles && isa_has_amx_bf16()) ||
            (format == WEIGHTS_INT8 && has_tiles && isa_has_amx_int8()));
}

/* oneDNN for f32, and for others where tiles make it pay; else, or where it declines, own kernels,
 * and for heads, whose rows stand apart. */
static enum kernel_status open_panels(struct cpu_backend *cpu, struct weight *weight,
                                      bool is_for_heads)
{
    if (!is_for_heads && wants_onednn(cpu, weight->format)) {
        enum kernel_status status = onednn_weight_open(cpu->onednn, weight->rows, weight->columns,
                                                       weight->format, &weight->onednn);
        if (status != KERNEL_NO_DEVICE) {
            return status;
        }
    }
    size_t bytes = (size_t)cpu_panels_count(cpu, weight) * cpu_panel_bytes(cpu, weight);
    weight->panels = aligned_alloc(64, (bytes + 63) / 64 * 64);
    return weight->panels == NULL ? KERNEL_OUT_OF_MEMORY : KERNEL_OK;
}

/* One number per output, padded to whole panels of any kind. */
static float *outputs_alloc(int rows)
{
    size_t padded = ((size_t)rows + ONEDNN_PANEL - 1) / ONEDNN_PANEL * ONEDNN_PANEL;
    return cpu_alloc(padded * sizeof(float));
}

static bool open_vectors(struct weight *weight, const struct weight_source *source)
{
    bool has_bias = false;
    for (int i = 0; i < source->parts_count; i++) {
        has_bias = has_bias || source->parts[i].bias != NULL;
    }
    if (weight->format == WEIGHTS_INT8) {
        weight->scales = outputs_alloc(weight->rows);
        if (weight->scales == NULL) {
            return false;
        }
    }
    weight->bias = has_bias ? outputs_alloc(weight->rows) : NULL;
    float *bias = weight->bias;
    for (int i = 0; bias != NULL && i < source->parts_count; i++) {
        const struct weight_part *part = &source->parts[i];
        if (part->bias != NULL) {
            dtype_to_f32(bias, part->bias, part->bias_dtype, (size_t)part->rows);
        }
        bias += part->rows;
    }
    return !has_bias || weight->bias != NULL;
}

static enum kernel_status pack(struct cpu_backend *cpu, struct weight *weight,
                               const struct weight_source *source)
{
    if (!open_vectors(weight, source)) {
        return KERNEL_OUT_OF_MEMORY;
    }
    enum kernel_status status = open_panels(cpu, weight, source->is_for_heads);
    if (status != KERNEL_OK) {
        return status;
    }
    if (!threads_reserve(cpu->threads, pack_scratch_bytes(weight))) {
        return KERNEL_OUT_OF_MEMORY;
    }
    struct pack_job job = {
        .cpu = cpu, .weight = weight, .source = source, .status = (int)KERNEL_OK};
    size_t cost = (size_t)weight->rows * (size_t)weight->columns * PACK_COST;
    threads_run(cpu->threads, run_pack, &job, cpu_panels_count(cpu, weight), cost);
    return (enum kernel_status)atomic_load(&job.status);
}

static enum kernel_status check_source(const struct weight_source *source,
                                       enum weight_format format, int *rows_out)
{
    int rows = 0;
    for (int i = 0; i < source->parts_count; i++) {
        const struct weight_part *part = &source->parts[i];
        if (part->rows <= 0 || part->rows > INT32_MAX - ONEDNN_PANEL - rows) {
            return KERNEL_BAD_SHAPE;
        }
        rows += part->rows;
    }
    *rows_out = rows;
    bool is_sound = rows > 0 && source->columns > 0 &&
                    (format != WEIGHTS_INT8 || source->columns <= INT8_INPUTS_MAX);
    return is_sound ? KERNEL_OK : KERNEL_BAD_SHAPE;
}

enum kernel_status cpu_weight_open(struct backend *backend, const struct weight_source *source,
                                   struct weight **weight_out)
{
    int rows = 0;
    enum weight_format format = source->format;
    enum kernel_status status = cpu_weight_format(backend, &format);
    if (status == KERNEL_OK) {
        status = check_source(source, format, &rows);
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
    weight->format = format;
    status = pack(cpu_of(backend), weight, source);
    if (status != KERNEL_OK) {
        cpu_weight_close(backend, weight);
        return status;
    }
    *weight_out = weight;
    return KERNEL_OK;
}
