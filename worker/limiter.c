/* limiter: additive increase, multiplicative decrease, with a fast start. */
#include "worker/limiter.h"

enum { LIMIT_FIRST = 4 };

void limiter_init(struct limiter *limiter, int max)
{
    *limiter = (struct limiter){.limit = max < LIMIT_FIRST ? max : LIMIT_FIRST, .max = max};
}

int limiter_limit(const struct limiter *limiter)
{
    return (int)limiter->limit;
}

void limiter_succeed(struct limiter *limiter, int in_flight)
{
    // What is not used up says nothing about what the endpoint bears.
    if (2 * in_flight < limiter_limit(limiter)) {
        return;
    }
    limiter->limit += limiter->has_complained ? 1 / limiter->limit : 1;
    limiter->limit = limiter->limit < limiter->max ? limiter->limit : limiter->max;
}

void limiter_complain(struct limiter *limiter, double started_ms, double now_ms)
{
    if (limiter->has_complained && started_ms <= limiter->decreased_at_ms) {
        return; // sent before the endpoint had less to do
    }
    limiter->has_complained = true;
    limiter->decreased_at_ms = now_ms;
    limiter->limit = limiter->limit / 2 > 1 ? limiter->limit / 2 : 1;
}
