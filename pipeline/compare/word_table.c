/* word_table: open addressing, at most half full. */
#include "pipeline/compare/word_table.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "schemas/base/check.h"

// At half full a look-up takes 1.5 looks; a table where it takes 64 was made to be slow.
enum { LOOKS_PER_WORD = 64, LOOKS_MIN = 4096 };

bool word_table_init(struct word_table *table, size_t words_max, struct arena *arena)
{
    size_t size = 16;
    while (size < 2 * words_max) {
        size *= 2;
    }
    *table = (struct word_table){
        .words = arena_alloc_array(arena, words_max, sizeof *table->words),
        .slots = arena_alloc_array(arena, size, sizeof *table->slots),
        .mask = size - 1,
        .looks_left = LOOKS_MIN + LOOKS_PER_WORD * words_max,
    };
    return table->words != NULL && table->slots != NULL;
}

bool word_table_add(struct word_table *table, struct bytes word, uint32_t *number_out)
{
    size_t slot = (size_t)XXH3_64bits(word.data, word.size) & table->mask;
    while (table->slots[slot] != 0) {
        uint32_t number = table->slots[slot] - 1;
        if (bytes_equal(table->words[number], word)) {
            *number_out = number;
            return true;
        }
        if (table->looks_left == 0) {
            return false;
        }
        table->looks_left--;
        slot = (slot + 1) & table->mask;
    }
    CHECK(2 * table->count <= table->mask);
    *number_out = (uint32_t)table->count;
    table->words[table->count++] = word;
    table->slots[slot] = (uint32_t)table->count;
    return true;
}
