/* mock_broker: helpers over rd_kafka_mock_*. Everything here ends the test when it fails. */
#include "tests/support/mock_broker.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "schemas/base/check.h"

enum { PARTITIONS_MAX = 16, TIMEOUT_MS = 10000 };

static rd_kafka_conf_t *conf_of(const char *const *pairs, size_t count)
{
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    char reason[256];
    for (size_t i = 0; i < count; i += 2) {
        CHECK(rd_kafka_conf_set(conf, pairs[i], pairs[i + 1], reason, sizeof reason) ==
              RD_KAFKA_CONF_OK);
    }
    return conf;
}

void mock_broker_open(struct mock_broker *broker)
{
    char reason[256];
    // The client first talks to nobody: the cluster needs an instance to live in.
    broker->client = rd_kafka_new(RD_KAFKA_PRODUCER, conf_of((const char *[]){"log_level", "0"}, 2),
                                  reason, sizeof reason);
    CHECK(broker->client != NULL);
    broker->cluster = rd_kafka_mock_cluster_new(broker->client, 1);
    CHECK(broker->cluster != NULL);
    CHECK(rd_kafka_brokers_add(broker->client, rd_kafka_mock_cluster_bootstraps(broker->cluster)) >
          0);
}

void mock_broker_close(struct mock_broker *broker)
{
    rd_kafka_mock_cluster_destroy(broker->cluster);
    rd_kafka_destroy(broker->client);
}

void mock_broker_topic(struct mock_broker *broker, const char *topic, int partitions)
{
    CHECK(rd_kafka_mock_topic_create(broker->cluster, topic, partitions, 1) ==
          RD_KAFKA_RESP_ERR_NO_ERROR);
}

void mock_broker_config(const struct mock_broker *broker, struct config *config)
{
    static char bootstrap[256];
    (void)snprintf(bootstrap, sizeof bootstrap, "%s",
                   rd_kafka_mock_cluster_bootstraps(broker->cluster));
    static char names[][24] = {"bootstrap.servers",
                               "group.id",
                               "test",
                               "requests",
                               "responses",
                               "dlq",
                               "worker-1",
                               "comparisons",
                               "",
                               "session.timeout.ms",
                               "6000",
                               "heartbeat.interval.ms",
                               "500",
                               "runs"};
    memset(config, 0, sizeof *config);
    config->kafka[0] = (struct config_property){names[0], bootstrap};
    config->kafka[1] = (struct config_property){names[1], names[2]};
    // After a member has left, the mock lets nobody join for the session timeout less a second.
    config->kafka[2] = (struct config_property){names[9], names[10]};
    config->kafka[3] = (struct config_property){names[11], names[12]};
    config->kafka_count = 4;
    config->topics.requests = (struct config_names){.items = {names[3]}, .count = 1};
    config->topics.responses = names[4];
    config->topics.dead_letters = names[5];
    config->topics.comparisons = names[7];
    config->topics.runs = names[13];
    config->worker_id = names[6];
    config->registry_url = names[8];
    config->drain_timeout_ms = 5000;
    config->attempts_max = 3;
    config->transaction_records_max = 500;
    config->transaction_bytes_max = 8 << 20;
    config->transaction_interval_ms = 20;
    config->intake_records_max = 1000;
    config->intake_bytes_max = 64 << 20;
    config->record_bytes_max = 1 << 20;
}

void mock_broker_queue(struct mock_broker *broker, const char *topic, int32_t partition,
                       struct bytes key, struct bytes value)
{
    rd_kafka_resp_err_t code = rd_kafka_producev(
        broker->client, RD_KAFKA_V_TOPIC(topic), RD_KAFKA_V_PARTITION(partition),
        RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_KEY(key.data, key.size),
        RD_KAFKA_V_VALUE((void *)(uintptr_t)value.data, value.size),
        RD_KAFKA_V_HEADER("millrace-run-id", "run-1", 5),
        RD_KAFKA_V_HEADER("traceparent", "00-0af7-b7ad-01", 15), RD_KAFKA_V_END);
    CHECK(code == RD_KAFKA_RESP_ERR_NO_ERROR);
}

void mock_broker_flush(struct mock_broker *broker)
{
    CHECK(rd_kafka_flush(broker->client, TIMEOUT_MS) == RD_KAFKA_RESP_ERR_NO_ERROR);
}

void mock_broker_send(struct mock_broker *broker, const char *topic, int32_t partition,
                      struct bytes key, struct bytes value)
{
    mock_broker_queue(broker, topic, partition, key, value);
    mock_broker_flush(broker);
}

static rd_kafka_t *open_consumer(struct mock_broker *broker, const char *group)
{
    char reason[256];
    rd_kafka_conf_t *conf = conf_of(
        (const char *[]){"bootstrap.servers", rd_kafka_mock_cluster_bootstraps(broker->cluster),
                         "group.id", group, "enable.auto.commit", "false", "isolation.level",
                         "read_uncommitted", "log_level", "0"},
        10);
    rd_kafka_t *consumer = rd_kafka_new(RD_KAFKA_CONSUMER, conf, reason, sizeof reason);
    CHECK(consumer != NULL);
    rd_kafka_poll_set_consumer(consumer);
    return consumer;
}

static int partitions_of(rd_kafka_t *client, const char *topic)
{
    rd_kafka_topic_t *handle = rd_kafka_topic_new(client, topic, NULL);
    const struct rd_kafka_metadata *metadata;
    CHECK(rd_kafka_metadata(client, 0, handle, &metadata, TIMEOUT_MS) ==
          RD_KAFKA_RESP_ERR_NO_ERROR);
    int count = metadata->topics[0].partition_cnt;
    rd_kafka_metadata_destroy(metadata);
    rd_kafka_topic_destroy(handle);
    return count;
}

static void copy_record(const rd_kafka_message_t *message, struct arena *arena,
                        struct mock_record *record)
{
    *record = (struct mock_record){.partition = message->partition, .offset = message->offset};
    record->key = arena_copy(arena, (struct bytes){message->key, message->key_len});
    record->value = arena_copy(arena, (struct bytes){message->payload, message->len});
    rd_kafka_headers_t *headers;
    if (rd_kafka_message_headers(message, &headers) != RD_KAFKA_RESP_ERR_NO_ERROR) {
        return;
    }
    const char *name;
    const void *value;
    size_t size;
    while (rd_kafka_header_get_all(headers, record->headers_count, &name, &value, &size) ==
           RD_KAFKA_RESP_ERR_NO_ERROR) {
        CHECK(record->headers_count < 32);
        record->headers[record->headers_count++] = (struct header){
            arena_copy(arena, bytes_of(name)), arena_copy(arena, (struct bytes){value, size})};
    }
}

size_t mock_broker_read(struct mock_broker *broker, const char *topic, struct arena *arena,
                        struct mock_record *records_out, size_t count, int timeout_ms)
{
    rd_kafka_t *consumer = open_consumer(broker, "mock-reader");
    int partitions = partitions_of(consumer, topic);
    CHECK(partitions > 0 && partitions <= PARTITIONS_MAX);
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(partitions);
    for (int i = 0; i < partitions; i++) {
        rd_kafka_topic_partition_list_add(list, topic, i)->offset = RD_KAFKA_OFFSET_BEGINNING;
    }
    CHECK(rd_kafka_assign(consumer, list) == RD_KAFKA_RESP_ERR_NO_ERROR);
    rd_kafka_topic_partition_list_destroy(list);
    size_t read = 0;
    for (int waited_ms = 0; read < count && waited_ms < timeout_ms;) {
        rd_kafka_message_t *message = rd_kafka_consumer_poll(consumer, 50);
        if (message == NULL) {
            waited_ms += 50;
            continue;
        }
        if (message->err == RD_KAFKA_RESP_ERR_NO_ERROR) {
            copy_record(message, arena, &records_out[read++]);
        }
        rd_kafka_message_destroy(message);
    }
    rd_kafka_consumer_close(consumer);
    rd_kafka_destroy(consumer);
    return read;
}

int64_t mock_broker_committed(struct mock_broker *broker, const char *group, const char *topic,
                              int32_t partition)
{
    rd_kafka_t *consumer = open_consumer(broker, group);
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(list, topic, partition);
    CHECK(rd_kafka_committed(consumer, list, TIMEOUT_MS) == RD_KAFKA_RESP_ERR_NO_ERROR);
    int64_t offset = list->elems[0].offset;
    rd_kafka_topic_partition_list_destroy(list);
    rd_kafka_destroy(consumer);
    return offset < 0 ? -1 : offset;
}

const struct header *mock_record_header(const struct mock_record *record, const char *name)
{
    for (size_t i = 0; i < record->headers_count; i++) {
        if (bytes_equal_text(record->headers[i].name, name)) {
            return &record->headers[i];
        }
    }
    return NULL;
}
