/* rows_kernels: arguments of the kernels in rows.cu, which treat every row alone. One block a row
 * (blockIdx.x), of any number of whole warps.
 */
#ifndef KERNELS_CUDA_ROWS_KERNELS_H
#define KERNELS_CUDA_ROWS_KERNELS_H

#include <stdint.h>

#define CUDA_ROWS_KERNELS(X)                                                                       \
    X(EMBED, embed_kernel)                                                                         \
    X(ADD_NORM, add_norm_kernel)                                                                   \
    X(ROPE_ANGLES, rope_angles_kernel)                                                             \
    X(SILU_MUL, silu_mul_kernel)                                                                   \
    X(GATHER, gather_kernel)                                                                       \
    X(QUANTIZE, quantize_kernel)                                                                   \
    X(SCALE_ROWS, scale_rows_kernel)

struct embed_kernel_args {
    const uint16_t *table; // [vocabulary, width] bf16
    const int32_t *tokens; // [rows]
    uint16_t *output;      // [rows, width] bf16
    int width;
};

/* As struct add_norm_args. With `bytes`, the output is also, or with output NULL only, rounded to
 * E4M3 with a scale of its own for each row. */
struct add_norm_kernel_args {
    uint16_t *residual;    // [rows, width] bf16
    const uint16_t *delta; // [rows, width] bf16 or NULL
    const float *scale;    // [width]
    uint16_t *output;      // [rows, width] bf16 or NULL
    uint8_t *bytes;        // [rows, width] E4M3 or NULL
    float *scales;         // [rows], of bytes
    float epsilon;
    int width;
};

struct rope_angles_kernel_args {
    const int32_t *positions;         // [rows]
    const float *inverse_frequencies; // [pairs]
    float *rotations;                 // [rows, pairs, 2]: cos, sin
    float magnitude;
    int pairs;
};

/* output[r, i] = silu(input[r, i]) * input[r, width + i]; bytes as in add_norm_kernel. */
struct silu_mul_kernel_args {
    const uint16_t *input; // [rows, 2 width] bf16
    uint16_t *output;      // [rows, width] bf16 or NULL
    uint8_t *bytes;        // [rows, width] E4M3 or NULL
    float *scales;         // [rows]
    int width;
};

/* output[i] = input[indices[i]]: [count, width] bf16 */
struct gather_kernel_args {
    const int32_t *indices; // [count]
    const uint16_t *input;
    uint16_t *output;
    int width;
};

/* bytes[r, i] * scales[r] is about input[r, i]: E4M3, whose greatest number is the row's. */
struct quantize_kernel_args {
    const uint16_t *input; // [rows, width] bf16
    uint8_t *bytes;        // [rows, width] E4M3
    float *scales;         // [rows]
    int width;
};

/* output[r, i] = sums[r, i] * row_scales[r] * column_scales[i] + bias[i] */
struct scale_rows_kernel_args {
    const float *sums;          // [rows, width]
    const float *row_scales;    // [rows]
    const float *column_scales; // [width]
    const float *bias;          // [width] or NULL
    uint16_t *output;           // [rows, width] bf16
    int width;
};

#endif
