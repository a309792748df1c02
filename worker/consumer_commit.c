/* consumer, third part: commits. At least once, positions are committed by themselves, a few times
 * a second. Exactly once, they go into the transaction with the results: a snapshot says what to
 * commit if those that are included are, and is settled when the transaction is over. Only explicit
 * offsets are committed: rd_kafka_offsets_store of librdkafka 2.0.2 loses the metadata. */
#include "worker/consumer_internal.h"

#include <stdlib.h>
#include <string.h>

#include "schemas/base/check.h"
#include "worker/kafka_client.h"
#include "worker/log.h"
#include "worker/metrics.h"

enum {
    COMMIT_INTERVAL_MS = 250,
    COMMIT_RECORDS = 2000, // or earlier, after so many
};

/* Those whose position moved, marked as committed. NULL when there are none. */
static rd_kafka_topic_partition_list_t *take_positions(struct consumer *consumer)
{
    rd_kafka_topic_partition_list_t *list = NULL;
    for (struct partition *partition = consumer->partitions; partition != NULL;
         partition = partition->next) {
        int64_t position = offsets_position(partition->offsets);
        if (!partition->is_dirty || position <= partition->committed) {
            continue;
        }
        if (list == NULL) {
            list = rd_kafka_topic_partition_list_new((int)consumer->partitions_count);
        }
        rd_kafka_topic_partition_list_add(list, partition->topic, partition->number)->offset =
            position;
        partition->is_dirty = false;
        partition->committed = position;
    }
    return list;
}

/* What was not committed is tried again. False when there is such. */
static bool on_commit_report(struct consumer *consumer, rd_kafka_resp_err_t code,
                             const rd_kafka_topic_partition_list_t *list)
{
    if (code == RD_KAFKA_RESP_ERR__NO_OFFSET || list == NULL) {
        return code == RD_KAFKA_RESP_ERR__NO_OFFSET;
    }
    bool is_committed = true;
    metrics_add(METRIC_COMMITS, METRIC_COMMITTED, code == RD_KAFKA_RESP_ERR_NO_ERROR ? 1 : 0);
    for (int i = 0; i < list->cnt; i++) {
        const rd_kafka_topic_partition_t *element = &list->elems[i];
        rd_kafka_resp_err_t cause =
            element->err != RD_KAFKA_RESP_ERR_NO_ERROR ? element->err : code;
        if (cause == RD_KAFKA_RESP_ERR_NO_ERROR) {
            continue;
        }
        is_committed = false;
        log_event(LOG_WARN, "commit_failed", "topic=%s partition=%d offset=%lld code=%s",
                  element->topic, (int)element->partition, (long long)element->offset,
                  rd_kafka_err2name(cause));
        struct partition *partition = consumer_find(consumer, element->topic, element->partition);
        if (partition != NULL) {
            partition->committed = -1;
            partition->is_dirty = true;
        }
    }
    return is_committed;
}

void consumer_on_commit(rd_kafka_t *client, rd_kafka_resp_err_t code,
                        rd_kafka_topic_partition_list_t *list, void *context)
{
    (void)client;
    struct consumer *consumer = context;
    consumer->is_commit_pending = false;
    metrics_observe(METRIC_COMMIT_TIME, 0,
                    (double)(uv_hrtime() - consumer->commit_started_ns) / 1e9);
    (void)on_commit_report(consumer, code, list);
}

void consumer_commit_some(struct consumer *consumer)
{
    uint64_t now_ms = uv_now(consumer->loop);
    bool is_time = now_ms >= consumer->commit_at_ms || consumer->finished_count >= COMMIT_RECORDS;
    if (consumer->is_exactly_once || consumer->is_commit_pending || !is_time) {
        return;
    }
    rd_kafka_topic_partition_list_t *list = take_positions(consumer);
    consumer->commit_at_ms = now_ms + COMMIT_INTERVAL_MS;
    consumer->finished_count = 0;
    if (list == NULL) {
        return;
    }
    consumer->commit_started_ns = uv_hrtime();
    rd_kafka_resp_err_t code = rd_kafka_commit(consumer->client, list, 1);
    consumer->is_commit_pending = code == RD_KAFKA_RESP_ERR_NO_ERROR;
    if (code != RD_KAFKA_RESP_ERR_NO_ERROR) {
        (void)on_commit_report(consumer, code, list);
    }
    rd_kafka_topic_partition_list_destroy(list);
}

struct commit_wait {
    struct consumer *consumer;
    bool is_done;
    bool is_committed;
};

static void on_awaited_commit(rd_kafka_t *client, rd_kafka_resp_err_t code,
                              rd_kafka_topic_partition_list_t *list, void *context)
{
    (void)client;
    struct commit_wait *wait = context;
    wait->is_done = true;
    wait->is_committed = on_commit_report(wait->consumer, code, list);
}

bool consumer_commit_now(struct consumer *consumer, int timeout_ms)
{
    if (consumer->is_exactly_once) {
        return true; // what is not in a transaction yet must not be committed
    }
    rd_kafka_topic_partition_list_t *list = take_positions(consumer);
    if (list == NULL) {
        return true;
    }
    // Its own queue, so that nothing but this commit is served while waiting, and so that a report
    // that comes too late is dropped with the queue.
    rd_kafka_queue_t *queue = rd_kafka_queue_new(consumer->client);
    struct commit_wait wait = {.consumer = consumer};
    rd_kafka_resp_err_t code =
        rd_kafka_commit_queue(consumer->client, list, queue, on_awaited_commit, &wait);
    if (code != RD_KAFKA_RESP_ERR_NO_ERROR) {
        (void)on_commit_report(consumer, code, list);
    } else {
        uint64_t until_ns = uv_hrtime() + (uint64_t)timeout_ms * 1000000;
        while (!wait.is_done && uv_hrtime() < until_ns) {
            (void)rd_kafka_queue_poll_callback(queue, 50);
        }
    }
    rd_kafka_queue_destroy(queue);
    rd_kafka_topic_partition_list_destroy(list);
    return wait.is_committed;
}

void consumer_finish(struct consumer *consumer, struct partition *partition, int64_t offset)
{
    uint32_t epoch = offsets_epoch(partition->offsets);
    if (partition->is_assigned && offsets_finish(partition->offsets, epoch, offset)) {
        partition->is_dirty = true;
        consumer->finished_count++;
        if (partition->held_count > 0 && consumer_has_share(consumer, partition)) {
            consumer_resume(consumer);
        }
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
    CHECK(left_error == NULL && right_error == NULL);
    bool equal = left_size == right_size && memcmp(left_bytes, right_bytes, left_size) == 0;
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

/* librdkafka frees it with its list. */
static void *open_metadata(const struct offsets_commit *commit)
{
    void *metadata = malloc(commit->metadata_size);
    CHECK(metadata != NULL); // at most 4 KiB
    return memcpy(metadata, commit->metadata, commit->metadata_size);
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
    element->metadata = open_metadata(&commit);
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
        const rd_kafka_topic_partition_t *element = &offsets->elems[i];
        uint32_t epoch = (uint32_t)(uintptr_t)element->opaque;
        struct partition *partition = consumer_find(consumer, element->topic, element->partition);
        if (partition == NULL) {
            continue; // its assignment is over
        }
        if (is_committed && offsets_confirm(partition->offsets, epoch)) {
            partition->is_settled = partition->is_last_sent;
        } else if (!is_committed && offsets_undo(partition->offsets, epoch)) {
            partition->is_last_sent = false;
        }
    }
    consumer_resume(consumer);
}
