/* run_present: what of a run has been sent already.
 *
 * The truth is the request topic: what stands there, committed, is in the run. Where the topic has
 * dropped records since the run began, those that have an outcome were sent, too; the others are as
 * good as never sent. Thread: one; blocks.
 */
#ifndef WORKER_RUN_PRESENT_H
#define WORKER_RUN_PRESENT_H

#include <stdbool.h>
#include <stdint.h>

#include "schemas/base/error.h"
#include "worker/config.h"
#include "worker/id_set.h"
#include "worker/manifest.h"

struct run_present {
    int64_t records;
    int64_t duplicates; // of them, with a custom_id that came before
};

/* Adds the custom_ids to `ids`. Reads from the manifest's offsets on. */
MUST_CHECK bool run_present_read(const struct config *config, const struct manifest *manifest,
                                 bool is_quiet, struct id_set *ids, struct run_present *present_out,
                                 struct error *error);

#endif
