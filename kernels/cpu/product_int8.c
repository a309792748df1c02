/* product_int8: exact integer sums of bytes, scaled to f32. A tile of ROWS x VECTORS x 16 sums
 * stays in registers while k runs, four inputs at a time. Sums of integers do not depend on their
 * order, so a row's result depends on its own inputs alone, and only the rounding of the scaled
 * result differs between instruction sets.
 */
#include "kernels/cpu/product_int8.h"

#include <math.h>

#include "kernels/cpu/int_vector.h"

#if defined(KERNEL_AVX512)
enum { ROWS = 6, VECTORS = 4 }; // 24 sums, 4 of the panel, 1 of the inputs: 32 registers
#elif defined(KERNEL_AVX2)
enum { ROWS = 4, VECTORS = 1 }; // 8 sums, 4, 2: 16 registers of 8 lanes
#else
enum { ROWS = 1, VECTORS = 1 };
#endif

/* Below this a row is zeros: 127 over its largest value would not be a number. */
#define SMALLEST 1e-30f

/* 0 if all values are finite, else NaN; the largest of them without their sign. */
INLINE float largest_of(const float *row, int count, float *largest_out)
{
    struct vec most = vec_zero();
    struct vec least = vec_zero();
    struct vec zeros = vec_zero(); // x * 0 is NaN where x is not finite, and stays so in a sum
    for (int i = 0; i < count; i += LANES) {
        struct vec x = vec_load_part(row + i, count - i < LANES ? count - i : LANES);
        most = vec_max(x, most);
        least = vec_max(vec_sub(vec_zero(), x), least);
        zeros = vec_fma(x, vec_zero(), zeros);
    }
    *largest_out = vec_max_lane(vec_max(most, least));
    return vec_sum(zeros);
}

float KERNEL_NAME(quantize)(const float *row, int count, int8_t *bytes_out, int32_t *sum_out)
{
    float largest = 0;
    float finite = largest_of(row, count, &largest);
    *sum_out = 0;
    if (isnan(finite) || largest < SMALLEST) {
        memset(bytes_out, 0, ((size_t)count + LANES - 1) / LANES * LANES);
        return finite;
    }
    struct vec factor = vec_set1(127.0f / largest);
    struct ints sum = ints_zero();
    for (int i = 0; i < count; i += LANES) {
        struct vec x = vec_load_part(row + i, count - i < LANES ? count - i : LANES);
        struct ints rounded = ints_of_vec(vec_round(vec_mul(x, factor)));
        sum = ints_add(sum, rounded);
        ints_store_bytes(bytes_out + i, rounded);
    }
    *sum_out = ints_sum(sum);
    return largest / 127.0f;
}

/* sum * (scale * scales) + bias for some outputs. */
INLINE struct vec scaled(struct ints sum, struct vec scale, const float *scales, const float *bias,
                         int lanes)
{
    struct vec factor = vec_mul(scale, vec_load_part(scales, lanes));
    struct vec result = vec_mul(ints_to_vec(sum), factor);
    return bias == NULL ? result : vec_add(result, vec_load_part(bias, lanes));
}

void KERNEL_NAME(scale_sums)(void *row, int count, float scale, const float *scales,
                             const float *bias)
{
    float *output = row;
    for (int i = 0; i < count; i += LANES) {
        int lanes = count - i < LANES ? count - i : LANES;
        struct ints sum = ints_load_part(output + i, lanes);
        struct vec result =
            scaled(sum, vec_set1(scale), scales + i, bias == NULL ? NULL : bias + i, lanes);
        vec_store_part(output + i, result, lanes);
    }
}

/* Scales the sums of one row and stores those that are outputs of the weight. */
INLINE void row_finish(const struct int8_task *task, int row, int column, const struct ints *sums)
{
    float *c = task->c + (size_t)row * task->c_stride + column;
    struct vec scale = vec_set1(task->a_scales[row]);
    int32_t surplus = WEIGHT_ZERO * task->a_sums[row]; // of weights that are WEIGHT_ZERO too large
#pragma GCC unroll 4
    for (int v = 0; v < VECTORS; v++) {
        int lanes = task->columns - column - v * LANES;
        if (lanes > 0) {
            int at = column + v * LANES;
            const float *bias = task->bias == NULL ? NULL : task->bias + at;
            struct vec result =
                scaled(ints_sub1(sums[v], surplus), scale, task->scales + at, bias, LANES);
            vec_store_part(c + v * LANES, result, lanes < LANES ? lanes : LANES);
        }
    }
}

INLINE void tile(const struct int8_task *task, int row, const int rows, int column)
{
    struct ints sums[ROWS * VECTORS];
    const int8_t *a = task->a + (size_t)row * task->a_stride;
    const uint8_t *panel = task->panel + (size_t)column * 4;
#pragma GCC unroll 24
    for (int i = 0; i < rows * VECTORS; i++) {
        sums[i] = ints_zero();
    }
    for (size_t k = 0; k < task->k; k += 4) {
        struct dot_weights w[VECTORS];
#pragma GCC unroll 4
        for (int v = 0; v < VECTORS; v++) {
            w[v] = dot_weights_load(panel + k * INT8_PANEL + (size_t)v * LANES * 4);
        }
#pragma GCC unroll 6
        for (int r = 0; r < rows; r++) {
            struct dot_inputs x = dot_inputs_load(a + (size_t)r * task->a_stride + k);
#pragma GCC unroll 4
            for (int v = 0; v < VECTORS; v++) {
                sums[r * VECTORS + v] = ints_dot(sums[r * VECTORS + v], w[v], x);
            }
        }
    }
#pragma GCC unroll 6
    for (int r = 0; r < rows; r++) {
        row_finish(task, row + r, column, sums + r * VECTORS);
    }
}

/* One instance of `tile` per number of rows, so that its loops unroll into registers. */
static void tile_of(const struct int8_task *task, int row, int rows, int column)
{
    switch (rows) {
#define TILE(n)                                                                                    \
    case n:                                                                                        \
        tile(task, row, n, column);                                                                \
        break;
        TILE(1)
#if defined(KERNEL_AVX512) || defined(KERNEL_AVX2)
        TILE(2)
        TILE(3)
        TILE(4)
#endif
#if defined(KERNEL_AVX512)
        TILE(5)
        TILE(6)
#endif
#undef TILE
    default:
        break;
    }
}

void KERNEL_NAME(product_int8)(const struct int8_task *task)
{
    for (int column = 0; column < task->columns; column += VECTORS * LANES) {
        for (int row = 0; row < task->rows; row += ROWS) {
            tile_of(task, row, task->rows - row < ROWS ? task->rows - row : ROWS, column);
        }
    }
}
