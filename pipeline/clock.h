/* clock: monotonic milliseconds for intervals, Unix milliseconds for what the outside reads. */
#ifndef PIPELINE_CLOCK_H
#define PIPELINE_CLOCK_H

#include <stdint.h>
#include <time.h>

static inline double clock_monotonic_ms(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

static inline int64_t clock_unix_ms(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* The moment wait_ms from now, for pthread_cond_timedwait on a condition with the monotonic clock:
 * a jump of the wall clock must not stretch a wait. */
static inline struct timespec clock_deadline(double wait_ms)
{
    struct timespec until;
    (void)clock_gettime(CLOCK_MONOTONIC, &until);
    int64_t nanoseconds = until.tv_nsec + (int64_t)(wait_ms * 1e6);
    until.tv_sec += nanoseconds / 1000000000;
    until.tv_nsec = nanoseconds % 1000000000;
    return until;
}

#endif
