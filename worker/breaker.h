/* breaker: keeps requests away from an endpoint that is down.
 *
 *     CLOSED --failures in a row--> OPEN --time--> HALF_OPEN --the probe succeeds--> CLOSED
 *                                     ^--------------the probe fails--'
 *
 * Each failed probe doubles the time. Thread: its owner's.
 */
#ifndef WORKER_BREAKER_H
#define WORKER_BREAKER_H

#include <stdbool.h>

enum breaker_state { BREAKER_CLOSED, BREAKER_HALF_OPEN, BREAKER_OPEN };

struct breaker {
    enum breaker_state state;
    int failures;        // in a row
    double wait_ms;      // of the present opening
    double open_till_ms; // monotonic
};

void breaker_init(struct breaker *breaker);
/* Whether a request may be sent now. In HALF_OPEN it is the probe: the owner sends no other, until
 * it has succeeded, failed, or was cancelled. */
bool breaker_admits(struct breaker *breaker, double now_ms);
void breaker_succeed(struct breaker *breaker);
/* `spread` in [0, 1) keeps workers from probing together. */
void breaker_fail(struct breaker *breaker, double now_ms, double spread);
/* The probe was cancelled: the next request is one. */
void breaker_withdraw(struct breaker *breaker, double now_ms);

#endif
