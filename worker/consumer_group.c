/* consumer, second part: what the group assigns and takes back.
 *
 * librdkafka waits for the answer to a change of the assignment, and goes on with heartbeats
 * meanwhile, so the answer can come later, from the loop, while polling goes on:
 *
 *     assign: read what the group has committed -> open the partitions there -> answer
 *     revoke: cancel their work -> wait for the transaction with their last commit -> answer
 *
 * Partitions that are lost already are given up at once. Changes are answered in their order. */
#include "worker/consumer_internal.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "schemas/base/check.h"
#include "worker/kafka_client.h"
#include "worker/log.h"
#include "worker/metrics.h"

enum {
    COMMIT_TIMEOUT_MS = 3000, // at least once: of the last commit before a partition is given up
    // Exactly once: so long may the last transaction take. Should it come later, the broker refuses
    // its offsets, because the group's generation is another one by then.
    LEAVE_TIMEOUT_MS = 30000,
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

/* Where a partition begins of which the group has committed nothing. Not left to librdkafka: asked
 * for RD_KAFKA_OFFSET_INVALID it reads the group's offset once more, and never begins when the
 * broker goes away meanwhile. */
static int64_t first_offset(const struct consumer *consumer)
{
    static const struct {
        const char *reset;
        int64_t offset;
    } starts[] = {
        {"smallest", RD_KAFKA_OFFSET_BEGINNING},  {"earliest", RD_KAFKA_OFFSET_BEGINNING},
        {"beginning", RD_KAFKA_OFFSET_BEGINNING}, {"largest", RD_KAFKA_OFFSET_END},
        {"latest", RD_KAFKA_OFFSET_END},          {"end", RD_KAFKA_OFFSET_END},
        {"error", RD_KAFKA_OFFSET_INVALID},
    };
    const char *reset = config_kafka(consumer->config, "auto.offset.reset");
    for (size_t i = 0; reset != NULL && i < sizeof starts / sizeof starts[0]; i++) {
        if (strcmp(starts[i].reset, reset) == 0) {
            return starts[i].offset;
        }
    }
    return RD_KAFKA_OFFSET_BEGINNING; // kafka_client's default
}

static enum metric_former_owner former_owner(struct bytes text, const struct offset_map *map)
{
    if (text.size == 0) {
        return METRIC_FORMER_UNKNOWN;
    }
    return map->suspects > 0 ? METRIC_FORMER_DIED : METRIC_FORMER_LEFT;
}

static void open_partition(struct consumer *consumer, const rd_kafka_topic_partition_t *committed,
                           rd_kafka_topic_partition_t *element)
{
    struct partition *partition =
        partition_open(element->topic, element->partition, ++consumer->epoch);
    CHECK(partition != NULL); // some KiB at the start of an assignment
    partition->assigned_ms = uv_now(consumer->loop);
    if (committed->offset < 0) {
        partition->is_new = true;
        element->offset = first_offset(consumer);
    } else {
        struct offset_map map;
        struct error error = {0};
        struct bytes text = {committed->metadata, committed->metadata_size};
        if (!offset_map_decode(text, committed->offset, &map, &error)) {
            log_event(LOG_WARN, "offset_map_refused",
                      "topic=%s partition=%d offset=%" PRId64 " reason=%s", element->topic,
                      (int)element->partition, committed->offset, error.message);
        }
        offsets_restore(partition->offsets, consumer->epoch, &map);
        partition->former_owner = former_owner(text, &map);
        element->offset = committed->offset;
    }
    partition->next = consumer->partitions;
    consumer->partitions = partition;
    consumer->partitions_count++;
    log_event(LOG_INFO, "partition_assigned", "topic=%s partition=%d epoch=%u offset=%" PRId64,
              element->topic, (int)element->partition, (unsigned)consumer->epoch,
              committed->offset < 0 ? -1 : committed->offset);
}

static void log_refusal(rd_kafka_error_t *error)
{
    if (error != NULL) {
        log_event(LOG_WARN, "rebalance_failed", "reason=%s", rd_kafka_error_string(error));
        rd_kafka_error_destroy(error);
    }
}

/* True when it is answered. */
static bool step_assign(struct consumer *consumer, struct rebalance *rebalance)
{
    rd_kafka_topic_partition_list_t *list = rebalance->list;
    if (consumer->is_closing) { // an answer that takes nothing
        while (list->cnt > 0) {
            CHECK(rd_kafka_topic_partition_list_del_by_idx(list, list->cnt - 1) == 1);
        }
    }
    if (list->cnt > 0) {
        if (rebalance->read == NULL) {
            rebalance->read =
                group_read_open(consumer->client, kafka_client_group(consumer->config), list,
                                consumer->wake_fds[1]);
        }
        const rd_kafka_topic_partition_list_t *committed =
            group_read_step(rebalance->read, uv_now(consumer->loop));
        if (committed == NULL) {
            return false;
        }
        for (int i = 0; i < list->cnt; i++) {
            open_partition(consumer,
                           rd_kafka_topic_partition_list_find(
                               (rd_kafka_topic_partition_list_t *)(uintptr_t)committed,
                               list->elems[i].topic, list->elems[i].partition),
                           &list->elems[i]);
        }
    }
    consumer->is_assigned = true;
    log_refusal(rd_kafka_incremental_assign(consumer->client, list));
    return true;
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

static struct partition *find_of(const struct consumer *consumer,
                                 const rd_kafka_topic_partition_t *element)
{
    return consumer_find(consumer, element->topic, element->partition);
}

static void begin_revoke(struct consumer *consumer, struct rebalance *rebalance)
{
    rebalance->is_begun = true;
    rebalance->until_ms = uv_now(consumer->loop) + LEAVE_TIMEOUT_MS;
    for (int i = 0; i < rebalance->list->cnt; i++) {
        struct partition *partition = find_of(consumer, &rebalance->list->elems[i]);
        if (partition != NULL) {
            partition_drop_held(partition);
            partition->is_leaving = true;
        }
    }
    for (int i = 0; i < rebalance->list->cnt; i++) {
        struct partition *partition = find_of(consumer, &rebalance->list->elems[i]);
        if (partition != NULL && !consumer->is_closing) {
            consumer->end.on_revoke(consumer->end.context, partition);
        }
    }
}

static bool is_any_unsettled(const struct consumer *consumer, const struct rebalance *rebalance)
{
    for (int i = 0; i < rebalance->list->cnt; i++) {
        const struct partition *partition = find_of(consumer, &rebalance->list->elems[i]);
        if (partition != NULL && !partition->is_settled) {
            return true;
        }
    }
    return false;
}

static void give_up(struct consumer *consumer, struct partition *partition, bool is_lost)
{
    log_event(LOG_INFO, is_lost ? "partition_lost" : "partition_revoked",
              "topic=%s partition=%d unfinished=%zu", partition->topic, (int)partition->number,
              offsets_unfinished(partition->offsets));
    unlink_partition(consumer, partition);
    partition->is_assigned = false;
    offsets_end(partition->offsets);
    partition_drop_held(partition);
    partition_release(partition);
}

/* True when it is answered. */
static bool step_revoke(struct consumer *consumer, struct rebalance *rebalance)
{
    if (!rebalance->is_begun) {
        begin_revoke(consumer, rebalance);
    }
    bool is_lost = rd_kafka_assignment_lost(consumer->client) != 0;
    bool waits = consumer->is_exactly_once && !consumer->is_closing && !is_lost &&
                 uv_now(consumer->loop) < rebalance->until_ms;
    if (waits && is_any_unsettled(consumer, rebalance)) {
        return false;
    }
    if (!is_lost) {
        (void)consumer_commit_now(consumer, false, COMMIT_TIMEOUT_MS);
    }
    for (int i = 0; i < rebalance->list->cnt; i++) {
        struct partition *partition = find_of(consumer, &rebalance->list->elems[i]);
        if (partition != NULL) {
            give_up(consumer, partition, is_lost);
        }
    }
    // librdkafka would keep a pause, and fetch nothing when the partition is assigned again.
    (void)rd_kafka_resume_partitions(consumer->client, rebalance->list);
    log_refusal(rd_kafka_incremental_unassign(consumer->client, rebalance->list));
    return true;
}

static void rebalance_close(struct rebalance *rebalance)
{
    group_read_close(rebalance->read);
    rd_kafka_topic_partition_list_destroy(rebalance->list);
    free(rebalance);
}

void consumer_step_rebalances(struct consumer *consumer)
{
    while (consumer->rebalances != NULL) {
        struct rebalance *rebalance = consumer->rebalances;
        bool is_answered = rebalance->is_assign ? step_assign(consumer, rebalance)
                                                : step_revoke(consumer, rebalance);
        if (!is_answered) {
            return;
        }
        consumer->rebalances = rebalance->next;
        rebalance_close(rebalance);
        // What was held for lack of a partition's share may fit now.
        consumer->wants_retry = true;
    }
}

void consumer_drop_rebalances(struct consumer *consumer)
{
    while (consumer->rebalances != NULL) {
        struct rebalance *rebalance = consumer->rebalances;
        consumer->rebalances = rebalance->next;
        rebalance_close(rebalance);
    }
}

static struct rebalance *rebalance_open(bool is_assign, const rd_kafka_topic_partition_list_t *list)
{
    struct rebalance *rebalance = calloc(1, sizeof *rebalance);
    CHECK(rebalance != NULL);
    rebalance->is_assign = is_assign;
    rebalance->list = rd_kafka_topic_partition_list_copy(list);
    return rebalance;
}

static void on_rebalance(rd_kafka_t *client, rd_kafka_resp_err_t code,
                         rd_kafka_topic_partition_list_t *list, void *context)
{
    (void)client;
    struct consumer *consumer = context;
    metrics_add(METRIC_REBALANCES, 0, 1);
    bool is_assign = code == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS;
    struct rebalance *rebalance = rebalance_open(is_assign, list);
    struct rebalance **link = &consumer->rebalances;
    while (*link != NULL) {
        link = &(*link)->next;
    }
    *link = rebalance;
    consumer_step_rebalances(consumer);
}

void consumer_group_configure(rd_kafka_conf_t *conf)
{
    rd_kafka_conf_set_rebalance_cb(conf, on_rebalance);
}
