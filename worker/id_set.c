/* id_set: an open-addressing table of hashes that doubles. */
#include "worker/id_set.h"

#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

enum { SLOTS_FIRST = 1024 };

struct id_set {
    size_t ids_max;
    size_t count;
    size_t slots_count;   // a power of two, at least twice the count
    XXH128_hash_t *slots; // zero: free
    XXH128_hash_t sum;
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

/* The slot that holds the hash, or the free one where it belongs. */
static XXH128_hash_t *find_slot(XXH128_hash_t *slots, size_t count, XXH128_hash_t hash)
{
    size_t index = (size_t)hash.low64 & (count - 1);
    while ((slots[index].low64 != 0 || slots[index].high64 != 0) &&
           !XXH128_isEqual(slots[index], hash)) {
        index = (index + 1) & (count - 1);
    }
    return &slots[index];
}

static bool id_set_open_more(struct id_set *set)
{
    size_t count = set->slots_count * 2;
    XXH128_hash_t *slots = calloc(count, sizeof slots[0]);
    if (slots == NULL) {
        return false;
    }
    for (size_t i = 0; i < set->slots_count; i++) {
        if (set->slots[i].low64 != 0 || set->slots[i].high64 != 0) {
            *find_slot(slots, count, set->slots[i]) = set->slots[i];
        }
    }
    free(set->slots);
    set->slots = slots;
    set->slots_count = count;
    return true;
}

enum id_set_result id_set_add(struct id_set *set, struct bytes id)
{
    XXH128_hash_t hash = XXH3_128bits(id.data, id.size);
    if (hash.low64 == 0 && hash.high64 == 0) {
        hash.low64 = 1;
    }
    if (XXH128_isEqual(*find_slot(set->slots, set->slots_count, hash), hash)) {
        return ID_SET_KNOWN;
    }
    if (set->count == set->ids_max ||
        (set->count + 1 > set->slots_count / 2 && !id_set_open_more(set))) {
        return ID_SET_FULL;
    }
    *find_slot(set->slots, set->slots_count, hash) = hash;
    set->count++;
    set->sum.low64 += hash.low64;
    set->sum.high64 += hash.high64;
    return ID_SET_NEW;
}

size_t id_set_count(const struct id_set *set)
{
    return set->count;
}

void id_set_digest(const struct id_set *set, char digest_out[ID_SET_DIGEST_SIZE])
{
    (void)snprintf(digest_out, ID_SET_DIGEST_SIZE, "%016" PRIx64 "%016" PRIx64,
                   (uint64_t)set->sum.high64, (uint64_t)set->sum.low64);
}
