/* vocabulary: an immutable map between byte strings and token ids, both ways.
 *
 * Ids may be sparse and several ids may have equal text; the first one added is what a search
 * finds. Filled by one thread, then read by any.
 */
#ifndef PIPELINE_TEXT_VOCABULARY_H
#define PIPELINE_TEXT_VOCABULARY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "schemas/base/buffer.h"
#include "schemas/base/bytes.h"
#include "schemas/base/error.h"

/* Ids lie below this: eight times the largest vocabulary in use (262,144), still a small table. */
enum { VOCABULARY_IDS_MAX = 1 << 21 };

struct vocabulary_entry {
    uint32_t offset; // of the text
    int32_t size;    // -1: no such id
};

struct vocabulary_slot {
    uint32_t hash;
    int32_t id; // -1: free
};

struct vocabulary {
    struct vocabulary_entry *entries; // by id
    size_t ids_count;                 // highest id + 1, at most
    struct vocabulary_slot *slots;    // open addressing, a power of two of them
    size_t slots_count;
    struct buffer texts;
    size_t size_longest; // of a text that can be found
};

/* Room for ids below `ids_count`. */
MUST_CHECK bool vocabulary_init(struct vocabulary *vocabulary, size_t ids_count,
                                struct error *error);
void vocabulary_close(struct vocabulary *vocabulary); // accepts a zeroed one

/* Copies the text. An id is added once; `is_findable` false leaves it out of the search. */
MUST_CHECK bool vocabulary_add(struct vocabulary *vocabulary, int32_t id, struct bytes text,
                               bool is_findable, struct error *error);

/* -1 when absent. */
int32_t vocabulary_find(const struct vocabulary *vocabulary, const char *text, size_t size);

/* Borrowed until close; .data is NULL when there is no such id. */
struct bytes vocabulary_text(const struct vocabulary *vocabulary, int32_t id);

#endif
