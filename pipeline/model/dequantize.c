/* dequantize: both packed layouts run along the other side of the matrix than ours, so a tile of
 * TILE outputs is unpacked at a time: what it reads and writes stays in the cache. */
#include "pipeline/model/dequantize.h"

#include <stddef.h>
#include <stdint.h>

enum { TILE = 32 };

void dequantize_fp8(const struct fp8_matrix *matrix, float *target)
{
    size_t columns = (size_t)matrix->columns;
    int blocks = (matrix->columns - 1) / matrix->block_columns + 1;
    dtype_to_f32(target, matrix->data, matrix->dtype, (size_t)matrix->rows * columns);
    for (int r = 0; r < matrix->rows; r++) {
        float *row = target + (size_t)r * columns;
        const float *scales = matrix->scales + (size_t)(r / matrix->block_rows) * (size_t)blocks;
        for (int b = 0; b < blocks; b++) {
            int first = b * matrix->block_columns;
            int rest = matrix->columns - first;
            int count = rest < matrix->block_columns ? rest : matrix->block_columns;
            for (int k = first; k < first + count; k++) {
                row[k] *= scales[b];
            }
        }
    }
}

static uint32_t load_word(const unsigned char *words, size_t index)
{
    const unsigned char *b = words + 4 * index;
    return (uint32_t)b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16 | (uint32_t)b[3] << 24;
}

/* The place within a word of number `i` of its 8. */
static int place_of(const struct packed_matrix *matrix, int i)
{
    static const int awq_order[] = {0, 4, 1, 5, 2, 6, 3, 7};
    return (matrix->is_awq ? awq_order[i] : i) * matrix->bits;
}

static void unpack_zeros(const struct packed_matrix *matrix, float *zeros)
{
    int count = 32 / matrix->bits;
    uint32_t mask = (1u << matrix->bits) - 1;
    uint32_t more = matrix->is_less_one ? 1 : 0;
    size_t words = (size_t)(matrix->rows / count);
    for (size_t g = 0; g < (size_t)matrix->groups_count; g++) {
        float *row = zeros + g * (size_t)matrix->rows;
        for (int r = 0; r < matrix->rows; r++) {
            uint32_t word = load_word(matrix->zero_points, g * words + (size_t)(r / count));
            row[r] = (float)(((word >> place_of(matrix, r % count)) + more) & mask);
        }
    }
}

/* The numbers of outputs first..end of input `column`. */
static void unpack(const struct packed_matrix *matrix, int column, int first, int end,
                   uint32_t *numbers)
{
    uint32_t mask = (1u << matrix->bits) - 1;
    size_t rows = (size_t)matrix->rows;
    if (matrix->is_awq) {
        for (int r = first; r < end; r++) {
            size_t at = (size_t)column * (rows / 8) + (size_t)r / 8;
            numbers[r - first] = load_word(matrix->words, at) >> place_of(matrix, r % 8) & mask;
        }
        return;
    }
    int count = 32 / matrix->bits;
    size_t at = (size_t)(column / count) * rows;
    int place = column % count * matrix->bits;
    for (int r = first; r < end; r++) {
        numbers[r - first] = load_word(matrix->words, at + (size_t)r) >> place & mask;
    }
}

void dequantize_packed(const struct packed_matrix *matrix, float *zeros, float *target)
{
    size_t columns = (size_t)matrix->columns;
    unpack_zeros(matrix, zeros);
    for (int first = 0; first < matrix->rows; first += TILE) {
        int end = matrix->rows - first < TILE ? matrix->rows : first + TILE;
        for (int k = 0; k < matrix->columns; k++) {
            uint32_t numbers[TILE];
            size_t group = (size_t)matrix->groups[k] * (size_t)matrix->rows;
            unpack(matrix, k, first, end, numbers);
            for (int r = first; r < end; r++) {
                size_t at = group + (size_t)r;
                target[(size_t)r * columns + (size_t)k] =
                    ((float)numbers[r - first] - zeros[at]) * matrix->scales[at];
            }
        }
    }
}
