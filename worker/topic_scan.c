/* topic_scan: one reader without a group, assigned by hand. */
#include "worker/topic_scan.h"

#include <stdlib.h>
#include <string.h>

#include "pipeline/clock.h"
#include "schemas/base/check.h"
#include "worker/kafka_client.h"
#include "worker/progress.h"

enum { METADATA_TIMEOUT_MS = 10000, CLOSE_TIMEOUT_MS = 5000, POLL_MS = 200 };

struct reading {
    const struct topic_scan *scan;
    rd_kafka_t *client;
    struct topic_range *range;
    bool is_done[TOPIC_PARTITIONS_MAX];
    int32_t left; // partitions that are not done
    int64_t count;
    struct progress progress;
};

/* A partition whose leader changes, or that was created just now, is asked again. */
static rd_kafka_resp_err_t ask_for_range(rd_kafka_t *client, const char *topic, int32_t partition,
                                         struct topic_range *range)
{
    double until_ms = clock_monotonic_ms() + METADATA_TIMEOUT_MS;
    for (;;) {
        rd_kafka_resp_err_t code =
            rd_kafka_query_watermark_offsets(client, topic, partition, &range->first[partition],
                                             &range->end[partition], METADATA_TIMEOUT_MS);
        if (kafka_verdict_of(code) != KAFKA_RETRY || clock_monotonic_ms() >= until_ms) {
            return code;
        }
        (void)rd_kafka_consumer_poll(client, POLL_MS);
    }
}

static bool find_range(rd_kafka_t *client, const char *topic, struct topic_range *range,
                       struct error *error)
{
    if (!kafka_client_partitions(client, topic, METADATA_TIMEOUT_MS, &range->partitions_count,
                                 error)) {
        return false;
    }
    if (range->partitions_count > TOPIC_PARTITIONS_MAX) {
        return error_set(error, ERROR_CONFIG, NULL, NULL,
                         "topic %s has %d partitions, more than %d", topic,
                         (int)range->partitions_count, TOPIC_PARTITIONS_MAX);
    }
    for (int32_t i = 0; i < range->partitions_count; i++) {
        rd_kafka_resp_err_t code = ask_for_range(client, topic, i, range);
        if (code != RD_KAFKA_RESP_ERR_NO_ERROR) {
            return error_set(error, ERROR_BUSY, NULL, NULL, "topic %s partition %d: %s", topic,
                             (int)i, rd_kafka_err2str(code));
        }
    }
    return true;
}

static bool open_range(rd_kafka_t *client, const char *topic, struct topic_range **range_out,
                       struct error *error)
{
    struct topic_range *range = calloc(1, sizeof *range);
    if (range == NULL) {
        return error_set(error, ERROR_FATAL, NULL, NULL, "out of memory");
    }
    if (!find_range(client, topic, range, error)) {
        free(range);
        return false;
    }
    *range_out = range;
    return true;
}

static bool open_reader(const struct config *config, rd_kafka_t **client_out, struct error *error)
{
    rd_kafka_conf_t *conf;
    return kafka_client_conf(config, KAFKA_READER, &conf, error) &&
           kafka_client_open(KAFKA_READER, conf, client_out, error);
}

bool topic_range_open(const struct config *config, const char *topic,
                      struct topic_range **range_out, struct error *error)
{
    rd_kafka_t *client = NULL;
    struct topic_range *range = NULL;
    bool ok = open_reader(config, &client, error) && open_range(client, topic, &range, error);
    (void)kafka_client_destroy(client, CLOSE_TIMEOUT_MS);
    *range_out = range;
    return ok;
}

void topic_range_close(struct topic_range *range)
{
    free(range);
}

static int64_t start_of(const struct reading *reading, int32_t partition)
{
    const struct topic_scan *scan = reading->scan;
    int64_t first = reading->range->first[partition];
    int64_t from = (size_t)partition < scan->from_count ? scan->from[partition] : first;
    // Beyond the end: the topic is not the one that the offset came from.
    return from < first || from > reading->range->end[partition] ? first : from;
}

static bool assign(struct reading *reading, struct error *error)
{
    const char *topic = reading->scan->topic;
    rd_kafka_topic_partition_list_t *list =
        rd_kafka_topic_partition_list_new(reading->range->partitions_count);
    for (int32_t i = 0; i < reading->range->partitions_count; i++) {
        int64_t start = start_of(reading, i);
        reading->is_done[i] = start >= reading->range->end[i];
        if (!reading->is_done[i]) {
            rd_kafka_topic_partition_list_add(list, topic, i)->offset = start;
        }
    }
    reading->left = list->cnt;
    rd_kafka_resp_err_t code = rd_kafka_assign(reading->client, list);
    rd_kafka_topic_partition_list_destroy(list);
    return code == RD_KAFKA_RESP_ERR_NO_ERROR ||
           error_set(error, ERROR_FATAL, NULL, NULL, "topic %s cannot be read: %s", topic,
                     rd_kafka_err2str(code));
}

/* The partition is read up to `offset`. */
static void note_position(struct reading *reading, int32_t partition, int64_t offset)
{
    if (!reading->is_done[partition] && offset >= reading->range->end[partition]) {
        reading->is_done[partition] = true;
        reading->left--;
    }
}

static bool take_message(struct reading *reading, const rd_kafka_message_t *message,
                         struct error *error)
{
    if (message->err == RD_KAFKA_RESP_ERR__PARTITION_EOF) {
        note_position(reading, message->partition, message->offset);
        return true;
    }
    if (message->err != RD_KAFKA_RESP_ERR_NO_ERROR) {
        return kafka_verdict_of(message->err) != KAFKA_STOP ||
               error_set(error, ERROR_FATAL, NULL, NULL, "%s", rd_kafka_message_errstr(message));
    }
    if (message->offset < reading->range->end[message->partition]) {
        reading->count++;
        if (!reading->scan->take(reading->scan->context, message, error)) {
            return false;
        }
    }
    note_position(reading, message->partition, message->offset + 1);
    return true;
}

static bool read_all(struct reading *reading, struct error *error)
{
    bool ok = true;
    progress_start(&reading->progress, reading->scan->what, reading->scan->is_quiet);
    while (ok && reading->left > 0) {
        rd_kafka_message_t *message = rd_kafka_consumer_poll(reading->client, POLL_MS);
        if (message != NULL) {
            ok = take_message(reading, message, error);
            rd_kafka_message_destroy(message);
        }
        progress_show(&reading->progress, reading->count, 0, -1);
    }
    progress_stop(&reading->progress);
    return ok;
}

bool topic_scan_run(const struct topic_scan *scan, struct error *error)
{
    struct reading reading = {.scan = scan};
    bool ok = open_reader(scan->config, &reading.client, error) &&
              open_range(reading.client, scan->topic, &reading.range, error) &&
              assign(&reading, error) && read_all(&reading, error);
    if (reading.client != NULL) {
        (void)rd_kafka_assign(reading.client, NULL);
    }
    (void)kafka_client_destroy(reading.client, CLOSE_TIMEOUT_MS);
    topic_range_close(reading.range);
    return ok;
}

struct bytes message_header(const rd_kafka_message_t *message, const char *name)
{
    rd_kafka_headers_t *headers;
    const void *value;
    size_t size;
    if (rd_kafka_message_headers(message, &headers) != RD_KAFKA_RESP_ERR_NO_ERROR ||
        rd_kafka_header_get_last(headers, name, &value, &size) != RD_KAFKA_RESP_ERR_NO_ERROR) {
        return (struct bytes){0};
    }
    return (struct bytes){value, size};
}

int64_t message_header_number(const rd_kafka_message_t *message, const char *name)
{
    struct bytes text = message_header(message, name);
    char digits[24];
    if (text.size == 0 || text.size >= sizeof digits) {
        return -1;
    }
    memcpy(digits, text.data, text.size);
    digits[text.size] = '\0';
    char *end;
    long long number = strtoll(digits, &end, 10);
    return *end == '\0' && number >= 0 ? number : -1;
}
