/* spend: prices times tokens, summed for each day. */
#include "worker/spend.h"

enum { DAY_MS = 86400000 };

double prices_cost_usd(const struct prices *prices, const struct usage *usage)
{
    double cached = prices->has_cached ? prices->cached : prices->prompt;
    return ((double)(usage->prompt_tokens - usage->cached_tokens) * prices->prompt +
            (double)usage->cached_tokens * cached +
            (double)usage->completion_tokens * prices->completion) /
           1e6;
}

void spend_init(struct spend *spend, double cap_usd)
{
    *spend = (struct spend){.cap_usd = cap_usd};
}

static void enter_day(struct spend *spend, int64_t unix_ms)
{
    if (unix_ms / DAY_MS > spend->day) { // a clock set back changes nothing
        spend->day = unix_ms / DAY_MS;
        spend->day_usd = 0;
    }
}

void spend_add(struct spend *spend, double usd, int64_t unix_ms)
{
    enter_day(spend, unix_ms);
    spend->day_usd += usd;
    spend->total_usd += usd;
}

int64_t spend_wait_ms(struct spend *spend, int64_t unix_ms)
{
    enter_day(spend, unix_ms);
    bool is_spent = spend->cap_usd > 0 && spend->day_usd >= spend->cap_usd;
    int64_t wait_ms = (spend->day + 1) * DAY_MS - unix_ms;
    return is_spent ? wait_ms : 0;
}
