/* dequantize: packed matrices to f32, [rows, columns] = [outputs, inputs]. Shapes are the caller's
 * to check; the numbers may be anything. Thread: any. */
#ifndef PIPELINE_MODEL_DEQUANTIZE_H
#define PIPELINE_MODEL_DEQUANTIZE_H

#include <stdbool.h>

#include "kernels/dtype.h"

/* A byte for each number, times the scale of its block. */
struct fp8_matrix {
    const void *data; // [rows, columns]
    enum dtype dtype; // DTYPE_F8_E4M3 or DTYPE_F8_E5M2
    int rows;
    int columns;
    const float *scales; // [ceil(rows / block_rows), ceil(columns / block_columns)]
    int block_rows;
    int block_columns;
};

void dequantize_fp8(const struct fp8_matrix *matrix, float *target);

/* Whole numbers of 4 or 8 bits, several in a little-endian word of 32: value = (number - zero
 * point) * scale, by output and group of inputs.
 *   AWQ:  words [columns, rows / 8], side by side along the outputs in the order of awq_places
 *   GPTQ: words [columns / count, rows], in order along the inputs
 * Zero points are [groups, rows / count] words, packed along the outputs as AWQ's words (AWQ) or in
 * order (GPTQ). */
struct packed_matrix {
    const void *words;
    const void *zero_points;
    const float *scales; // [groups, rows]
    const int *groups;   // [columns], each below groups_count
    int groups_count;
    int rows;
    int columns;
    int bits;
    bool is_awq;
    bool is_less_one; // zero points are stored less one (and 0 as the largest)
};

/* `zeros`: room for [groups_count, rows]. */
void dequantize_packed(const struct packed_matrix *matrix, float *zeros, float *target);

#endif
