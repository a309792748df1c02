/* cuda_weight: weights on the device, [outputs, inputs] as the files have them: bf16, or E4M3 with
 * a scale for each output, which the device rounds from bf16 a few rows at a time.
 */
#include "kernels/cuda/cuda_backend_internal.h"

#include <limits.h>
#include <stdlib.h>

enum {
    CAPABILITY_FP8 = 89,
    FP8_UNIT = 16, // cuBLAS multiplies matrices of E4M3 whose sides are multiples of it
    PIECE_BYTES = 1 << 20,
    PIECE = 4096, // numbers on their way through the host's stack
};

enum kernel_status cuda_weight_format(const struct backend *backend, enum weight_format *format)
{
    const struct cuda_backend *cuda = (const struct cuda_backend *)backend;
    if (*format == WEIGHTS_AUTO) {
        *format = WEIGHTS_BF16;
    }
    bool is_there =
        *format == WEIGHTS_BF16 || (*format == WEIGHTS_FP8 && cuda->capability >= CAPABILITY_FP8);
    return is_there ? KERNEL_OK : KERNEL_NO_DEVICE;
}

enum kernel_status cuda_kv_format(const struct backend *backend, enum weight_format weights,
                                  enum kv_format *format)
{
    (void)backend;
    (void)weights;
    if (*format == KV_AUTO) {
        *format = KV_BF16;
    }
    return *format == KV_BF16 || *format == KV_FP8 ? KERNEL_OK : KERNEL_NO_DEVICE;
}

void cuda_weight_close(struct backend *backend, struct weight *weight)
{
    if (weight != NULL) {
        backend->ops->buffer_close(backend, weight->data);
        backend->ops->buffer_close(backend, weight->scales);
        backend->ops->buffer_close(backend, weight->bias);
        backend->ops->buffer_close(backend, weight->bias_bf16);
        free(weight);
    }
}

/* Puts `count` numbers, as bf16, behind `at` of them in the target. */
static enum kernel_status bring(struct backend *backend, struct device_buffer *target, size_t at,
                                const void *source, enum dtype dtype, size_t count)
{
    if (dtype == DTYPE_BF16) {
        return backend->ops->copy_in(backend, target, at * sizeof(uint16_t), source,
                                     count * sizeof(uint16_t));
    }
    float values[PIECE];
    uint16_t rounded[PIECE];
    enum kernel_status status = KERNEL_OK;
    for (size_t done = 0; status == KERNEL_OK && done < count;) {
        size_t piece = count - done < PIECE ? count - done : PIECE;
        dtype_to_f32(values, (const char *)source + done * dtype_bytes(dtype), dtype, piece);
        for (size_t i = 0; i < piece; i++) {
            rounded[i] = dtype_f32_to_bf16(values[i]);
        }
        status = backend->ops->copy_in(backend, target, (at + done) * sizeof(uint16_t), rounded,
                                       piece * sizeof(uint16_t));
        done += piece;
    }
    return status;
}

static enum kernel_status bring_f32(struct backend *backend, struct device_buffer *target,
                                    size_t at, const void *source, enum dtype dtype, size_t count)
{
    float values[PIECE];
    enum kernel_status status = KERNEL_OK;
    for (size_t done = 0; status == KERNEL_OK && done < count;) {
        size_t piece = count - done < PIECE ? count - done : PIECE;
        dtype_to_f32(values, (const char *)source + done * dtype_bytes(dtype), dtype, piece);
        status = backend->ops->copy_in(backend, target, (at + done) * sizeof(float), values,
                                       piece * sizeof(float));
        done += piece;
    }
    return status;
}

enum kernel_status cuda_table_open(struct backend *backend, const struct weight_part *part,
                                   int columns, struct device_buffer **table_out)
{
    if (part->rows <= 0 || columns <= 0) {
        return KERNEL_BAD_SHAPE;
    }
    size_t count = (size_t)part->rows * (size_t)columns;
    enum kernel_status status =
        backend->ops->buffer_open(backend, count * sizeof(uint16_t), table_out);
    if (status != KERNEL_OK) {
        return status;
    }
    status = bring(backend, *table_out, 0, part->data, part->dtype, count);
    if (status != KERNEL_OK) {
        backend->ops->buffer_close(backend, *table_out);
        *table_out = NULL;
    }
    return status;
}

static enum kernel_status bring_bf16(struct backend *backend, struct weight *weight,
                                     const struct weight_source *source)
{
    size_t columns = (size_t)weight->columns;
    size_t count = (size_t)weight->rows * columns;
    enum kernel_status status =
        backend->ops->buffer_open(backend, count * sizeof(uint16_t), &weight->data);
    size_t at = 0;
    for (int i = 0; status == KERNEL_OK && i < source->parts_count; i++) {
        const struct weight_part *part = &source->parts[i];
        size_t numbers = (size_t)part->rows * columns;
        status = bring(backend, weight->data, at, part->data, part->dtype, numbers);
        at += numbers;
    }
    return status;
}

/* Rows of bf16 that wait to be rounded. */
struct rounding {
    struct device_buffer *piece; // [rows_max, columns] bf16
    int rows_max;
    int row; // of the weight that comes next
};

static enum kernel_status round_part(struct backend *backend, struct weight *weight,
                                     const struct weight_part *part, struct rounding *rounding)
{
    size_t columns = (size_t)weight->columns;
    enum kernel_status status = KERNEL_OK;
    for (int done = 0; status == KERNEL_OK && done < part->rows;) {
        int rows = part->rows - done < rounding->rows_max ? part->rows - done : rounding->rows_max;
        const char *source =
            (const char *)part->data + (size_t)done * columns * dtype_bytes(part->dtype);
        status = bring(backend, rounding->piece, 0, source, part->dtype, (size_t)rows * columns);
        struct quantize_kernel_args args = {
            .input = cuda_pointer(rounding->piece),
            .bytes = (uint8_t *)cuda_pointer(weight->data) + (size_t)rounding->row * columns,
            .scales = (float *)cuda_pointer(weight->scales) + rounding->row,
            .width = weight->columns,
        };
        struct cuda_grid grid = cuda_rows_grid(rows, weight->columns);
        if (status == KERNEL_OK) {
            status = cuda_launch(cuda_of(backend), CUDA_QUANTIZE, &grid, &args, sizeof(args));
        }
        done += rows;
        rounding->row += rows;
    }
    return status;
}

static enum kernel_status bring_fp8(struct backend *backend, struct weight *weight,
                                    const struct weight_source *source)
{
    const struct backend_operations *ops = backend->ops;
    size_t columns = (size_t)weight->columns;
    size_t row_bytes = columns * sizeof(uint16_t);
    struct rounding rounding = {.rows_max = (int)(PIECE_BYTES / row_bytes) + 1};
    enum kernel_status status =
        ops->buffer_open(backend, (size_t)weight->rows * columns, &weight->data);
    if (status == KERNEL_OK) {
        status = ops->buffer_open(backend, (size_t)weight->rows * sizeof(float), &weight->scales);
    }
    if (status == KERNEL_OK) {
        status = ops->buffer_open(backend, (size_t)rounding.rows_max * row_bytes, &rounding.piece);
    }
    for (int i = 0; status == KERNEL_OK && i < source->parts_count; i++) {
        status = round_part(backend, weight, &source->parts[i], &rounding);
    }
    ops->buffer_close(backend, rounding.piece);
    return status;
}

static bool has_bias(const struct weight_source *source)
{
    for (int i = 0; i < source->parts_count; i++) {
        if (source->parts[i].bias != NULL) {
            return true;
        }
    }
    return false;
}

/* f32 and, rounded, bf16: cuBLAS wants a bias in the type of the output. Parts without one keep the
 * zeros that a buffer begins with. */
static enum kernel_status bring_bias(struct backend *backend, struct weight *weight,
                                     const struct weight_source *source)
{
    size_t rows = (size_t)weight->rows;
    enum kernel_status status =
        backend->ops->buffer_open(backend, rows * sizeof(float), &weight->bias);
    if (status == KERNEL_OK) {
        status = backend->ops->buffer_open(backend, rows * sizeof(uint16_t), &weight->bias_bf16);
    }
    size_t at = 0;
    for (int i = 0; status == KERNEL_OK && i < source->parts_count; i++) {
        const struct weight_part *part = &source->parts[i];
        size_t count = (size_t)part->rows;
        if (part->bias != NULL) {
            status = bring_f32(backend, weight->bias, at, part->bias, part->bias_dtype, count);
        }
        if (status == KERNEL_OK && part->bias != NULL) {
            status = bring(backend, weight->bias_bf16, at, part->bias, part->bias_dtype, count);
        }
        at += count;
    }
    return status;
}

static enum kernel_status count_rows(const struct weight_source *source, int *rows_out)
{
    int rows = 0;
    for (int i = 0; i < source->parts_count; i++) {
        if (source->parts[i].rows <= 0 || source->parts[i].rows > INT_MAX - rows) {
            return KERNEL_BAD_SHAPE;
        }
        rows += source->parts[i].rows;
    }
    *rows_out = rows;
    return rows > 0 && source->columns > 0 ? KERNEL_OK : KERNEL_BAD_SHAPE;
}

enum kernel_status cuda_weight_open(struct backend *backend, const struct weight_source *source,
                                    struct weight **weight_out)
{
    int rows = 0;
    enum weight_format format = source->format == WEIGHTS_F32 ? WEIGHTS_BF16 : source->format;
    enum kernel_status status = cuda_weight_format(backend, &format);
    if (status == KERNEL_OK) {
        status = count_rows(source, &rows);
    }
    if (status != KERNEL_OK) {
        return status;
    }
    struct weight *weight = calloc(1, sizeof(*weight));
    if (weight == NULL) {
        return KERNEL_OUT_OF_MEMORY;
    }
    bool is_fp8 = format == WEIGHTS_FP8 && !source->is_for_heads && rows % FP8_UNIT == 0 &&
                  source->columns % FP8_UNIT == 0;
    weight->rows = rows;
    weight->columns = source->columns;
    weight->format = is_fp8 ? WEIGHTS_FP8 : WEIGHTS_BF16;
    status = is_fp8 ? bring_fp8(backend, weight, source) : bring_bf16(backend, weight, source);
    if (status == KERNEL_OK && has_bias(source)) {
        status = bring_bias(backend, weight, source);
    }
    if (status != KERNEL_OK) {
        cuda_weight_close(backend, weight);
        return status;
    }
    *weight_out = weight;
    return KERNEL_OK;
}
