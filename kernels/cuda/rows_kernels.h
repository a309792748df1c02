/* rows_kernels: arguments of the kernels in rows.cu, which treat every row alone: one block a row,
 * of whole warps.
 */
#ifndef KERNELS_CUDA_ROWS_KERNELS_H
#define KERNELS_CUDA_ROWS_KERNELS_H

#include <stdint.h>

#define CUDA_ROWS_KERNELS(X)                                                                       \
    X(EMBED, embed_kernel)                                                                         \
    X(ADD_NORM, add_norm_kernel)                                                                   \
    X(ROPE_ANGLES, rope_angles_kernel)                                                             \
    X(SILU_MUL, silu_mul_kernel)                                                                   \
    X(GELU, gelu_kernel)                                                                           \
    X(GATHER, gather_kernel)                                                                       \
    X(QUANTIZE, quantize_kernel)                                                                   \
    X(SCALE_ROWS, scale_rows_kernel)

enum { ROWS_THREADS_MAX = 512 }; // of a block

struct embed_kernel_args {
    const uint16_t *table;          // [vocabulary, width] bf16
    const uint16_t *position_table; // [positions, width] bf16, or NULL
    const int32_t *tokens;          // [rows]
    const int32_t *positions;       // [rows]
    uint16_t *output;               // [rows, width] bf16
    int width;
};

/* As struct add_norm_args. */
struct add_norm_kernel_args {
    uint16_t *residual;    // [rows, width] bf16
    const uint16_t *delta; // [rows, width] bf16, or NULL
    const float *scale;    // [width], or NULL
    const float *bias;     // [width], or NULL
    uint16_t *output;      // [rows, width] bf16, may be the residual
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

/* output[r, i] = silu(input[r, i]) * input[r, width + i]. With bytes in place of an output it is
 * rounded to them as quantize_kernel does. */
struct silu_mul_kernel_args {
    const uint16_t *input; // [rows, 2 width] bf16
    uint16_t *output;      // [rows, width] bf16, or NULL
    uint8_t *bytes;        // [rows, width] E4M3
    float *scales;         // [rows]
    int width;
};

struct gelu_kernel_args {
    const uint16_t *input; // [rows, width] bf16
    uint16_t *output;      // [rows, width] bf16
    int width;
};

/* output[i] = input[indices[i]] */
struct gather_kernel_args {
    const int32_t *indices; // [count]
    const uint16_t *input;  // [, width] bf16
    uint16_t *output;       // [count, width] bf16
    int width;
};

/* bytes[r, i] * scales[r] is about input[r, i]; a row's largest number becomes FP8_MAX. */
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
    const float *bias;          // [width], or NULL
    uint16_t *output;           // [rows, width] bf16, or NULL
    float *output_f32;          // the same in f32, or NULL
    int width;
};

#endif
