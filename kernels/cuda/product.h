/* product: matrix products by cuBLASLt.
 *
 * The library's heuristic is asked once for each shape, with rows rounded up, and its answer is
 * kept.
 *
 * Thread: one at a time.
 */
#ifndef KERNELS_CUDA_PRODUCT_H
#define KERNELS_CUDA_PRODUCT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernels/cuda/cublas.h"

struct products;

/* output[r, o] = the sum over c of inputs[r, c] * weights[o, c], plus bias[o] */
struct product {
    const void *weights; // [outputs, columns]
    const void *inputs;  // [rows, columns], rows input_stride apart
    void *output;        // [rows, outputs], rows output_stride apart
    int outputs;
    int columns;
    int rows;
    int input_stride; // in elements
    int output_stride;
    bool is_fp8;                // weights and inputs are E4M3, else bf16
    bool is_f32;                // the output is f32, else bf16
    const void *bias;           // [outputs] of the output's type, or NULL
    const float *weight_scales; // [outputs] with input_scales: they multiply the output
    const float *input_scales;  // [rows]
    bool is_unsplit;            // sums are not split; rows are not rounded up
};

/* `workspace` is device memory of PRODUCT_WORKSPACE_BYTES, the caller's. Results are cuBLAS's. */
enum { PRODUCT_WORKSPACE_BYTES = 32 << 20 };
int products_open(const struct cublas_library *library, void *workspace,
                  struct products **products_out);
void products_close(struct products *products); // accepts NULL

/* Whether the library can do it at all, for this shape. */
bool products_can(struct products *products, const struct product *product);
/* Puts the product on the stream. */
int products_run(struct products *products, const struct product *product,
                 struct cuda_stream *stream);

#endif
