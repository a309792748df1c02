/* transaction: outcomes on their way to readers exactly once, as the loop sees them.
 *
 *     waiting (answered) -> inside one transaction -> committed: done
 *                                                  -> aborted: waiting again, as they are
 *
 * Encoded outcomes wait here, oldest first, until a transaction is due by count, bytes or time. One
 * transaction at a time takes what fits; with it go the offsets to commit. Aborted, its outcomes
 * go back to the front: nothing is computed again. An outcome whose assignment has ended meanwhile
 * belongs to the partition's next owner, and is dropped. Pure: no Kafka call, no clock. Thread:
 * loop; `deliveries`, `offsets`, `group`, `result` and `error` are the committer's while the state
 * is TRANSACTION_SENT.
 */
#ifndef WORKER_TRANSACTION_H
#define WORKER_TRANSACTION_H

#include <librdkafka/rdkafka.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "schemas/base/error.h"
#include "worker/delivery.h"

enum transaction_state {
    TRANSACTION_IDLE,
    TRANSACTION_SENT,      // the committer has it
    TRANSACTION_RESOLVING, // the broker has decided; what, is being read
};

enum transaction_result {
    TRANSACTION_COMMITTED,
    TRANSACTION_ABORTED,
    TRANSACTION_UNKNOWN,   // decided and over, but the group's offsets must say how
    TRANSACTION_ABANDONED, // the worker stops: perhaps committed, never to be repeated by it
    TRANSACTION_FAILED,    // likewise, because of `error`
};

struct transaction_limits {
    size_t records_max;
    size_t bytes_max; // of keys and values; one outcome always fits
    uint64_t interval_ms;
};

struct transaction {
    struct transaction_limits limits;
    enum transaction_state state;

    struct delivery *first, *last; // waiting, by delivery->next
    size_t waiting_count;
    size_t waiting_bytes;
    uint64_t waiting_since_ms; // of the oldest since the last transaction

    struct delivery **deliveries; // [limits.records_max] inside
    size_t count;
    size_t count_max; // halved by each abort: one that is too slow for its timeout must get smaller
    rd_kafka_topic_partition_list_t *offsets;  // to commit with them; opaque: the epoch
    rd_kafka_consumer_group_metadata_t *group; // as of the same moment
    enum transaction_result result;
    struct error error;
};

MUST_CHECK bool transaction_open(const struct transaction_limits *limits,
                                 struct transaction **transaction_out, struct error *error);
/* Nothing waits and nothing is inside. Accepts NULL. */
void transaction_close(struct transaction *transaction);

/* An outcome waits from now on. */
void transaction_add(struct transaction *transaction, struct delivery *delivery, uint64_t now_ms);
/* Whether enough waits, or for long enough. */
bool transaction_is_due(const struct transaction *transaction, uint64_t now_ms);

/* Idle: moves waiting outcomes inside and includes them in their partitions' next commit. What
 * belongs to an ended assignment goes to `drop` instead. */
void transaction_fill(struct transaction *transaction,
                      void (*drop)(void *context, struct delivery *delivery), void *context);
/* Moves what is inside back to the front, in its old order. The commit of its offsets has been
 * undone. The next one takes at most half as many. */
void transaction_return(struct transaction *transaction, uint64_t now_ms);
/* What is inside was committed: moves it to `done`. The next one may take twice as many. */
void transaction_complete(struct transaction *transaction,
                          void (*done)(void *context, struct delivery *delivery), void *context);
/* Takes everything out, inside or waiting, and gives it to `drop`. */
void transaction_clear(struct transaction *transaction,
                       void (*drop)(void *context, struct delivery *delivery), void *context);
/* Whether a transaction that is over was committed, by what the group has committed now. A
 * partition of a delivery tells: its commit says that the delivery's record is done, which no
 * earlier one says, so being equal it can only be this transaction's. A partition that another
 * worker has meanwhile tells nothing, unless it is equal. Where none is equal, either the
 * transaction was aborted, or every partition is another's by now, and what is in it will be
 * dropped anyway. */
bool transaction_was_committed(const struct transaction *transaction,
                               const rd_kafka_topic_partition_list_t *committed);
/* Forgets offsets and group, and becomes idle; nothing is inside any more. */
void transaction_end(struct transaction *transaction);

#endif
