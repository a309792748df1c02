/* refusals: what a local model would refuse of many requests, counted by endpoint and parameter.
 * Thread: one at a time. */
#ifndef WORKER_REFUSALS_H
#define WORKER_REFUSALS_H

#include <stdbool.h>
#include <stdio.h>

#include "schemas/base/arena.h"
#include "schemas/base/records.h"

struct refusals;

enum { REFUSALS_MAX = 256 }; // kinds that are told apart; what comes later is counted as one

struct refusals *refusals_open(void); // NULL when out of memory
void refusals_close(struct refusals *refusals);
/* Whether the request is refused. What a comparison leaves out is left out here, too. */
bool refusals_look(struct refusals *refusals, const struct inference_request *request,
                   struct arena *arena);
/* One line of each kind: how often, the endpoint, the parameter, and the first one's message. */
void refusals_write(const struct refusals *refusals, FILE *out);

#endif
