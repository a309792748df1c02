/* dequantize: both packed layouts run along the other side of the matrix than ours, so TILE
 * outputs are unpacked at a time. */
#include "pipeline/model/dequantize.h"

#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum { TILE = 32, COLUMNS = 64 };

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

/* Words first..first + count, which may have any alignment and are little-endian, as we are. */
static void load_words(const void *words, size_t first, int count, uint32_t *words_out)
{
    memcpy(words_out, (const char *)words + first * sizeof(uint32_t),
           (size_t)count * sizeof(uint32_t));
}

/* Where the numbers of 8 outputs are within AWQ's word of 4 bits each. */
static const int awq_places[] = {0, 16, 4, 20, 8, 24, 12, 28};

/* The place within a word of number `i` of its 8, or 4. */
static int place_of(const struct packed_matrix *matrix, int i)
{
    return matrix->is_awq ? awq_places[i] : i * matrix->bits;
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
            uint32_t word = 0;
            load_words(matrix->zero_points, g * words + (size_t)(r / count), 1, &word);
            row[r] = (float)(((word >> place_of(matrix, r % count)) + more) & mask);
        }
    }
}

/* The numbers of outputs first..end of input `column`. */
static void unpack(const struct packed_matrix *matrix, int column, int first, int end,
                   uint32_t *numbers)
{
    uint32_t words[TILE];
    uint32_t mask = (1u << matrix->bits) - 1;
    size_t rows = (size_t)matrix->rows;
    int per_word = 32 / matrix->bits;
    if (matrix->is_awq) {
        size_t at = (size_t)column * (rows / 8) + (size_t)first / 8;
        load_words(matrix->words, at, (end - first) / 8, words);
        for (int i = 0; i < end - first; i += 8) {
            for (int k = 0; k < 8; k++) {
                numbers[i + k] = words[i / 8] >> awq_places[k] & mask;
            }
        }
        return;
    }
    int place = column % per_word * matrix->bits;
    load_words(matrix->words, (size_t)(column / per_word) * rows + (size_t)first, end - first,
               words);
    for (int i = 0; i < end - first; i++) {
        numbers[i] = words[i] >> place & mask;
    }
}

/* Outputs first..end of all inputs, through a tile that stays in the cache:
 * rows of the target may lie a multiple of a page apart. */
static void unpack_tile(const struct packed_matrix *matrix, const float *zeros, int first, int end,
                        float *target)
{
    float tile[TILE][COLUMNS];
    for (int column = 0; column < matrix->columns; column += COLUMNS) {
        int rest = matrix->columns - column;
        int count = rest < COLUMNS ? rest : COLUMNS;
        for (int k = 0; k < count; k++) {
            uint32_t numbers[TILE];
            size_t at = (size_t)matrix->groups[column + k] * (size_t)matrix->rows + (size_t)first;
            unpack(matrix, column + k, first, end, numbers);
            for (int i = 0; i < end - first; i++) {
                tile[i][k] =
                    ((float)numbers[i] - zeros[at + (size_t)i]) * matrix->scales[at + (size_t)i];
            }
        }
        for (int i = 0; i < end - first; i++) {
            memcpy(target + (size_t)(first + i) * (size_t)matrix->columns + column, tile[i],
                   (size_t)count * sizeof(float));
        }
    }
}

void dequantize_packed(const struct packed_matrix *matrix, float *zeros, float *target)
{
    unpack_zeros(matrix, zeros);
    for (int first = 0; first < matrix->rows; first += TILE) {
        int end = matrix->rows - first < TILE ? matrix->rows : first + TILE;
        unpack_tile(matrix, zeros, first, end, target);
    }
}
