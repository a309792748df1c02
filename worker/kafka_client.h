/* kafka_client: what every Kafka end shares: librdkafka's configuration, the meaning of its errors,
 * its log lines, the look-up of topics. Thread: any, except where it says otherwise. */
#ifndef WORKER_KAFKA_CLIENT_H
#define WORKER_KAFKA_CLIENT_H

#include <librdkafka/rdkafka.h>
#include <stdbool.h>
#include <stdint.h>

#include "schemas/base/error.h"
#include "schemas/base/records.h"
#include "worker/config.h"

enum kafka_role {
    KAFKA_GROUP,         // consumer of the worker's group
    KAFKA_READER,        // consumer without a group: assigned by hand, commits nothing
    KAFKA_PRODUCER,      // idempotent
    KAFKA_TRANSACTIONAL, // producer under the transactional.id of the group and worker.id
};

/* What an error of a produced record, or of a producer, asks for. */
enum kafka_verdict {
    KAFKA_DELIVERED,
    KAFKA_RETRY,     // send again: the record may or may not be there
    KAFKA_REPLACE,   // the producer is broken for good: a new one, send again
    KAFKA_TOO_LARGE, // the topic does not take a record of this size
    KAFKA_STOP,      // topic missing, not allowed, ...: no repetition helps
};

enum kafka_verdict kafka_verdict_of(rd_kafka_resp_err_t code);

/* Whether another producer has taken the transactional.id over, or the transaction's timeout has.
 */
bool kafka_is_fence(rd_kafka_resp_err_t code);

/* A copy for librdkafka, which owns it once it has accepted the record. NULL when there are none.
 */
rd_kafka_headers_t *kafka_headers(const struct headers *headers);

/* Millrace's defaults for the role, under what the configuration's `kafka` section sets. The caller
 * owns the result; rd_kafka_new takes it. Log lines go to log_event. */
MUST_CHECK bool kafka_client_conf(const struct config *config, enum kafka_role role,
                                  rd_kafka_conf_t **conf_out, struct error *error);

/* Makes the client; takes `conf` in every case. */
MUST_CHECK bool kafka_client_open(enum kafka_role role, rd_kafka_conf_t *conf,
                                  rd_kafka_t **client_out, struct error *error);

/* The consumer group: kafka.group.id, or "millrace". Borrowed from the configuration. */
const char *kafka_client_group(const struct config *config);

/* How long a broker keeps a transaction open: kafka.transaction.timeout.ms. */
int kafka_client_transaction_timeout_ms(const struct config *config);

/* Asks a broker how many partitions `topic` has; blocks for at most timeout_ms. ERROR_NOT_FOUND:
 * the topic is missing; ERROR_CONFIG: not allowed; ERROR_BUSY: no broker answered. */
MUST_CHECK bool kafka_client_partitions(rd_kafka_t *client, const char *topic, int timeout_ms,
                                        int32_t *count_out, struct error *error);

/* What the demo broker (librdkafka's mock cluster) keeps of one partition; the oldest beyond it is
 * lost. */
enum { DEMO_PARTITION_BYTES_MAX = 5 << 20, DEMO_PARTITION_RECORDS_MAX = 100000 };

/* Whether the brokers are librdkafka's mock cluster. Blocks for at most timeout_ms. */
bool kafka_client_is_demo(rd_kafka_t *client, int timeout_ms);

/* Destroys a client without waiting for more than timeout_ms: librdkafka 2.0.2 hangs for ever when
 * a topic was deleted under a consumer. False when it still hangs; its thread then stays behind.
 * Accepts NULL. */
bool kafka_client_destroy(rd_kafka_t *client, int timeout_ms);

#endif
