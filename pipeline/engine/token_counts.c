/* token_counts: a sorted array. Outputs hold hundreds of different tokens, so moving the tail of
 * the array costs less than a hash table's misses. */
#include "pipeline/engine/token_counts.h"

#include <string.h>

#include "schemas/base/check.h"

/* Where `token` is or belongs. */
static int position_of(const struct token_counts *counts, int32_t token)
{
    int low = 0;
    int high = counts->count;
    while (low < high) {
        int middle = low + (high - low) / 2;
        if (counts->items[middle].token < token) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

void token_counts_add(struct token_counts *counts, int32_t token)
{
    int position = position_of(counts, token);
    struct token_count *item = &counts->items[position];
    if (position < counts->count && item->token == token) {
        item->count++;
        return;
    }
    CHECK(counts->count < counts->capacity);
    memmove(item + 1, item, (size_t)(counts->count - position) * sizeof *item);
    *item = (struct token_count){token, 1};
    counts->count++;
}
