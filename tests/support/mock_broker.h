/* mock_broker: librdkafka's in-memory cluster for a test, with a plain producer and reader beside
 * it. One per executable. */
#ifndef TESTS_SUPPORT_MOCK_BROKER_H
#define TESTS_SUPPORT_MOCK_BROKER_H

// clang-format off
#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>
// clang-format on

#include "schemas/base/arena.h"
#include "schemas/base/records.h"
#include "worker/config.h"

struct mock_broker {
    rd_kafka_t *client; // a producer that owns the cluster
    rd_kafka_mock_cluster_t *cluster;
};

/* Sent by hand, or read back; memory in the reader's arena. */
struct mock_record {
    int32_t partition;
    int64_t offset;
    struct bytes key;
    struct bytes value;
    struct header headers[32];
    size_t headers_count;
};

void mock_broker_open(struct mock_broker *broker);
void mock_broker_close(struct mock_broker *broker);
void mock_broker_topic(struct mock_broker *broker, const char *topic, int partitions);

/* Fills what a Kafka end reads: bootstrap.servers, group.id, topics named requests, responses and
 * dlq. */
void mock_broker_config(const struct mock_broker *broker, struct config *config);

/* Waits for the delivery report. Absent key: .data NULL. */
void mock_broker_send(struct mock_broker *broker, const char *topic, int32_t partition,
                      struct bytes key, struct bytes value);
/* Queues without waiting; mock_broker_flush waits for all. */
void mock_broker_queue(struct mock_broker *broker, const char *topic, int32_t partition,
                       struct bytes key, struct bytes value);
void mock_broker_flush(struct mock_broker *broker);

/* Reads `topic` from the beginning until `count` records are there or timeout_ms have passed;
 * returns how many. */
size_t mock_broker_read(struct mock_broker *broker, const char *topic, struct arena *arena,
                        struct mock_record *records_out, size_t count, int timeout_ms);

/* What the group has committed for the partition; -1 for nothing. */
int64_t mock_broker_committed(struct mock_broker *broker, const char *group, const char *topic,
                              int32_t partition);

/* NULL when the record has no such header. */
const struct header *mock_record_header(const struct mock_record *record, const char *name);

#endif
