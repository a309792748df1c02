/* token_list: token ids that grow up to a mandatory maximum.
 *
 * The maximum is the caller's limit on a prompt: the token past it is the error
 * "context_length_exceeded". Belongs to one thread at a time.
 */
#ifndef PIPELINE_TEXT_TOKEN_LIST_H
#define PIPELINE_TEXT_TOKEN_LIST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "schemas/base/error.h"

struct token_list {
    int32_t *ids; // NULL while empty
    size_t count;
    size_t capacity;
    size_t count_max;
};

void token_list_init(struct token_list *list, size_t tokens_max);
void token_list_close(struct token_list *list); // frees; may be used again after token_list_init

/* Makes room for one more id. */
MUST_CHECK bool token_list_grow(struct token_list *list, struct error *error);

MUST_CHECK static inline bool token_list_append(struct token_list *list, int32_t id,
                                                struct error *error)
{
    if (list->count == list->capacity && !token_list_grow(list, error)) {
        return false;
    }
    list->ids[list->count++] = id;
    return true;
}

#endif
