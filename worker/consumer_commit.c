/* consumer, third part: commits. A snapshot says what to commit, with the map of what is done
 * beyond; it is settled when that was committed or is known to fail. Exactly once, it goes into the
 * transaction with the results that it includes; at least once, it is committed by itself, a few
 * times a second, one at a time. Only explicit offsets are committed: rd_kafka_offsets_store of
 * librdkafka 2.0.2 loses the metadata. */
#include "worker/consumer_internal.h"

#include <string.h>

#include "schemas/base/check.h"
#include "worker/kafka_client.h"
#include "worker/log.h"
#include "worker/metrics.h"

enum {
    COMMIT_INTERVAL_MS = 250,
    COMMIT_RECORDS = 2000, // or earlier, after so many
    HURRY_INTERVAL_MS = 5, // or earlier, when records wait for it
    WAIT_MS = 50,
};

/* The partition's part of a snapshot was committed, or will never be. */
static void settle_partition(struct consumer *consumer, const rd_kafka_topic_partition_t *element,
                             bool is_committed)
{
    uint32_t epoch = (uint32_t)(uintptr_t)element->opaque;
    struct partition *partition = consumer_find(consumer, element->topic, element->partition);
    if (partition == NULL) {
        return; // its assignment is over
    }
    if (is_committed && offsets_confirm(partition->offsets, epoch)) {
        partition->is_settled = partition->is_last_sent;
    } else if (!is_committed && offsets_undo(partition->offsets, epoch)) {
        partition->is_last_sent = false;
    }
}

void consumer_commits_open(struct consumer *consumer)
{
    consumer->reports = rd_kafka_queue_new(consumer->client);
    rd_kafka_queue_io_event_enable(consumer->reports, consumer->wake_fds[1], "1", 1);
}

/* A report that comes later is dropped with the queue. */
void consumer_commits_close(struct consumer *consumer)
{
    rd_kafka_queue_io_event_enable(consumer->reports, -1, NULL, 0);
    rd_kafka_queue_destroy(consumer->reports);
    if (consumer->committing != NULL) {
        rd_kafka_topic_partition_list_destroy(consumer->committing);
        consumer->committing = NULL;
    }
}

/* What the report says of one partition. */
static rd_kafka_resp_err_t code_of(rd_kafka_resp_err_t code,
                                   rd_kafka_topic_partition_list_t *reported,
                                   const rd_kafka_topic_partition_t *element)
{
    if (code != RD_KAFKA_RESP_ERR_NO_ERROR) {
        return code;
    }
    const rd_kafka_topic_partition_t *found =
        reported == NULL
            ? NULL
            : rd_kafka_topic_partition_list_find(reported, element->topic, element->partition);
    return found == NULL ? RD_KAFKA_RESP_ERR__PARTIAL : found->err;
}

/* The pending commit is over. What was not committed is tried again. */
static void on_report(rd_kafka_t *client, rd_kafka_resp_err_t code,
                      rd_kafka_topic_partition_list_t *reported, void *context)
{
    (void)client;
    struct consumer *consumer = context;
    rd_kafka_topic_partition_list_t *offsets = consumer->committing;
    CHECK(offsets != NULL);
    consumer->committing = NULL;
    metrics_observe(METRIC_COMMIT_TIME, 0,
                    (double)(uv_hrtime() - consumer->commit_started_ns) / 1e9);
    metrics_add(METRIC_COMMITS, METRIC_COMMITTED, code == RD_KAFKA_RESP_ERR_NO_ERROR ? 1 : 0);
    for (int i = 0; i < offsets->cnt; i++) {
        const rd_kafka_topic_partition_t *element = &offsets->elems[i];
        rd_kafka_resp_err_t cause = code_of(code, reported, element);
        if (cause != RD_KAFKA_RESP_ERR_NO_ERROR) {
            log_event(LOG_WARN, "commit_failed", "topic=%s partition=%d offset=%lld code=%s",
                      element->topic, (int)element->partition, (long long)element->offset,
                      rd_kafka_err2name(cause));
        }
        settle_partition(consumer, element, cause == RD_KAFKA_RESP_ERR_NO_ERROR);
        if (cause != RD_KAFKA_RESP_ERR_NO_ERROR) {
            consumer->hurry_at_ms = consumer->commit_at_ms;
        }
    }
    rd_kafka_topic_partition_list_destroy(offsets);
    if (consumer_has_waiting(consumer)) {
        consumer_resume(consumer);
    }
}

/* None is pending. */
static void send_commit(struct consumer *consumer, bool is_last)
{
    consumer->commit_at_ms = uv_now(consumer->loop) + COMMIT_INTERVAL_MS;
    consumer->hurry_at_ms = uv_now(consumer->loop) + HURRY_INTERVAL_MS;
    if (!consumer_reserve_snapshot(consumer)) {
        return;
    }
    rd_kafka_topic_partition_list_t *offsets = consumer_snapshot(consumer, is_last);
    consumer->finished_count = 0;
    if (offsets->cnt == 0) {
        rd_kafka_topic_partition_list_destroy(offsets);
        return;
    }
    consumer->committing = offsets;
    consumer->commit_started_ns = uv_hrtime();
    rd_kafka_resp_err_t code =
        rd_kafka_commit_queue(consumer->client, offsets, consumer->reports, on_report, consumer);
    if (code != RD_KAFKA_RESP_ERR_NO_ERROR) {
        on_report(consumer->client, code, NULL, consumer);
    }
}

void consumer_commit_some(struct consumer *consumer)
{
    if (consumer->committing != NULL) {
        (void)rd_kafka_queue_poll_callback(consumer->reports, 0);
    }
    uint64_t now_ms = uv_now(consumer->loop);
    bool is_time = now_ms >= consumer->commit_at_ms || consumer->finished_count >= COMMIT_RECORDS ||
                   (now_ms >= consumer->hurry_at_ms && consumer_has_waiting(consumer));
    if (!consumer->is_exactly_once && consumer->committing == NULL && is_time &&
        consumer_needs_commit(consumer, false)) {
        send_commit(consumer, false);
    }
}

/* False when the report has not come in time. Serves nothing but reports meanwhile. */
static bool await_report(struct consumer *consumer, uint64_t until_ns)
{
    while (consumer->committing != NULL && uv_hrtime() < until_ns) {
        (void)rd_kafka_queue_poll_callback(consumer->reports, WAIT_MS);
    }
    return consumer->committing == NULL;
}

bool consumer_commit_now(struct consumer *consumer, bool is_last, int timeout_ms)
{
    if (consumer->is_exactly_once) {
        return true; // what is not in a transaction yet must not be committed
    }
    uint64_t until_ns = uv_hrtime() + (uint64_t)timeout_ms * 1000000;
    if (!await_report(consumer, until_ns)) {
        return false;
    }
    if (consumer_needs_commit(consumer, is_last)) {
        send_commit(consumer, is_last);
    }
    return await_report(consumer, until_ns) && !consumer_needs_commit(consumer, is_last);
}

void consumer_finish(struct consumer *consumer, struct partition *partition, int64_t offset)
{
    uint32_t epoch = offsets_epoch(partition->offsets);
    if (partition->is_assigned && offsets_finish(partition->offsets, epoch, offset)) {
        consumer->finished_count++;
    }
}

static bool wants_commit(const struct partition *partition, bool is_last)
{
    return !partition->is_settled &&
           (is_last || partition->is_leaving || offsets_needs_commit(partition->offsets));
}

bool consumer_needs_commit(const struct consumer *consumer, bool is_last)
{
    for (const struct partition *partition = consumer->partitions; partition != NULL;
         partition = partition->next) {
        if (wants_commit(partition, is_last)) {
            return true;
        }
    }
    return false;
}

bool consumer_has_waiting(const struct consumer *consumer)
{
    for (const struct partition *partition = consumer->partitions; partition != NULL;
         partition = partition->next) {
        if (partition->waiting_first != NULL) {
            return true;
        }
    }
    return false;
}

bool consumer_is_leaving(const struct consumer *consumer)
{
    for (const struct partition *partition = consumer->partitions; partition != NULL;
         partition = partition->next) {
        if (partition->is_leaving && !partition->is_settled) {
            return true;
        }
    }
    return false;
}

static bool is_equal(const rd_kafka_consumer_group_metadata_t *left,
                     const rd_kafka_consumer_group_metadata_t *right)
{
    void *left_bytes = NULL;
    void *right_bytes = NULL;
    size_t left_size = 0;
    size_t right_size = 0;
    rd_kafka_error_t *left_error =
        rd_kafka_consumer_group_metadata_write(left, &left_bytes, &left_size);
    rd_kafka_error_t *right_error =
        rd_kafka_consumer_group_metadata_write(right, &right_bytes, &right_size);
    // What cannot be compared is no proof of a membership.
    bool equal = left_error != NULL || right_error != NULL ||
                 (left_size == right_size && memcmp(left_bytes, right_bytes, left_size) == 0);
    if (left_error != NULL) {
        rd_kafka_error_destroy(left_error);
    }
    if (right_error != NULL) {
        rd_kafka_error_destroy(right_error);
    }
    rd_kafka_mem_free(NULL, left_bytes);
    rd_kafka_mem_free(NULL, right_bytes);
    return equal;
}

/* NULL when there is no member id now. The caller frees it. */
static char *member_id(const struct consumer *consumer)
{
    char *id = rd_kafka_memberid(consumer->client);
    if (id != NULL && id[0] == '\0') {
        rd_kafka_mem_free(consumer->client, id);
        return NULL;
    }
    return id;
}

/* A broker takes transactional offsets without a member id, or without a generation, unchecked from
 * anybody, so what librdkafka says in between two memberships must never be sent. Member ids are
 * unique: if it is the same before and after, it is that of the metadata. */
rd_kafka_consumer_group_metadata_t *consumer_membership(const struct consumer *consumer)
{
    char *before = member_id(consumer);
    rd_kafka_consumer_group_metadata_t *metadata =
        rd_kafka_consumer_group_metadata(consumer->client);
    char *after = member_id(consumer);
    bool is_member =
        before != NULL && after != NULL && metadata != NULL && strcmp(before, after) == 0;
    if (is_member) {
        rd_kafka_consumer_group_metadata_t *unborn =
            rd_kafka_consumer_group_metadata_new_with_genid(
                kafka_client_group(consumer->config), -1, before,
                config_kafka(consumer->config, "group.instance.id"));
        is_member = !is_equal(metadata, unborn);
        rd_kafka_consumer_group_metadata_destroy(unborn);
    }
    if (!is_member && metadata != NULL) {
        rd_kafka_consumer_group_metadata_destroy(metadata);
        metadata = NULL;
    }
    rd_kafka_mem_free(consumer->client, before);
    rd_kafka_mem_free(consumer->client, after);
    return metadata;
}

bool consumer_reserve_snapshot(struct consumer *consumer)
{
    for (struct partition *partition = consumer->partitions; partition != NULL;
         partition = partition->next) {
        if (!partition_reserve_metadata(partition)) {
            log_event(LOG_WARN, "commit_awaits_memory", "topic=%s partition=%d", partition->topic,
                      (int)partition->number);
            return false;
        }
    }
    return true;
}

/* Adds the partition's snapshot, unless it knows of nothing to commit. */
static void add_snapshot(struct partition *partition, bool is_last,
                         rd_kafka_topic_partition_list_t *list)
{
    uint32_t epoch = offsets_epoch(partition->offsets);
    struct offsets_commit commit;
    if (!offsets_snapshot(partition->offsets, epoch, is_last, &commit)) {
        partition->is_settled = is_last;
        return;
    }
    rd_kafka_topic_partition_t *element =
        rd_kafka_topic_partition_list_add(list, partition->topic, partition->number);
    element->offset = commit.position;
    element->opaque = (void *)(uintptr_t)epoch;
    element->metadata = partition_take_metadata(partition, &commit);
    element->metadata_size = commit.metadata_size;
    partition->is_last_sent = is_last;
}

rd_kafka_topic_partition_list_t *consumer_snapshot(struct consumer *consumer, bool is_last)
{
    rd_kafka_topic_partition_list_t *list =
        rd_kafka_topic_partition_list_new((int)consumer->partitions_count);
    for (struct partition *partition = consumer->partitions; partition != NULL;
         partition = partition->next) {
        if (wants_commit(partition, is_last)) {
            add_snapshot(partition, is_last || partition->is_leaving, list);
        }
    }
    return list;
}

void consumer_settle(struct consumer *consumer, const rd_kafka_topic_partition_list_t *offsets,
                     bool is_committed)
{
    for (int i = 0; i < offsets->cnt; i++) {
        settle_partition(consumer, &offsets->elems[i], is_committed);
    }
    consumer_resume(consumer);
}
