/* producer: an idempotent or transactional librdkafka producer that can be replaced when it breaks.
 *
 * Sends deliveries and collects their reports into delivery->state. Thread: one, the committer's.
 */
#ifndef WORKER_PRODUCER_H
#define WORKER_PRODUCER_H

#include <stdbool.h>
#include <stddef.h>

#include "schemas/base/error.h"
#include "worker/config.h"
#include "worker/delivery.h"
#include "worker/kafka_client.h"

struct producer;

/* `role` is KAFKA_PRODUCER or KAFKA_TRANSACTIONAL. */
MUST_CHECK bool producer_open(const struct config *config, enum kafka_role role,
                              struct producer **producer_out, struct error *error);
/* Waits for at most timeout_ms. Accepts NULL. Nothing may be in state DELIVERY_SENT. */
void producer_close(struct producer *producer, int timeout_ms);

/* Queues the delivery (state DELIVERY_ENCODED). False when librdkafka's queue is full: send it
 * again after a producer_wait. Otherwise its state has moved on. */
MUST_CHECK bool producer_send(struct producer *producer, struct delivery *delivery);
/* Serves reports for at most timeout_ms; returns how many deliveries are still in state
 * DELIVERY_SENT. */
size_t producer_wait(struct producer *producer, int timeout_ms);
/* Gives up what is queued or in flight: it comes back as DELIVERY_ENCODED with the next wait. */
void producer_purge(struct producer *producer);

/* Whether librdkafka reported that this producer can go on no longer. */
bool producer_is_broken(const struct producer *producer);
/* For the calls of transactions; another one after producer_replace. NULL when that has failed. */
rd_kafka_t *producer_client(const struct producer *producer);
/* A new producer in the place of a broken one. */
MUST_CHECK bool producer_replace(struct producer *producer, struct error *error);

#endif
