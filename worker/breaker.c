/* breaker: three states and a doubling wait. */
#include "worker/breaker.h"

enum { FAILURES_MAX = 5, WAIT_FIRST_MS = 1000, WAIT_MAX_MS = 60000 };

void breaker_init(struct breaker *breaker)
{
    *breaker = (struct breaker){.state = BREAKER_CLOSED};
}

bool breaker_admits(struct breaker *breaker, double now_ms)
{
    if (breaker->state == BREAKER_OPEN && now_ms >= breaker->open_till_ms) {
        breaker->state = BREAKER_HALF_OPEN;
        return true;
    }
    return breaker->state == BREAKER_CLOSED;
}

void breaker_succeed(struct breaker *breaker)
{
    breaker_init(breaker);
}

static void open_breaker(struct breaker *breaker, double wait_ms, double now_ms, double spread)
{
    breaker->state = BREAKER_OPEN;
    breaker->wait_ms = wait_ms < WAIT_MAX_MS ? wait_ms : WAIT_MAX_MS;
    breaker->open_till_ms = now_ms + breaker->wait_ms * (1 + spread / 2);
}

void breaker_fail(struct breaker *breaker, double now_ms, double spread)
{
    breaker->failures++;
    if (breaker->state == BREAKER_HALF_OPEN) {
        open_breaker(breaker, breaker->wait_ms * 2, now_ms, spread);
    } else if (breaker->state == BREAKER_CLOSED && breaker->failures >= FAILURES_MAX) {
        open_breaker(breaker, WAIT_FIRST_MS, now_ms, spread);
    }
}

void breaker_withdraw(struct breaker *breaker, double now_ms)
{
    if (breaker->state == BREAKER_HALF_OPEN) {
        breaker->state = BREAKER_OPEN;
        breaker->open_till_ms = now_ms;
    }
}
