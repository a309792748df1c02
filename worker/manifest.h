/* manifest: what a run consists of, as `produce` knew it, and where its records can be found.
 *
 * It is written before the first request of the run is sent, and again, complete, with the last
 * one. The digest is id_set's: the sum of the hashes of all custom_ids, which does not depend on
 * their order. Outcomes and requests of the run are at these offsets or beyond. Thread: one at a
 * time; plain data.
 */
#ifndef WORKER_MANIFEST_H
#define WORKER_MANIFEST_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "schemas/base/error.h"
#include "schemas/records/headers.h"
#include "worker/id_set.h"
#include "worker/topic_scan.h"

enum { MANIFEST_TOPIC_BYTES_MAX = 249 };

/* First offsets of partitions 0, 1, ...; of those beyond it is not known. */
struct manifest_offsets {
    size_t count;
    int64_t items[TOPIC_PARTITIONS_MAX];
};

struct manifest {
    char run_id[RUN_ID_BYTES_MAX + 1];
    char topic[MANIFEST_TOPIC_BYTES_MAX + 1]; // of the requests; "" when not known
    int64_t records;
    int64_t duplicates; // of them, with a custom_id that came before
    char digest[ID_SET_DIGEST_SIZE];
    bool is_complete;   // everything was sent
    int64_t started_ms; // Unix time of the first request; 0 when not known
    struct manifest_offsets requests;
    struct manifest_offsets responses;
    struct manifest_offsets dead_letters;
};

/* Too large for a stack. Zeroed; NULL when out of memory. */
struct manifest *manifest_open(void);
void manifest_close(struct manifest *manifest); // accepts NULL

/* NULL when out of memory. */
json_t *manifest_json(const struct manifest *manifest);
/* Fills *manifest from an untrusted value. What older manifests lack is optional. */
MUST_CHECK bool manifest_parse(const json_t *value, struct manifest *manifest, struct error *error);

MUST_CHECK bool manifest_load(const char *path, struct manifest *manifest, struct error *error);
MUST_CHECK bool manifest_save(const struct manifest *manifest, const char *path,
                              struct error *error);

#endif
