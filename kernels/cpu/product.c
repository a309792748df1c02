/* product: the own matrix product. A tile of ROWS x panel_columns sums stays in registers while k
 * runs; sums are taken in the order of k whatever the number of rows, so a row's result does not
 * depend on its neighbours. Long k is cut into pieces whose panel stays in the nearest cache; the
 * sums wait in c between pieces, which loses nothing.
 */
#include "kernels/cpu/product.h"

#include "kernels/cpu/vector.h"

enum { ROWS = PRODUCT_ROWS, VECTORS = PRODUCT_VECTORS };
enum { K_PIECE = 384 };

/* The part of the product that one call of `tile` adds. */
struct piece {
    int row;
    int k_first;
    int k_end;
};

INLINE struct vec panel_load(const struct product_task *task, size_t index)
{
    return task->is_bf16 ? vec_load_bf16((const uint16_t *)task->panel + index)
                         : vec_load((const float *)task->panel + index);
}

INLINE int lanes_of(const struct product_task *task, int vector)
{
    int lanes = task->columns - vector * LANES;
    return lanes > LANES ? LANES : lanes > 0 ? lanes : 0;
}

INLINE void sums_start(const struct product_task *task, const struct piece *piece, const int rows,
                       struct vec *sums)
{
#pragma GCC unroll 12
    for (int r = 0; r < rows; r++) {
        const float *c = task->c + (size_t)(piece->row + r) * task->c_stride;
#pragma GCC unroll 2
        for (int v = 0; v < VECTORS; v++) {
            sums[r * VECTORS + v] =
                piece->k_first == 0 ? vec_zero() : vec_load_part(c + v * LANES, lanes_of(task, v));
        }
    }
}

INLINE void sums_finish(const struct product_task *task, const struct piece *piece, const int rows,
                        const struct vec *sums)
{
    const float *bias = piece->k_end == task->k ? task->bias : NULL;
#pragma GCC unroll 12
    for (int r = 0; r < rows; r++) {
        float *c = task->c + (size_t)(piece->row + r) * task->c_stride;
#pragma GCC unroll 2
        for (int v = 0; v < VECTORS; v++) {
            int lanes = lanes_of(task, v);
            struct vec sum = sums[r * VECTORS + v];
            if (bias != NULL) {
                sum = vec_add(sum, vec_load_part(bias + v * LANES, lanes));
            }
            vec_store_part(c + v * LANES, sum, lanes);
        }
    }
}

INLINE void tile(const struct product_task *task, const struct piece *piece, const int rows)
{
    struct vec sums[ROWS * VECTORS];
    const float *a = task->a + (size_t)piece->row * task->a_stride;
    sums_start(task, piece, rows, sums);
    for (int k = piece->k_first; k < piece->k_end; k++) {
        struct vec b[VECTORS];
#pragma GCC unroll 2
        for (int v = 0; v < VECTORS; v++) {
            b[v] = panel_load(task, ((size_t)k * VECTORS + (size_t)v) * LANES);
        }
#pragma GCC unroll 12
        for (int r = 0; r < rows; r++) {
            struct vec x = vec_set1(a[(size_t)r * task->a_stride + (size_t)k]);
#pragma GCC unroll 2
            for (int v = 0; v < VECTORS; v++) {
                sums[r * VECTORS + v] = vec_fma(x, b[v], sums[r * VECTORS + v]);
            }
        }
    }
    sums_finish(task, piece, rows, sums);
}

/* One instance of `tile` per number of rows, so that its loops unroll into registers. */
static void tile_of(const struct product_task *task, const struct piece *piece, int rows)
{
    switch (rows) {
#define TILE(n)                                                                                    \
    case n:                                                                                        \
        tile(task, piece, n);                                                                      \
        break;
        TILE(1)
        TILE(2)
#if defined(KERNEL_AVX512) || defined(KERNEL_AVX2)
        TILE(3)
        TILE(4)
        TILE(5)
        TILE(6)
#endif
#if defined(KERNEL_AVX512)
        TILE(7)
        TILE(8)
        TILE(9)
        TILE(10)
        TILE(11)
        TILE(12)
#endif
#undef TILE
    default:
        break;
    }
}

void KERNEL_NAME(product)(const struct product_task *task)
{
    for (int k = 0; k < task->k; k += K_PIECE) {
        int k_end = k + K_PIECE < task->k ? k + K_PIECE : task->k;
        for (int row = 0; row < task->rows; row += ROWS) {
            struct piece piece = {.row = row, .k_first = k, .k_end = k_end};
            int rows = task->rows - row < ROWS ? task->rows - row : ROWS;
            tile_of(task, &piece, rows);
        }
    }
}
