/* cuda_linear: products of rows with weights, by cuBLASLt.
 *
 * E4M3 weights meet rows that are rounded to E4M3 with a scale of their own. The library multiplies
 * by both scales where it can (compute capability 9.0); elsewhere it leaves sums in f32, which a
 * kernel scales.
 *
 * Batch-invariant products run in blocks of INVARIANT_ROWS rows by one algorithm, the last block
 * filled up with zeros, so that a row's result does not depend on how many others there are.
 */
#include "kernels/cuda/cuda_backend_internal.h"

#include "kernels/cuda/cublas.h"
#include "kernels/cuda/product.h"

enum { INVARIANT_ROWS = 128, ALIGNMENT = 256 };

static enum kernel_status product_status(struct cuda_backend *cuda, int result)
{
    switch (result) {
    case CUBLAS_OK:
        return cuda->is_lost ? KERNEL_DEVICE_LOST : KERNEL_OK;
    case CUBLAS_ALLOC_FAILED:
        return KERNEL_OUT_OF_MEMORY;
    case CUBLAS_NOT_SUPPORTED:
    case CUBLAS_INVALID_VALUE:
        return KERNEL_BAD_SHAPE;
    default:
        cuda->is_lost = true;
        return KERNEL_DEVICE_LOST;
    }
}

static size_t padded(size_t bytes)
{
    return (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

static size_t input_bytes(const struct product *product)
{
    return product->is_fp8 ? sizeof(uint8_t) : sizeof(uint16_t);
}

static size_t output_bytes(const struct product *product)
{
    return product->is_f32 ? sizeof(float) : sizeof(uint16_t);
}

/* Memory behind what the caller of run_product has in cuda_scratch: a block's inputs and outputs.
 */
static size_t invariant_scratch_bytes(const struct cuda_backend *cuda,
                                      const struct product *product)
{
    return !cuda->is_batch_invariant
               ? 0
               : padded((size_t)INVARIANT_ROWS * (size_t)product->columns * input_bytes(product)) +
                     padded((size_t)INVARIANT_ROWS * (size_t)product->outputs *
                            output_bytes(product)) +
                     INVARIANT_ROWS * sizeof(float);
}

/* The last block, of fewer rows, in memory that has room for all. Inputs and outputs stand row
 * after row. */
static enum kernel_status run_last_block(struct cuda_backend *cuda, const struct product *product,
                                         char *scratch)
{
    const struct cuda_driver *driver = cuda->driver;
    struct product whole = *product;
    size_t in_bytes = (size_t)product->columns * input_bytes(product);
    size_t out_bytes = (size_t)product->outputs * output_bytes(product);
    size_t rows = (size_t)product->rows;
    char *output = scratch + padded(INVARIANT_ROWS * in_bytes);
    char *scales = output + padded(INVARIANT_ROWS * out_bytes);
    whole.inputs = scratch;
    whole.output = output;
    whole.rows = INVARIANT_ROWS;
    int result =
        driver->cuMemsetD8Async((uintptr_t)scratch, 0, INVARIANT_ROWS * in_bytes, cuda->stream);
    if (result == CUDA_OK) {
        result = driver->cuMemcpyDtoDAsync((uintptr_t)scratch, (uintptr_t)product->inputs,
                                           rows * in_bytes, cuda->stream);
    }
    if (result == CUDA_OK && product->input_scales != NULL) {
        whole.input_scales = (const float *)(const void *)scales;
        result = driver->cuMemsetD8Async((uintptr_t)scales, 0, INVARIANT_ROWS * sizeof(float),
                                         cuda->stream);
    }
    if (result == CUDA_OK && product->input_scales != NULL) {
        result = driver->cuMemcpyDtoDAsync((uintptr_t)scales, (uintptr_t)product->input_scales,
                                           rows * sizeof(float), cuda->stream);
    }
    enum kernel_status status = cuda_status(cuda, result);
    if (status == KERNEL_OK) {
        status = product_status(cuda, products_run(cuda->products, &whole, cuda->stream));
    }
    if (status == KERNEL_OK) {
        status = cuda_status(cuda, driver->cuMemcpyDtoDAsync((uintptr_t)product->output,
                                                             (uintptr_t)output, rows * out_bytes,
                                                             cuda->stream));
    }
    return status;
}

/* `scratch` is of invariant_scratch_bytes. */
static enum kernel_status run_product(struct cuda_backend *cuda, const struct product *product,
                                      char *scratch)
{
    if (!cuda->is_batch_invariant) {
        return product_status(cuda, products_run(cuda->products, product, cuda->stream));
    }
    enum kernel_status status = KERNEL_OK;
    for (int done = 0; status == KERNEL_OK && done < product->rows; done += INVARIANT_ROWS) {
        struct product block = *product;
        size_t first = (size_t)done;
        block.inputs = (const char *)product->inputs +
                       first * (size_t)product->input_stride * input_bytes(product);
        block.output = (char *)product->output +
                       first * (size_t)product->output_stride * output_bytes(product);
        block.input_scales = product->input_scales == NULL ? NULL : product->input_scales + first;
        block.is_unsplit = true;
        block.rows = product->rows - done;
        if (block.rows >= INVARIANT_ROWS) {
            block.rows = INVARIANT_ROWS;
            status = product_status(cuda, products_run(cuda->products, &block, cuda->stream));
        } else {
            status = run_last_block(cuda, &block, scratch);
        }
    }
    return status;
}

static struct product product_of(const struct weight *weight, const void *input, void *output,
                                 int rows)
{
    return (struct product){
        .weights = cuda_pointer(weight->data),
        .inputs = input,
        .output = output,
        .outputs = weight->rows,
        .columns = weight->columns,
        .rows = rows,
        .input_stride = weight->columns,
        .output_stride = weight->rows,
        .is_fp8 = weight->format == WEIGHTS_FP8,
    };
}

static enum kernel_status multiply_bf16(struct cuda_backend *cuda, struct product *product)
{
    void *scratch = NULL;
    size_t bytes = invariant_scratch_bytes(cuda, product);
    enum kernel_status status = bytes == 0 ? KERNEL_OK : cuda_scratch(cuda, bytes, &scratch);
    return status == KERNEL_OK ? run_product(cuda, product, scratch) : status;
}

/* The parts of cuda_scratch that a product of E4M3 needs. */
struct fp8_scratch {
    uint8_t *bytes; // [rows, columns]
    float *scales;  // [rows]
    float *sums;    // [rows, outputs], or NULL
    char *block;    // invariant_scratch_bytes
};

static enum kernel_status reserve_fp8(struct cuda_backend *cuda, const struct product *product,
                                      bool needs_sums, struct fp8_scratch *scratch_out)
{
    size_t rows = (size_t)product->rows;
    size_t bytes = padded(rows * (size_t)product->columns);
    size_t scales = padded(rows * sizeof(float));
    size_t sums = needs_sums ? padded(rows * (size_t)product->outputs * sizeof(float)) : 0;
    void *memory = NULL;
    enum kernel_status status =
        cuda_scratch(cuda, bytes + scales + sums + invariant_scratch_bytes(cuda, product), &memory);
    char *start = memory;
    if (status == KERNEL_OK) {
        *scratch_out = (struct fp8_scratch){
            .bytes = memory,
            .scales = (float *)(void *)(start + bytes),
            .sums = needs_sums ? (float *)(void *)(start + bytes + scales) : NULL,
            .block = start + bytes + scales + sums,
        };
    }
    return status;
}

/* Multiplies what lies in scratch->bytes. */
static enum kernel_status multiply_fp8(struct cuda_backend *cuda, const struct weight *weight,
                                       const struct product *product,
                                       const struct fp8_scratch *scratch)
{
    struct product sums = *product;
    if (scratch->sums == NULL) {
        return run_product(cuda, product, scratch->block);
    }
    sums.output = scratch->sums;
    sums.is_f32 = true;
    sums.bias = NULL;
    sums.weight_scales = NULL;
    sums.input_scales = NULL;
    enum kernel_status status = run_product(cuda, &sums, scratch->block);
    struct scale_rows_kernel_args args = {
        .sums = scratch->sums,
        .row_scales = scratch->scales,
        .column_scales = cuda_pointer(weight->scales),
        .bias = cuda_pointer(weight->bias),
        .output = product->is_f32 ? NULL : product->output,
        .output_f32 = product->is_f32 ? product->output : NULL,
        .width = weight->rows,
    };
    struct cuda_grid grid = cuda_rows_grid(product->rows, weight->rows);
    return status == KERNEL_OK ? cuda_launch(cuda, CUDA_SCALE_ROWS, &grid, &args, sizeof(args))
                               : status;
}

/* Makes a product of E4M3 ready; its inputs are to be put where scratch_out says. */
static enum kernel_status prepare_fp8(struct cuda_backend *cuda, const struct weight *weight,
                                      struct product *product, struct fp8_scratch *scratch_out)
{
    product->weight_scales = cuda_pointer(weight->scales);
    product->input_scales = product->weight_scales; // any pointer, to ask
    product->inputs = product->weights;             // likewise
    bool needs_sums = !products_can(cuda->products, product);
    enum kernel_status status = reserve_fp8(cuda, product, needs_sums, scratch_out);
    if (status == KERNEL_OK) {
        product->inputs = scratch_out->bytes;
        product->input_scales = scratch_out->scales;
    }
    return status;
}

static enum kernel_status multiply(struct cuda_backend *cuda, const struct weight *weight,
                                   struct product *product)
{
    if (!product->is_fp8) {
        return multiply_bf16(cuda, product);
    }
    struct quantize_kernel_args args = {.input = product->inputs, .width = weight->columns};
    struct fp8_scratch scratch;
    enum kernel_status status = prepare_fp8(cuda, weight, product, &scratch);
    if (status == KERNEL_OK) {
        args.bytes = scratch.bytes;
        args.scales = scratch.scales;
        struct cuda_grid grid = cuda_rows_grid(product->rows, weight->columns);
        status = cuda_launch(cuda, CUDA_QUANTIZE, &grid, &args, sizeof(args));
    }
    return status == KERNEL_OK ? multiply_fp8(cuda, weight, product, &scratch) : status;
}

enum kernel_status cuda_linear(struct backend *backend, const struct weight *weight,
                               const struct device_buffer *input, struct device_buffer *output,
                               int rows)
{
    struct product product = product_of(weight, cuda_pointer(input), cuda_pointer(output), rows);
    product.bias = cuda_pointer(weight->bias_bf16);
    return rows == 0 ? KERNEL_OK : multiply(cuda_of(backend), weight, &product);
}

enum kernel_status cuda_logits(struct backend *backend, const struct weight *weight,
                               const struct device_buffer *input, struct device_buffer *output,
                               int rows)
{
    struct product product = product_of(weight, cuda_pointer(input), cuda_pointer(output), rows);
    product.is_f32 = true;
    product.bias = cuda_pointer(weight->bias);
    return rows == 0 ? KERNEL_OK : multiply(cuda_of(backend), weight, &product);
}

enum kernel_status cuda_mlp(struct backend *backend, const struct mlp_args *args)
{
    struct cuda_backend *cuda = cuda_of(backend);
    enum kernel_status status =
        cuda_linear(backend, args->gate_up, args->input, args->gated, args->rows);
    if (status != KERNEL_OK || args->rows == 0) {
        return status;
    }
    if (args->down->format != WEIGHTS_FP8) {
        status = cuda_silu_mul(backend, args->gated, args->activated, args->rows, args->width);
        return status == KERNEL_OK
                   ? cuda_linear(backend, args->down, args->activated, args->output, args->rows)
                   : status;
    }
    struct product product = product_of(args->down, NULL, cuda_pointer(args->output), args->rows);
    struct fp8_scratch scratch;
    product.bias = cuda_pointer(args->down->bias_bf16);
    status = prepare_fp8(cuda, args->down, &product, &scratch);
    if (status != KERNEL_OK) {
        return status;
    }
    struct silu_mul_kernel_args kernel = {
        .input = cuda_pointer(args->gated),
        .bytes = scratch.bytes,
        .scales = scratch.scales,
        .width = args->width,
    };
    struct cuda_grid grid = cuda_rows_grid(args->rows, args->width);
    status = cuda_launch(cuda, CUDA_SILU_MUL, &grid, &kernel, sizeof(kernel));
    return status == KERNEL_OK ? multiply_fp8(cuda, args->down, &product, &scratch) : status;
}

enum kernel_status cuda_head_linear(struct backend *backend, const struct head_linear_args *args)
{
    struct cuda_backend *cuda = cuda_of(backend);
    enum kernel_status status = KERNEL_OK;
    for (int h = 0; status == KERNEL_OK && args->rows > 0 && h < args->heads; h++) {
        const struct weight *weight = args->weights[h];
        if (weight->format != WEIGHTS_BF16 || weight->columns > args->input_width ||
            weight->rows > args->output_width) {
            return KERNEL_BAD_SHAPE;
        }
        size_t head = (size_t)h;
        const uint16_t *input = (const uint16_t *)cuda_pointer(args->input);
        uint16_t *output = cuda_pointer(args->output);
        struct product product = product_of(weight, input + head * (size_t)args->input_width,
                                            output + head * (size_t)args->output_width, args->rows);
        product.input_stride = args->heads * args->input_width;
        product.output_stride = args->heads * args->output_width;
        status = product_status(cuda, products_run(cuda->products, &product, cuda->stream));
    }
    return status;
}
