/* bench_copy: the least that a worker must do, as the measure of one: consumes a batch, produces a
 * copy of each record, commits the offsets; a loop of one thread over librdkafka.
 *
 *     bench_copy CONFIG RECORDS TRANSACTION
 *
 * CONFIG is a worker's configuration, so that topics and librdkafka's settings are the same.
 * TRANSACTION is how many records go into one Kafka transaction with their offsets; 0 is without
 * transactions: batches of BATCH_MAX, each flushed before its offsets are committed. Prints one
 * line of JSON. bench/worker-rate --vs-copy runs it.
 */
#include <librdkafka/rdkafka.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

#include "pipeline/clock.h"
#include "schemas/base/check.h"
#include "worker/config.h"
#include "worker/kafka_client.h"

enum {
    BATCH_MAX = 10000,
    BATCH_WAIT_MS = 200, // a batch that is not full after this goes as it is
    CALL_TIMEOUT_MS = 30000,
    EMPTY_BATCHES_MAX = 100, // 20 s: until the group is assigned, and between fetches
};

struct copy {
    const struct config *config;
    rd_kafka_t *consumer;
    rd_kafka_t *producer;
    rd_kafka_queue_t *queue;
    rd_kafka_topic_partition_list_t *positions;
    bool is_transactional;
    size_t batch_size;
    size_t batch_count;
    rd_kafka_message_t *batch[BATCH_MAX];
};

/* Ends the program with the reason. */
static void need(bool ok, const char *what, const char *reason)
{
    if (!ok) {
        fprintf(stderr, "bench_copy: %s: %s\n", what, reason);
        exit(1);
    }
}

static void need_code(rd_kafka_resp_err_t code, const char *what)
{
    need(code == RD_KAFKA_RESP_ERR_NO_ERROR, what, rd_kafka_err2str(code));
}

static void need_success(rd_kafka_error_t *error, const char *what)
{
    need(error == NULL, what, error == NULL ? "" : rd_kafka_error_string(error));
}

static void on_report(rd_kafka_t *client, const rd_kafka_message_t *message, void *context)
{
    (void)client;
    (void)context;
    need_code(message->err, "delivery");
}

static void open_consumer(struct copy *copy)
{
    rd_kafka_conf_t *conf;
    struct error error = {0};
    need(kafka_client_conf(copy->config, KAFKA_GROUP, &conf, &error) &&
             kafka_client_open(KAFKA_GROUP, conf, &copy->consumer, &error),
         "consumer", error.message);
    rd_kafka_topic_partition_list_t *topics = rd_kafka_topic_partition_list_new(1);
    const struct config_names *requests = &copy->config->topics.requests;
    for (size_t i = 0; i < requests->count; i++) {
        rd_kafka_topic_partition_list_add(topics, requests->items[i], RD_KAFKA_PARTITION_UA);
    }
    need_code(rd_kafka_subscribe(copy->consumer, topics), "subscribe");
    rd_kafka_topic_partition_list_destroy(topics);
    copy->queue = rd_kafka_queue_get_consumer(copy->consumer);
}

static void open_producer(struct copy *copy)
{
    rd_kafka_conf_t *conf;
    struct error error = {0};
    need(kafka_client_conf(copy->config, KAFKA_PRODUCER, &conf, &error), "producer", error.message);
    rd_kafka_conf_set_dr_msg_cb(conf, on_report);
    if (copy->is_transactional) {
        need(rd_kafka_conf_set(conf, "transactional.id", kafka_client_group(copy->config), NULL,
                               0) == RD_KAFKA_CONF_OK,
             "producer", "transactional.id");
    }
    need(kafka_client_open(KAFKA_PRODUCER, conf, &copy->producer, &error), "producer",
         error.message);
    if (copy->is_transactional) {
        need_success(rd_kafka_init_transactions(copy->producer, CALL_TIMEOUT_MS), "init");
    }
}

/* Fills the batch with at most `left` records. */
static void consume(struct copy *copy, size_t left)
{
    size_t wanted = left < copy->batch_size ? left : copy->batch_size;
    double until_ms = clock_monotonic_ms() + BATCH_WAIT_MS;
    copy->batch_count = 0;
    while (copy->batch_count < wanted && clock_monotonic_ms() < until_ms) {
        rd_kafka_message_t **into = copy->batch + copy->batch_count;
        ssize_t count = rd_kafka_consume_batch_queue(copy->queue, BATCH_WAIT_MS, into,
                                                     wanted - copy->batch_count);
        need(count >= 0, "consume", rd_kafka_err2str(rd_kafka_last_error()));
        for (ssize_t i = 0; i < count; i++) {
            if (into[i]->err == RD_KAFKA_RESP_ERR__PARTITION_EOF) {
                rd_kafka_message_destroy(into[i]);
            } else {
                need_code(into[i]->err, "consume");
                copy->batch[copy->batch_count++] = into[i];
            }
        }
    }
}

static void produce(const struct copy *copy, const rd_kafka_message_t *message)
{
    rd_kafka_resp_err_t code;
    do {
        code = rd_kafka_producev(copy->producer, RD_KAFKA_V_TOPIC(copy->config->topics.responses),
                                 RD_KAFKA_V_PARTITION(message->partition),
                                 RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY),
                                 RD_KAFKA_V_KEY(message->key, message->key_len),
                                 RD_KAFKA_V_VALUE(message->payload, message->len), RD_KAFKA_V_END);
        (void)rd_kafka_poll(copy->producer, code == RD_KAFKA_RESP_ERR__QUEUE_FULL ? 10 : 0);
    } while (code == RD_KAFKA_RESP_ERR__QUEUE_FULL);
    need_code(code, "produce");
}

static void advance(struct copy *copy, const rd_kafka_message_t *message)
{
    const char *topic = rd_kafka_topic_name(message->rkt);
    rd_kafka_topic_partition_t *position =
        rd_kafka_topic_partition_list_find(copy->positions, topic, message->partition);
    if (position == NULL) {
        position = rd_kafka_topic_partition_list_add(copy->positions, topic, message->partition);
    }
    position->offset = message->offset + 1;
}

static void commit(struct copy *copy)
{
    if (!copy->is_transactional) {
        need_code(rd_kafka_flush(copy->producer, CALL_TIMEOUT_MS), "flush");
        need_code(rd_kafka_commit(copy->consumer, copy->positions, 1), "commit");
        return;
    }
    rd_kafka_consumer_group_metadata_t *group = rd_kafka_consumer_group_metadata(copy->consumer);
    need_success(rd_kafka_send_offsets_to_transaction(copy->producer, copy->positions, group,
                                                      CALL_TIMEOUT_MS),
                 "send offsets");
    rd_kafka_consumer_group_metadata_destroy(group);
    need_success(rd_kafka_commit_transaction(copy->producer, CALL_TIMEOUT_MS), "commit");
}

/* One batch; returns how many records it had. */
static size_t copy_batch(struct copy *copy, size_t left)
{
    consume(copy, left);
    if (copy->batch_count == 0) {
        return 0;
    }
    if (copy->is_transactional) {
        need_success(rd_kafka_begin_transaction(copy->producer), "begin");
    }
    for (size_t i = 0; i < copy->batch_count; i++) {
        produce(copy, copy->batch[i]);
        advance(copy, copy->batch[i]);
        rd_kafka_message_destroy(copy->batch[i]);
    }
    commit(copy);
    return copy->batch_count;
}

static double cpu_seconds(void)
{
    struct rusage usage;
    CHECK(getrusage(RUSAGE_SELF, &usage) == 0);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

int main(int argc, char **argv)
{
    need(argc == 4, "usage", "bench_copy CONFIG RECORDS TRANSACTION");
    size_t records = strtoul(argv[2], NULL, 10);
    size_t transaction = strtoul(argv[3], NULL, 10);
    need(transaction <= BATCH_MAX, "TRANSACTION", "larger than a batch may be");
    static struct copy copy;
    struct config *config;
    struct error error = {0};
    need(config_open(argv[1], NULL, 0, &config, &error), "configuration", error.message);
    copy.config = config;
    copy.is_transactional = transaction > 0;
    copy.batch_size = transaction > 0 ? transaction : BATCH_MAX;
    copy.positions = rd_kafka_topic_partition_list_new(1);
    open_producer(&copy);
    open_consumer(&copy);
    size_t done = 0;
    for (int empty = 0; done < records; empty++) {
        size_t count = copy_batch(&copy, records - done);
        done += count;
        empty = count > 0 ? 0 : empty;
        need(empty < EMPTY_BATCHES_MAX, "consume", "no more records");
    }
    printf("{\"records\": %zu, \"cpu_s\": %.3f}\n", done, cpu_seconds());
    rd_kafka_topic_partition_list_destroy(copy.positions);
    rd_kafka_queue_destroy(copy.queue);
    CHECK(rd_kafka_consumer_close(copy.consumer) == RD_KAFKA_RESP_ERR_NO_ERROR);
    rd_kafka_destroy(copy.consumer);
    rd_kafka_destroy(copy.producer);
    config_close(config);
    return 0;
}
