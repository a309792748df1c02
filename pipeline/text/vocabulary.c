/* vocabulary: one blob of texts, a table of offsets by id, a hash table of ids by text. */
#include "pipeline/text/vocabulary.h"

#include <stdlib.h>

#include "schemas/base/check.h"

enum {
    TEXTS_SIZE_MAX = 1 << 30, // offsets are 32 bits; a tokenizer.json is far smaller
    PROBES_MAX = 4096,        // at a load of one half only a hostile file comes near it
};

static uint64_t mix(uint64_t a)
{
    a ^= a >> 32;
    a *= UINT64_C(0xD6E8FEB86659FD93);
    return a ^ a >> 29;
}

static uint64_t load(const char *text, size_t size)
{
    uint64_t word = 0;
    memcpy(&word, text, size);
    return word;
}

/* The last 1 to 8 bytes as one word, by two loads that may overlap. */
static uint64_t load_tail(const char *text, size_t size)
{
    if (size >= 4) {
        return load(text, 4) | load(text + size - 4, 4) << 32;
    }
    return (uint64_t)(unsigned char)text[0] | (uint64_t)(unsigned char)text[size / 2] << 8 |
           (uint64_t)(unsigned char)text[size - 1] << 16;
}

static uint32_t hash_of(const char *text, size_t size)
{
    uint64_t hash = size * UINT64_C(0x9E3779B97F4A7C15);
    for (; size > 8; size -= 8, text += 8) {
        hash = mix(hash ^ load(text, 8));
    }
    if (size > 0) {
        hash = mix(hash ^ load_tail(text, size));
    }
    return (uint32_t)(hash ^ hash >> 32);
}

bool vocabulary_init(struct vocabulary *vocabulary, size_t ids_count, struct error *error)
{
    CHECK(ids_count <= VOCABULARY_IDS_MAX);
    *vocabulary = (struct vocabulary){.ids_count = ids_count};
    buffer_init(&vocabulary->texts, TEXTS_SIZE_MAX);
    size_t slots_count = 16;
    while (slots_count < 2 * ids_count) {
        slots_count *= 2;
    }
    vocabulary->slots_count = slots_count;
    vocabulary->entries = calloc(ids_count + 1, sizeof *vocabulary->entries);
    vocabulary->slots = calloc(slots_count, sizeof *vocabulary->slots);
    if (vocabulary->entries == NULL || vocabulary->slots == NULL) {
        vocabulary_close(vocabulary);
        return error_set(error, ERROR_INTERNAL, NULL, NULL, "out of memory for %zu tokens",
                         ids_count);
    }
    for (size_t i = 0; i < ids_count; i++) {
        vocabulary->entries[i].size = -1;
    }
    for (size_t i = 0; i < slots_count; i++) {
        vocabulary->slots[i].id = -1;
    }
    return true;
}

void vocabulary_close(struct vocabulary *vocabulary)
{
    free(vocabulary->entries);
    free(vocabulary->slots);
    buffer_close(&vocabulary->texts);
    *vocabulary = (struct vocabulary){0};
}

struct bytes vocabulary_text(const struct vocabulary *vocabulary, int32_t id)
{
    if (id < 0 || (size_t)id >= vocabulary->ids_count || vocabulary->entries[id].size < 0) {
        return (struct bytes){NULL, 0};
    }
    const struct vocabulary_entry *entry = &vocabulary->entries[id];
    const char *texts = vocabulary->texts.data == NULL ? "" : vocabulary->texts.data;
    return (struct bytes){texts + entry->offset, (size_t)entry->size};
}

int32_t vocabulary_find(const struct vocabulary *vocabulary, const char *text, size_t size)
{
    if (size > vocabulary->size_longest) {
        return -1;
    }
    uint32_t hash = hash_of(text, size);
    size_t mask = vocabulary->slots_count - 1;
    for (size_t i = hash & mask;; i = (i + 1) & mask) {
        const struct vocabulary_slot *slot = &vocabulary->slots[i];
        if (slot->id < 0) {
            return -1;
        }
        if (slot->hash != hash) {
            continue;
        }
        const struct vocabulary_entry *entry = &vocabulary->entries[slot->id];
        if ((size_t)entry->size == size &&
            (size == 0 || memcmp(vocabulary->texts.data + entry->offset, text, size) == 0)) {
            return slot->id;
        }
    }
}

static bool insert_slot(struct vocabulary *vocabulary, int32_t id, struct bytes text,
                        struct error *error)
{
    uint32_t hash = hash_of(text.data, text.size);
    size_t mask = vocabulary->slots_count - 1;
    size_t i = hash & mask;
    for (size_t probes = 0; vocabulary->slots[i].id >= 0; probes++) {
        if (probes == PROBES_MAX) {
            return error_set(error, ERROR_INVALID, NULL, NULL,
                             "the vocabulary's tokens collide in the hash table more than %d times",
                             PROBES_MAX);
        }
        i = (i + 1) & mask;
    }
    vocabulary->slots[i] = (struct vocabulary_slot){hash, id};
    if (text.size > vocabulary->size_longest) {
        vocabulary->size_longest = text.size;
    }
    return true;
}

bool vocabulary_add(struct vocabulary *vocabulary, int32_t id, struct bytes text, bool is_findable,
                    struct error *error)
{
    CHECK(id >= 0 && (size_t)id < vocabulary->ids_count && vocabulary->entries[id].size < 0);
    struct vocabulary_entry entry = {(uint32_t)vocabulary->texts.size, (int32_t)text.size};
    buffer_append_bytes(&vocabulary->texts, text);
    if (buffer_failed(&vocabulary->texts)) {
        return error_set(error, ERROR_INTERNAL, NULL, NULL,
                         "out of memory for the texts of the vocabulary");
    }
    bool is_new = is_findable && vocabulary_find(vocabulary, text.data, text.size) < 0;
    vocabulary->entries[id] = entry;
    return !is_new || insert_slot(vocabulary, id, text, error);
}
