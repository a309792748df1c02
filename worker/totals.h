/* totals: the honest sum of a run. Every record is counted in exactly one of ok, failed, expired
 * and dead_lettered. Thread: one at a time. */
#ifndef WORKER_TOTALS_H
#define WORKER_TOTALS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "schemas/base/records.h"

struct totals {
    int64_t records;
    int64_t ok;            // status 200
    int64_t failed;        // an error response
    int64_t expired;       // deadline_exceeded
    int64_t dead_lettered; // not a request, or every attempt failed
    int64_t prompt_tokens;
    int64_t cached_tokens; // part of prompt_tokens
    int64_t completion_tokens;
    double started_ms; // monotonic
};

void totals_start(struct totals *totals);
void totals_add_response(struct totals *totals, const struct inference_response *response);
void totals_add_dead_letter(struct totals *totals);
bool totals_all_ok(const struct totals *totals);
/* A few lines for people, or one JSON object on a line. */
void totals_print(const struct totals *totals, bool as_json, FILE *file);

#endif
