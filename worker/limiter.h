/* limiter: how many requests an endpoint gets at once: as many as it bears.
 *
 * Doubles each round until the endpoint complains, from then on one more each round; a complaint
 * halves it, once for all requests that were under way together. Thread: its owner's.
 */
#ifndef WORKER_LIMITER_H
#define WORKER_LIMITER_H

#include <stdbool.h>

struct limiter {
    double limit; // [1, max]
    int max;
    bool has_complained;
    double decreased_at_ms; // when it was last halved
};

void limiter_init(struct limiter *limiter, int max);
int limiter_limit(const struct limiter *limiter);
/* A request was answered while `in_flight` were under way, it included. */
void limiter_succeed(struct limiter *limiter, int in_flight);
/* The endpoint was too busy for a request that was sent at started_ms, or did not answer it. */
void limiter_complain(struct limiter *limiter, double started_ms, double now_ms);

#endif
