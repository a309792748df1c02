/* run_reader: the records of one run on the request, response and dead-letter topics, up to their
 * ends at the start. A record belongs to the run that its value names, else its header.
 * Thread: one; blocks. */
#ifndef WORKER_RUN_READER_H
#define WORKER_RUN_READER_H

#include <stdbool.h>

#include "schemas/base/error.h"
#include "schemas/base/records.h"
#include "worker/config.h"
#include "worker/manifest.h"

struct run_record {
    struct bytes custom_id; // of what cannot be decoded the key, which may be absent
    struct source source;   // of the record itself
    bool is_replayed;       // it was a dead letter, and sent back
};

/* False ends the reading with *error. */
typedef bool run_reader_take(void *context, const struct run_record *record, struct error *error);

struct run_reader {
    const struct config *config;
    const char *run_id;
    const char *topic; // of its requests; NULL: the first of topics.requests
    bool is_quiet;     // no progress
    run_reader_take *take;
    void *context;
};

MUST_CHECK bool run_reader_requests(const struct run_reader *reader,
                                    const struct manifest_offsets *from, struct error *error);
MUST_CHECK bool run_reader_responses(const struct run_reader *reader,
                                     const struct manifest_offsets *from, struct error *error);
MUST_CHECK bool run_reader_dead_letters(const struct run_reader *reader,
                                        const struct manifest_offsets *from, struct error *error);

#endif
