/* totals: the honest sum of a run. Every record is counted in exactly one of ok, failed, expired
 * and dead_lettered. Thread: one at a time. */
#ifndef WORKER_TOTALS_H
#define WORKER_TOTALS_H

#include <jansson.h>
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
};

void totals_add_response(struct totals *totals, const struct inference_response *response);
void totals_add_dead_letter(struct totals *totals);
/* Dead letters that have another outcome by now. */
void totals_remove_dead_letters(struct totals *totals, int64_t count);
bool totals_all_ok(const struct totals *totals);
/* Lines for people. `seconds` is what the work took; 0: not known. */
void totals_print(const struct totals *totals, double seconds, FILE *file);
/* The same as a JSON object, which the caller frees; NULL when out of memory. */
json_t *totals_json(const struct totals *totals, double seconds);

#endif
