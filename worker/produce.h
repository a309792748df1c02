/* produce: checks a run's requests, then sends them.
 *
 * Two passes over the input: the first finds what is wrong and how much there is, so that a mistake
 * or a broker that is too small is told before anything is sent; the second sends, a transaction at
 * a time. One that died is gone on with by sends_missing: the run's transactional.id ends what it
 * had open, and what the request topic then holds is what was sent. Thread: one; blocks.
 */
#ifndef WORKER_PRODUCE_H
#define WORKER_PRODUCE_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "schemas/base/error.h"
#include "worker/config.h"
#include "worker/id_set.h"
#include "worker/job_source.h"

enum { PRODUCE_INVALID_SHOWN_MAX = 20 };

struct produce_options {
    const struct config *config;
    struct job_source_options source;
    const char *run_id;
    const char *topic; // one of topics.requests
    enum wire_format format;
    const char *model_dir; // NULL: no check of the context
    const char *manifest;  // a file for it, beside the one on topics.runs; NULL: none
    bool skips_invalid;
    bool sends_missing; // only what the run does not have yet
    bool is_quiet;      // no progress
    FILE *complaints;   // where invalid requests are told
};

struct produce_result {
    int64_t records;    // sent and committed
    int64_t present;    // not sent: the run had them
    int64_t invalid;    // not sent
    int64_t duplicates; // sent, with a custom_id that the run had before
    int64_t bytes;
    double seconds; // of sending
    char digest[ID_SET_DIGEST_SIZE];
};

/* False with *error when nothing, or not all, was sent. *result_out is filled as far as it came. */
MUST_CHECK bool produce_run(const struct produce_options *options,
                            struct produce_result *result_out, struct error *error);

#endif
