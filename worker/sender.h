/* sender: puts records on topics for a command, so that they become visible a transaction at a
 * time.
 *
 * A transactional.id names who may send: opening a sender ends what an earlier one of the same id
 * had open, and refuses whatever of it is still on its way. So what a command reads after it has
 * opened its sender is all that its predecessor will ever have sent.
 *
 * Where the brokers have no transactions, or delivery.guarantee is at_least_once, records are
 * visible at once, and none of this holds. Thread: one; blocks.
 */
#ifndef WORKER_SENDER_H
#define WORKER_SENDER_H

#include <librdkafka/rdkafka.h>
#include <stdbool.h>
#include <stdint.h>

#include "schemas/base/error.h"
#include "schemas/base/records.h"
#include "worker/config.h"

struct sender;

/* Waits until a broker has answered, for at most a minute. */
MUST_CHECK bool sender_open(const struct config *config, const char *transactional_id,
                            struct sender **sender_out, struct error *error);
/* Takes back what is not committed. Accepts NULL. */
void sender_close(struct sender *sender);

struct sender_record {
    const char *topic;
    int32_t partition; // RD_KAFKA_PARTITION_UA: the key decides, as Java's clients do it
    struct bytes key;  // absent: .data NULL
    struct bytes value;
    struct headers headers;
};

/* Copies the record; waits while too much is under way. */
MUST_CHECK bool sender_send(struct sender *sender, const struct sender_record *record,
                            struct error *error);
/* Makes what was sent visible, all of it or nothing. */
MUST_CHECK bool sender_commit(struct sender *sender, struct error *error);
/* Whether what was sent since the last commit is so much, or so old, that it is time for one. */
bool sender_is_due(const struct sender *sender);

bool sender_is_transactional(const struct sender *sender);
/* To ask the brokers for metadata. */
rd_kafka_t *sender_client(struct sender *sender);

#endif
