/* collect: reads a run's outcomes from the result topics until each record has one.
 *
 * Reads committed records only, from the beginning of the topics; of one source the first outcome
 * counts and later ones are duplicates. It goes on to the end of what is there when the count is
 * reached, so that duplicates are seen. Thread: one; blocks.
 */
#ifndef WORKER_COLLECT_H
#define WORKER_COLLECT_H

#include <stdbool.h>
#include <stdint.h>

#include "schemas/base/error.h"
#include "worker/config.h"
#include "worker/totals.h"

struct collect_options {
    const struct config *config;
    const char *run_id;
    int64_t expected;   // outcomes
    const char *digest; // of the run's custom_ids; "" when not known
    const char *output; // NULL: nothing is written
    int64_t timeout_ms; // 0: waits for ever
    bool is_quiet;
};

struct collect_result {
    struct totals totals;  // of the records that have an outcome
    int64_t duplicates;    // outcomes of a source that had one
    int64_t duplicate_ids; // sources whose custom_id another source has too
    int64_t missing;
    int64_t unexpected; // records beyond what was expected
    bool has_other_ids; // as many as expected, but not those of the digest
    double seconds;     // from the first record's intake to the last outcome, by broker's clock
};

/* False with *error when reading or writing failed; missing outcomes are a result. */
MUST_CHECK bool collect_run(const struct collect_options *options,
                            struct collect_result *result_out, struct error *error);

#endif
