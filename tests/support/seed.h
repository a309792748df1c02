/* seed: the seed of a randomised test, printed, and taken from TEST_SEED where it is set. */
#ifndef TESTS_SUPPORT_SEED_H
#define TESTS_SUPPORT_SEED_H

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

/* Seeds rand(), so that a failure can be repeated. */
static inline void seed_random(void)
{
    const char *given = getenv("TEST_SEED");
    unsigned seed = given == NULL ? (unsigned)time(NULL) : (unsigned)strtoul(given, NULL, 10);
    printf("TEST_SEED=%u\n", seed);
    srand(seed);
}

/* 0 up to `count` - 1. */
static inline size_t random_below(size_t count)
{
    return (size_t)rand() % count;
}

#endif
