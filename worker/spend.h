/* spend: what answers cost, and whether today's money is spent.
 *
 * Counts what this process was billed since the day began (UTC) or it started: a restart begins at
 * 0, and what is under way when the cap is reached comes on top. Thread: its owner's.
 */
#ifndef WORKER_SPEND_H
#define WORKER_SPEND_H

#include <stdbool.h>
#include <stdint.h>

#include "schemas/base/records.h"

struct prices { // USD per million tokens
    double prompt, cached, completion;
    bool has_cached; // otherwise cached tokens cost as others
};

struct spend {
    double cap_usd; // a day; 0: none
    double day_usd;
    double total_usd;
    int64_t day; // since 1970
};

double prices_cost_usd(const struct prices *prices, const struct usage *usage);

void spend_init(struct spend *spend, double cap_usd);
void spend_add(struct spend *spend, double usd, int64_t unix_ms);
/* Milliseconds until there is money again, 0: there is. */
int64_t spend_wait_ms(struct spend *spend, int64_t unix_ms);

#endif
