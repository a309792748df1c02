/* key_sample: 53 bits of a hash, as a number from 0 to 1. */
#include "worker/key_sample.h"

#include <stdint.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

enum { FRACTION_BITS = 53 }; // what a double holds exactly

bool key_sample_has(struct bytes key, double share)
{
    uint64_t hash = XXH3_64bits(key.data, key.size);
    double place = (double)(hash >> (64 - FRACTION_BITS)) / (double)(UINT64_C(1) << FRACTION_BITS);
    return place < share;
}
