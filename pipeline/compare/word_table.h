/* word_table: numbers for byte strings, the same number for the same bytes, from 0 upwards.
 *
 * Looks are counted, so that text made to collide ends in a refusal and not in quadratic time. All
 * memory is the arena's. Thread: one at a time.
 */
#ifndef PIPELINE_COMPARE_WORD_TABLE_H
#define PIPELINE_COMPARE_WORD_TABLE_H

#include <stdbool.h>
#include <stdint.h>

#include "schemas/base/arena.h"
#include "schemas/base/bytes.h"

struct word_table {
    struct bytes *words; // [count] borrowed from whoever added them
    uint32_t *slots;     // [mask + 1] number + 1, 0 for an empty slot
    size_t mask;
    size_t count;
    size_t looks_left;
};

/* Makes room for at most `words_max` additions. False past the arena's limit. */
bool word_table_init(struct word_table *table, size_t words_max, struct arena *arena);

/* The number of `word`, which must live as long as the table. False when looks are used up. */
bool word_table_add(struct word_table *table, struct bytes word, uint32_t *number_out);

#endif
