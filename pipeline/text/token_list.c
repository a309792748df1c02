/* token_list: doubling growth with a hard maximum. */
#include "pipeline/text/token_list.h"

#include <stdlib.h>

enum { CAPACITY_MIN = 64 };

void token_list_init(struct token_list *list, size_t tokens_max)
{
    *list = (struct token_list){.count_max = tokens_max};
}

void token_list_close(struct token_list *list)
{
    free(list->ids);
    token_list_init(list, list->count_max);
}

bool token_list_grow(struct token_list *list, struct error *error)
{
    if (list->count >= list->count_max) {
        return error_set(error, ERROR_INVALID, "context_length_exceeded", NULL,
                         "the text has more than %zu tokens, which is the limit; shorten it",
                         list->count_max);
    }
    size_t capacity = list->capacity < CAPACITY_MIN ? CAPACITY_MIN : 2 * list->capacity;
    capacity = capacity > list->count_max ? list->count_max : capacity;
    int32_t *ids = NULL;
    if (capacity <= SIZE_MAX / sizeof *ids) {
        ids = realloc(list->ids, capacity * sizeof *ids);
    }
    if (ids == NULL) {
        return error_set(error, ERROR_INTERNAL, NULL, NULL, "out of memory for %zu token ids",
                         capacity);
    }
    list->ids = ids;
    list->capacity = capacity;
    return true;
}
