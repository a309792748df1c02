/* runs: what is remembered of runs on topics.runs, a compacted topic of JSON records.
 *
 *     key                        value
 *     manifest/RUN               the run's manifest (manifest.h)
 *     replayed/TOPIC/RUN         how many dead letters of TOPIC were sent back into the run
 *     letters/TOPIC/PARTITION    which dead letters were sent back (offset_ranges.h)
 *
 * Each key has one writer at a time: who holds the transactional.id for it (sender.h). Values are
 * untrusted when read. Thread: one; blocks.
 */
#ifndef WORKER_RUNS_H
#define WORKER_RUNS_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "schemas/base/error.h"
#include "worker/config.h"
#include "worker/manifest.h"
#include "worker/sender.h"

enum { RUNS_KEY_BYTES_MAX = 1024 };

/* Creates the topic, compacted, unless it is there. */
MUST_CHECK bool runs_create(const struct config *config, struct sender *sender,
                            struct error *error);

struct run_state {
    bool has_manifest;
    int64_t replayed; // requests beyond the manifest's, sent back from the dead letters
};

/* Reads the topic to its end; a missing one is empty. */
MUST_CHECK bool runs_find(const struct config *config, const char *run_id,
                          struct manifest *manifest, struct run_state *state_out,
                          struct error *error);

/* Sends, without committing. */
MUST_CHECK bool runs_send_manifest(const struct config *config, struct sender *sender,
                                   const struct manifest *manifest, struct error *error);
/* Sends `value` (taken) under "KIND/NAME", without committing. */
MUST_CHECK bool runs_send(const struct config *config, struct sender *sender, const char *key,
                          json_t *value, struct error *error);

#endif
