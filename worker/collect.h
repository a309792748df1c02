/* collect: reads a run's outcomes from the result topics until each record has one.
 *
 * Reads committed records only, from the manifest's offsets on; of one source the first outcome
 * counts and later ones are duplicates, and a dead letter that was sent back waits for its next
 * outcome. It goes on to the end of what is there when the count is reached, so that duplicates are
 * seen. What an earlier process read for the same output is not read again.
 *
 * Memory: two hashes of 16 bytes in tables that are half empty at least, and 48 bytes of results,
 * for each outcome; OUTCOMES_MAX bounds them. Thread: one; blocks.
 */
#ifndef WORKER_COLLECT_H
#define WORKER_COLLECT_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "schemas/base/error.h"
#include "worker/config.h"
#include "worker/manifest.h"
#include "worker/totals.h"

struct collect_options {
    const struct config *config;
    const char *run_id;
    int64_t expected;   // records of the run
    int64_t replayed;   // requests beyond them, which were sent back from the dead letters
    const char *digest; // of the run's custom_ids; "" when not known
    const struct manifest *manifest; // for its offsets; NULL: from the beginning
    const char *output;              // NULL: nothing is written
    int64_t timeout_ms;              // 0: waits for ever
    bool is_quiet;
};

enum { COLLECT_NAMED_MAX = 1000 };

struct collect_result {
    struct totals totals;  // of the records that have an outcome
    int64_t superseded;    // dead letters that were sent back and have a later outcome
    int64_t duplicates;    // outcomes of a source that had one
    int64_t duplicate_ids; // sources whose custom_id another source has too
    int64_t recovered;     // outcomes that an earlier process had read
    int64_t missing;
    int64_t unsent;        // of them, those that are not on the request topic
    json_t *missing_named; // array of at most COLLECT_NAMED_MAX of those that are; NULL: none asked
    struct error naming;   // why the request topic could not be read
    int64_t unexpected;    // records beyond what was expected
    bool has_other_ids;    // as many as expected, but not those of the digest
    double seconds;        // from the first record's intake to the last outcome, by broker's clock
};

/* False with *error when reading or writing failed; missing outcomes are a result. */
MUST_CHECK bool collect_run(const struct collect_options *options,
                            struct collect_result *result_out, struct error *error);
void collect_result_close(struct collect_result *result);

#endif
