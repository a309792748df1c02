/* results_file: a run's outcomes, one line for each request, in the order of their sources.
 *
 * Lines come in the order of arrival and go to PATH.partial at once (journal.h), from which a later
 * process goes on; memory holds 48 bytes for each. At the end they are copied in the order of
 * (topic, partition, offset) of the requests, so that each collect of a finished run yields the
 * same file. Of a request that was sent back from the dead letters the last outcome counts, in the
 * place of the first request. Thread: one at a time.
 */
#ifndef WORKER_RESULTS_FILE_H
#define WORKER_RESULTS_FILE_H

#include <stdint.h>

#include "schemas/base/bytes.h"
#include "schemas/base/error.h"
#include "schemas/base/records.h"
#include "worker/id_set.h"

struct results_file;

struct outcome {
    struct source origin; // the request; of one that was sent back the first
    int32_t replays;      // how often it was sent back
    bool is_dead_letter;
    struct id_hash id;      // of the custom_id
    int32_t read_partition; // where the outcome was read
    int64_t read_offset;
    int64_t at_ms; // the broker's time; 0 when not known
};

/* PATH NULL: nothing is written. What there is in PATH.partial counts if it was written for the
 * same `identity`. */
MUST_CHECK bool results_file_open(const char *path, struct bytes identity,
                                  struct results_file **results_out, struct error *error);
/* Removes PATH.partial unless told to keep it. Accepts NULL. */
void results_file_close(struct results_file *results, bool keeps_partial);

/* False ends the recovery with *error. The line is borrowed. */
typedef bool results_file_take(void *context, const struct outcome *outcome, struct bytes line,
                               struct error *error);

/* Before the first add: takes over what an earlier process had added. */
MUST_CHECK bool results_file_recover(struct results_file *results, results_file_take *take,
                                     void *context, struct error *error);
/* One line, without its line end. */
MUST_CHECK bool results_file_add(struct results_file *results, const struct outcome *outcome,
                                 struct bytes line, struct error *error);

struct results_sum {
    int64_t superseded;              // dead letters that were sent back and have a later outcome
    int64_t duplicates;              // further outcomes of the same sending of a request
    int64_t duplicate_ids;           // requests whose custom_id another one has too
    char digest[ID_SET_DIGEST_SIZE]; // of the requests' custom_ids
};

/* Writes PATH, whole or not at all. */
MUST_CHECK bool results_file_finish(struct results_file *results, struct results_sum *sum_out,
                                    struct error *error);

#endif
