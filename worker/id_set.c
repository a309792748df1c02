/* id_set: an open-addressing table of hashes that doubles. */
#include "worker/id_set.h"

#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

enum { SLOTS_FIRST = 1024 };

struct id_set {
    size_t ids_max;
    size_t count;
    size_t slots_count;    // a power of two, at least twice the count
    struct id_hash *slots; // zero: free
    struct id_hash sum;
};

struct id_set *id_set_open(size_t ids_max)
{
    struct id_set *set = calloc(1, sizeof *set);
    if (set == NULL) {
        return NULL;
    }
    set->ids_max = ids_max;
    set->slots_count = SLOTS_FIRST;
    set->slots = calloc(set->slots_count, sizeof set->slots[0]);
    if (set->slots == NULL) {
        free(set);
        return NULL;
    }
    return set;
}

void id_set_close(struct id_set *set)
{
    if (set != NULL) {
        free(set->slots);
        free(set);
    }
}

struct id_set *id_set_open_copy(const struct id_set *set)
{
    struct id_set *copy = calloc(1, sizeof *copy);
    if (copy == NULL) {
        return NULL;
    }
    *copy = *set;
    copy->slots = calloc(set->slots_count, sizeof set->slots[0]);
    if (copy->slots == NULL) {
        free(copy);
        return NULL;
    }
    memcpy(copy->slots, set->slots, set->slots_count * sizeof set->slots[0]);
    return copy;
}

static bool is_free(struct id_hash hash)
{
    return hash.low == 0 && hash.high == 0;
}

static bool are_equal(struct id_hash a, struct id_hash b)
{
    return a.low == b.low && a.high == b.high;
}

/* The slot that holds the hash, or the free one where it belongs. */
static struct id_hash *find_slot(struct id_hash *slots, size_t count, struct id_hash hash)
{
    size_t index = (size_t)hash.low & (count - 1);
    while (!is_free(slots[index]) && !are_equal(slots[index], hash)) {
        index = (index + 1) & (count - 1);
    }
    return &slots[index];
}

static bool id_set_open_more(struct id_set *set)
{
    size_t count = set->slots_count * 2;
    struct id_hash *slots = calloc(count, sizeof slots[0]);
    if (slots == NULL) {
        return false;
    }
    for (size_t i = 0; i < set->slots_count; i++) {
        if (!is_free(set->slots[i])) {
            *find_slot(slots, count, set->slots[i]) = set->slots[i];
        }
    }
    free(set->slots);
    set->slots = slots;
    set->slots_count = count;
    return true;
}

struct id_hash id_set_hash(struct bytes id)
{
    XXH128_hash_t hash = XXH3_128bits(id.data, id.size);
    bool is_zero = hash.low64 == 0 && hash.high64 == 0;
    return (struct id_hash){is_zero ? 1 : hash.low64, hash.high64};
}

enum id_set_result id_set_add_hash(struct id_set *set, struct id_hash hash)
{
    if (are_equal(*find_slot(set->slots, set->slots_count, hash), hash)) {
        return ID_SET_KNOWN;
    }
    if (set->count == set->ids_max ||
        (set->count + 1 > set->slots_count / 2 && !id_set_open_more(set))) {
        return ID_SET_FULL;
    }
    *find_slot(set->slots, set->slots_count, hash) = hash;
    set->count++;
    set->sum.low += hash.low;
    set->sum.high += hash.high;
    return ID_SET_NEW;
}

enum id_set_result id_set_add(struct id_set *set, struct bytes id)
{
    return id_set_add_hash(set, id_set_hash(id));
}

bool id_set_has(const struct id_set *set, struct bytes id)
{
    struct id_hash hash = id_set_hash(id);
    return are_equal(*find_slot(set->slots, set->slots_count, hash), hash);
}

size_t id_set_count(const struct id_set *set)
{
    return set->count;
}

void id_set_digest(const struct id_set *set, char digest_out[ID_SET_DIGEST_SIZE])
{
    (void)snprintf(digest_out, ID_SET_DIGEST_SIZE, "%016" PRIx64 "%016" PRIx64, set->sum.high,
                   set->sum.low);
}
