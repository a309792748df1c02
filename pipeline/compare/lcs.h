/* lcs: longest common subsequences of two lists of numbers, 64 cells of the table in one step.
 *
 * The table of the textbook holds at [i][j] the length for the first i of the one and the first j
 * of the other. A row of it grows by 0 or 1 from cell to cell, so that a row is bits (Hyyro 2004).
 * All memory is the arena's, taken once for the largest pair. Thread: one at a time.
 */
#ifndef PIPELINE_COMPARE_LCS_H
#define PIPELINE_COMPARE_LCS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "schemas/base/arena.h"

/* One of the two lists. */
struct lcs_list {
    const uint32_t *numbers;
    size_t count;
};

struct lcs {
    uint64_t *masks; // [row_max, words_max] where a number of the rows' list stands in the other
    uint64_t *rows;  // [row_max + 1, words_max] a set bit: no growth here; one row for lengths only
    uint32_t *slots; // [distinct] which mask a number has
    uint32_t *stamps; // [distinct] the pair for which `slots` holds
    uint32_t stamp;
};

/* The work of one pair, in steps of about a nanosecond. */
size_t lcs_steps(size_t rows, size_t columns);

/* For pairs of at most `rows` and `columns` numbers below `distinct_count`. False past the arena's
 * limit. */
bool lcs_init(struct lcs *lcs, size_t rows, size_t columns, size_t distinct_count, bool with_marks,
              struct arena *arena);

/* The length. */
size_t lcs_length(struct lcs *lcs, struct lcs_list rows, struct lcs_list columns);

/* Sets marks[i] for each number of `rows` that is in one longest subsequence: the one that walks
 * from the end, and where both ways are as long, first towards the start of `rows`. */
void lcs_mark(struct lcs *lcs, struct lcs_list rows, struct lcs_list columns, bool *marks);

#endif
