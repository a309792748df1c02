/* ledger: what a read_committed reader of the results and the group's coordinator would know of one
 * worker that answers one request topic. The mock cluster knows neither: it isolates nothing and
 * forgets the offsets of transactions. fault_calls.c keeps it, from the calls to librdkafka.
 *
 * Each time offsets are committed it checks that they, and the map with them, cover no record
 * without a visible outcome. Thread: any.
 */
#ifndef TESTS_SUPPORT_LEDGER_H
#define TESTS_SUPPORT_LEDGER_H

#include <librdkafka/rdkafka.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "worker/delivery.h"

enum { LEDGER_PARTITIONS = 2, LEDGER_RECORDS = 64 };

/* Nothing was published and nothing committed. */
void ledger_reset(bool is_exactly_once);
bool ledger_is_exactly_once(void);

/* What a reader sees of an outcome; or the status code of a response. */
enum ledger_outcome {
    LEDGER_NONE,
    LEDGER_DEAD_LETTER,
    LEDGER_EXPIRED,   // the error `deadline_exceeded`
    LEDGER_TOO_LARGE, // the error `result_too_large`
    LEDGER_BROKEN,    // nothing that any reader expects
};

/* The outcome went into the open transaction; at least once, a broker has acknowledged it. */
void ledger_publish(const struct delivery *delivery);
/* Offsets went into the open transaction; at least once, they were committed. */
void ledger_offsets(const rd_kafka_topic_partition_list_t *offsets);
/* The open transaction is over. */
void ledger_end(bool is_committed);

/* Puts what the group has committed into the list. */
void ledger_fill(const rd_kafka_topic_partition_list_t *list);
/* How many outcomes of the record can be read. */
int ledger_visible(int32_t partition, int64_t offset);
/* What it is: enum ledger_outcome, or a status code. */
int ledger_outcome(int32_t partition, int64_t offset);
int64_t ledger_committed(int32_t partition); // -1: nothing
/* The first commit that was wrong, in words. NULL: none was. */
const char *ledger_violation(void);

#endif
