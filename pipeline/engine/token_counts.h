/* token_counts: how often each token stands in one output, sparse and sorted by token, for the
 * penalties of sampling. Kept only for sequences that set one.
 *
 * The items are borrowed from a pool that the scheduler obtains at open. Thread: engine.
 */
#ifndef PIPELINE_ENGINE_TOKEN_COUNTS_H
#define PIPELINE_ENGINE_TOKEN_COUNTS_H

#include <stdint.h>

#include "kernels/backend.h"

struct token_counts {
    struct token_count *items; // [capacity], sorted by token
    int count;
    int capacity;
};

/* `token` must fit: the capacity is the largest number of different tokens in an output. */
void token_counts_add(struct token_counts *counts, int32_t token);

#endif
