/* delivery: one outcome on its way to an output topic, encoded.
 *
 * Opened by the loop when a job has its outcome, handed to the committer by pointer, handed back
 * with its state, closed by the loop. It borrows key and value from its job, which is not released
 * before.
 */
#ifndef WORKER_DELIVERY_H
#define WORKER_DELIVERY_H

#include <stdint.h>

#include "schemas/base/arena.h"
#include "schemas/base/buffer.h"
#include "schemas/base/error.h"
#include "schemas/base/records.h"
#include "schemas/records/record_codec.h"
#include "worker/config.h"

struct job;

enum delivery_state {
    DELIVERY_ENCODED,   // waits to be sent, for the first time or again
    DELIVERY_SENT,      // librdkafka has it
    DELIVERY_DONE,      // acknowledged by the broker
    DELIVERY_TOO_LARGE, // the topic does not take a record of this size
    DELIVERY_ABANDONED, // the worker stops; nobody knows whether it arrived
    DELIVERY_REFUSED,   // the broker will never take it; `code` says why
};

struct delivery {
    struct arena *arena; // owns this struct too
    struct job *job;
    const char *topic; // borrowed from the configuration
    int32_t partition;
    struct bytes key;   // may be absent
    struct bytes value; // `buffer`, or the job's own value for a dead letter
    struct buffer buffer;
    struct headers headers;
    enum delivery_state state;
    int code;              // rd_kafka_resp_err_t of the last attempt
    int shrinks_count;     // how often it was too large
    struct delivery *next; // while it waits for a transaction
};

/* What outcomes are encoded with. Filled at start. */
struct delivery_setting {
    const struct config *config;
    struct record_codec *codec;
    const char *group;
    uint32_t schema_id; // of what goes to the result topic, where output.format is confluent
    // Partitions of each of config_inputs; 0 where it is not known.
    int32_t inputs_counts[CONFIG_NAMES_MAX];
    const char *results;        // topics.responses or topics.comparisons
    int32_t results_count;      // its partitions, not 0
    int32_t dead_letters_count; // not 0
};

/* Encodes the job's outcome: a response, a comparison or a dead letter. NULL, with an ERROR_FATAL,
 * when that cannot be done at all (out of memory). Thread: loop, as of all here. */
struct delivery *delivery_open(const struct delivery_setting *setting, struct job *job,
                               struct error *error);
/* Makes what was too large smaller: a response becomes the error `result_too_large`, a comparison
 * loses the bodies and a dead letter its value, and they say so. False when it cannot get any
 * smaller. */
MUST_CHECK bool delivery_shrink(const struct delivery_setting *setting, struct delivery *delivery,
                                struct error *error);
void delivery_close(struct delivery *delivery); // accepts NULL

#endif
