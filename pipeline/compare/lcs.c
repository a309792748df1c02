/* lcs: rows of bits, and the way back through them. */
#include "pipeline/compare/lcs.h"

#include <string.h>

enum { STEPS_PER_PAIR = 16 };

static size_t words_of(size_t columns)
{
    return (columns + 63) / 64;
}

size_t lcs_steps(size_t rows, size_t columns)
{
    return rows * words_of(columns) + columns + STEPS_PER_PAIR;
}

bool lcs_init(struct lcs *lcs, size_t rows, size_t columns, size_t distinct_count, bool with_marks,
              struct arena *arena)
{
    size_t words = words_of(columns);
    *lcs = (struct lcs){
        .masks = arena_alloc_array(arena, rows * words, sizeof *lcs->masks),
        .rows = arena_alloc_array(arena, (with_marks ? rows + 1 : 1) * words, sizeof *lcs->rows),
        .slots = arena_alloc_array(arena, distinct_count, sizeof *lcs->slots),
        .stamps = arena_alloc_array(arena, distinct_count, sizeof *lcs->stamps),
    };
    return lcs->masks != NULL && lcs->rows != NULL && lcs->slots != NULL && lcs->stamps != NULL;
}

/* Gives each number of `rows` a mask, and sets in it where it stands in `columns`. */
static void fill_masks(struct lcs *lcs, struct lcs_list rows, struct lcs_list columns)
{
    size_t words = words_of(columns.count);
    uint32_t count = 0;
    lcs->stamp++;
    for (size_t i = 0; i < rows.count; i++) {
        uint32_t number = rows.numbers[i];
        if (lcs->stamps[number] != lcs->stamp) {
            lcs->stamps[number] = lcs->stamp;
            lcs->slots[number] = count++;
        }
    }
    memset(lcs->masks, 0, count * words * sizeof *lcs->masks);
    for (size_t j = 0; j < columns.count; j++) {
        uint32_t number = columns.numbers[j];
        if (lcs->stamps[number] == lcs->stamp) {
            lcs->masks[lcs->slots[number] * words + j / 64] |= UINT64_C(1) << (j % 64);
        }
    }
}

/* The next row from the one before, which may be the same memory. */
static void next_row(const uint64_t *before, const uint64_t *mask, size_t words, uint64_t *after)
{
    uint64_t carry = 0;
    for (size_t k = 0; k < words; k++) {
        uint64_t row = before[k];
        uint64_t hits = row & mask[k];
        uint64_t sum = row + hits;
        uint64_t sum_carried = sum + carry;
        carry = (uint64_t)(sum < row) | (uint64_t)(sum_carried < sum);
        after[k] = sum_carried | (row & ~mask[k]);
    }
}

/* table[i][columns]: the cells at which the row grows, which are the clear bits. */
static size_t row_value(const uint64_t *row, size_t columns)
{
    size_t set = 0;
    for (size_t k = 0; k < columns / 64; k++) {
        set += (size_t)__builtin_popcountll(row[k]);
    }
    if (columns % 64 != 0) {
        uint64_t low = (UINT64_C(1) << (columns % 64)) - 1;
        set += (size_t)__builtin_popcountll(row[columns / 64] & low);
    }
    return columns - set;
}

static bool grows_at(const uint64_t *row, size_t column)
{
    return (row[column / 64] >> (column % 64) & 1) == 0;
}

size_t lcs_length(struct lcs *lcs, struct lcs_list rows, struct lcs_list columns)
{
    size_t words = words_of(columns.count);
    fill_masks(lcs, rows, columns);
    memset(lcs->rows, 0xFF, words * sizeof *lcs->rows);
    for (size_t i = 0; i < rows.count; i++) {
        const uint64_t *mask = lcs->masks + lcs->slots[rows.numbers[i]] * words;
        next_row(lcs->rows, mask, words, lcs->rows);
    }
    return row_value(lcs->rows, columns.count);
}

void lcs_mark(struct lcs *lcs, struct lcs_list rows, struct lcs_list columns, bool *marks)
{
    size_t words = words_of(columns.count);
    fill_masks(lcs, rows, columns);
    memset(lcs->rows, 0xFF, words * sizeof *lcs->rows);
    for (size_t i = 0; i < rows.count; i++) {
        const uint64_t *mask = lcs->masks + lcs->slots[rows.numbers[i]] * words;
        next_row(lcs->rows + i * words, mask, words, lcs->rows + (i + 1) * words);
    }
    size_t i = rows.count;
    size_t j = columns.count;
    size_t here = row_value(lcs->rows + i * words, j);                     // table[i][j]
    size_t above = i == 0 ? 0 : row_value(lcs->rows + (i - 1) * words, j); // table[i - 1][j]
    while (i > 0 && j > 0) {
        const uint64_t *row = lcs->rows + i * words;
        bool is_match = rows.numbers[i - 1] == columns.numbers[j - 1];
        size_t left = here - grows_at(row, j - 1);
        if (!is_match && left > above) {
            above -= grows_at(row - words, j - 1);
            here = left;
            j--;
            continue;
        }
        marks[i - 1] |= is_match;
        i--;
        j -= is_match;
        here = is_match ? here - 1 : above;
        above = i == 0 ? 0 : row_value(lcs->rows + (i - 1) * words, j);
    }
}
