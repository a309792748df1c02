/* scripted: a generator without a model, for measuring the path around it and for tests.
 *
 * Answers every call with a fixed text after a fixed latency, in the order of submission. Its usage
 * counts are those of its script, not of a tokenizer.
 *
 * For tests: a request with the stop string SCRIPTED_ABORT ends the process when its answer is due,
 * as a fault of an engine would.
 */
#ifndef PIPELINE_SCRIPTED_H
#define PIPELINE_SCRIPTED_H

#include "pipeline/generator.h"
#include "schemas/base/error.h"

#define SCRIPTED_ABORT "scripted:abort"

struct scripted_options {
    int latency_ms;
    const char *text; // NULL: a short fixed one
    int calls_max;    // submitted at once; submit is false beyond
    int fail_every;   // each so manieth call fails with ERROR_INTERNAL; 0: none
    struct generator_wake wake;
};

MUST_CHECK bool scripted_open(const struct scripted_options *options,
                              struct generator **generator_out, struct error *error);

#endif
