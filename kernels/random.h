/* random: the one random function of all back ends, so that a seed gives the same text on each. */
#ifndef KERNELS_RANDOM_H
#define KERNELS_RANDOM_H

#include <stdint.h>

static inline uint64_t random_mix(uint64_t x)
{
    x += 0x9e3779b97f4a7c15u;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

/* Uniform in [0, 1), 53 bits; splitmix64 twice: every bit of seed and position reaches every bit of
 * the result. */
static inline double random_of(uint64_t seed, uint32_t position)
{
    return (double)(random_mix(random_mix(seed) ^ position) >> 11) * 0x1p-53;
}

#endif
