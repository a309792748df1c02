/* consumer, second half: what the group assigns and takes back, and the commits of offsets. Only
 * explicit offsets are committed: rd_kafka_offsets_store of librdkafka 2.0.2 loses the metadata. */
#include "worker/consumer_internal.h"

#include <stdlib.h>
#include <string.h>

#include "schemas/base/check.h"
#include "worker/log.h"
#include "worker/metrics.h"

enum {
    COMMIT_INTERVAL_MS = 250,
    COMMIT_RECORDS = 2000,    // or earlier, after so many
    COMMIT_TIMEOUT_MS = 3000, // of the last commit before a partition is given up
};

struct partition *consumer_find(const struct consumer *consumer, const char *topic, int32_t number)
{
    for (struct partition *partition = consumer->partitions; partition != NULL;
         partition = partition->next) {
        if (partition->number == number && strcmp(partition->topic, topic) == 0) {
            return partition;
        }
    }
    return NULL;
}

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

static void on_commit(rd_kafka_t *client, rd_kafka_resp_err_t code,
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
    if (consumer->is_commit_pending || !is_time) {
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

static void assign(struct consumer *consumer, rd_kafka_topic_partition_list_t *list)
{
    for (int i = 0; i < list->cnt; i++) {
        const rd_kafka_topic_partition_t *element = &list->elems[i];
        struct partition *partition =
            partition_open(element->topic, element->partition, ++consumer->epoch);
        CHECK(partition != NULL); // 9 KiB at the start of an assignment
        partition->next = consumer->partitions;
        consumer->partitions = partition;
        consumer->partitions_count++;
        log_event(LOG_INFO, "partition_assigned", "topic=%s partition=%d epoch=%u", element->topic,
                  (int)element->partition, (unsigned)consumer->epoch);
    }
    consumer->is_assigned = true;
}

static void unlink_partition(struct consumer *consumer, struct partition *partition)
{
    struct partition **link = &consumer->partitions;
    while (*link != partition) {
        CHECK(*link != NULL);
        link = &(*link)->next;
    }
    *link = partition->next;
    consumer->partitions_count--;
}

static void revoke(struct consumer *consumer, const rd_kafka_topic_partition_list_t *list,
                   bool is_lost)
{
    for (int i = 0; i < list->cnt; i++) {
        struct partition *partition =
            consumer_find(consumer, list->elems[i].topic, list->elems[i].partition);
        if (partition != NULL) {
            consumer->end.on_revoke(consumer->end.context, partition);
        }
    }
    if (!is_lost) {
        (void)consumer_commit_now(consumer, COMMIT_TIMEOUT_MS);
    }
    for (int i = 0; i < list->cnt; i++) {
        struct partition *partition =
            consumer_find(consumer, list->elems[i].topic, list->elems[i].partition);
        if (partition == NULL) {
            continue;
        }
        log_event(LOG_INFO, is_lost ? "partition_lost" : "partition_revoked",
                  "topic=%s partition=%d unfinished=%zu", partition->topic, (int)partition->number,
                  offsets_unfinished(partition->offsets));
        unlink_partition(consumer, partition);
        partition->is_assigned = false;
        partition_drop_held(partition);
        partition_release(partition);
    }
}

static void on_rebalance(rd_kafka_t *client, rd_kafka_resp_err_t code,
                         rd_kafka_topic_partition_list_t *list, void *context)
{
    struct consumer *consumer = context;
    rd_kafka_error_t *error = NULL;
    metrics_add(METRIC_REBALANCES, 0, 1);
    if (code == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS) {
        assign(consumer, list);
        error = rd_kafka_incremental_assign(client, list);
    } else {
        revoke(consumer, list, rd_kafka_assignment_lost(client) != 0);
        error = rd_kafka_incremental_unassign(client, list);
    }
    if (error != NULL) {
        log_event(LOG_WARN, "rebalance_failed", "reason=%s", rd_kafka_error_string(error));
        rd_kafka_error_destroy(error);
    }
    // What was held for lack of a partition's share may fit now.
    consumer->wants_retry = true;
}

void consumer_group_configure(rd_kafka_conf_t *conf)
{
    rd_kafka_conf_set_rebalance_cb(conf, on_rebalance);
    rd_kafka_conf_set_offset_commit_cb(conf, on_commit);
}
