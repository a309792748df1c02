/* consumer, second part: what the group assigns and takes back, and the shares of it.
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

static size_t topic_index(const struct consumer *consumer, const char *topic)
{
    const struct config_names *inputs = config_inputs(consumer->config);
    size_t i = 0;
    while (i < inputs->count && strcmp(inputs->items[i], topic) != 0) {
        i++;
    }
    CHECK(i < inputs->count); // nothing else is subscribed
    return i;
}

/* False when out of memory. */
static bool open_partition(struct consumer *consumer, const rd_kafka_topic_partition_t *committed,
                           rd_kafka_topic_partition_t *element)
{
    struct partition *partition =
        partition_open(element->topic, element->partition, ++consumer->epoch);
    if (partition == NULL) {
        log_event(LOG_WARN, "partition_awaits_memory", "topic=%s partition=%d", element->topic,
                  (int)element->partition);
        return false;
    }
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
    size_t topic = topic_index(consumer, element->topic);
    share_join(&consumer->records, &partition->records, topic);
    share_join(&consumer->bytes, &partition->bytes, topic);
    partition->next = consumer->partitions;
    consumer->partitions = partition;
    consumer->partitions_count++;
    log_event(LOG_INFO, "partition_assigned", "topic=%s partition=%d epoch=%u offset=%" PRId64,
              element->topic, (int)element->partition, (unsigned)consumer->epoch,
              committed->offset < 0 ? -1 : committed->offset);
    return true;
}

/* False when some are not open yet, for lack of memory: to be tried again. */
static bool open_partitions(struct consumer *consumer, rd_kafka_topic_partition_list_t *list,
                            const rd_kafka_topic_partition_list_t *committed)
{
    for (int i = 0; i < list->cnt; i++) {
        rd_kafka_topic_partition_t *element = &list->elems[i];
        const rd_kafka_topic_partition_t *found = rd_kafka_topic_partition_list_find(
            (rd_kafka_topic_partition_list_t *)(uintptr_t)committed, element->topic,
            element->partition);
        if (consumer_find(consumer, element->topic, element->partition) == NULL &&
            !open_partition(consumer, found, element)) {
            return false;
        }
    }
    return true;
}

/* Takes what librdkafka says to an answer. One that it refuses leaves it waiting, and what it
 * fetches is another thing than what is known here: the worker stops. */
static void take_refusal(struct consumer *consumer, rd_kafka_error_t *refusal)
{
    if (refusal == NULL) {
        return;
    }
    log_event(LOG_WARN, "rebalance_failed", "reason=%s", rd_kafka_error_string(refusal));
    if (!consumer->is_closing) {
        struct error error = {0};
        (void)error_set(&error, ERROR_FATAL, NULL, NULL,
                        "the consumer refuses a change of its partitions: %s",
                        rd_kafka_error_string(refusal));
        consumer->end.on_failure(consumer->end.context, &error);
    }
    rd_kafka_error_destroy(refusal);
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
            rebalance->read == NULL ? NULL
                                    : group_read_step(rebalance->read, uv_now(consumer->loop));
        if (committed == NULL || !open_partitions(consumer, list, committed)) {
            return false;
        }
    }
    consumer->is_assigned = true;
    take_refusal(consumer, rd_kafka_incremental_assign(consumer->client, list));
    return true;
}

bool consumer_has_share(const struct consumer *consumer, const struct partition *partition)
{
    (void)consumer;
    int64_t ahead = offsets_next(partition->offsets) + PARTITION_WINDOW / 2;
    return share_is_ample(&partition->records) && share_is_ample(&partition->bytes) &&
           offsets_has_room(partition->offsets, ahead);
}

void consumer_give_share(struct consumer *consumer, struct partition *partition, size_t bytes)
{
    partition_give_share(partition, bytes);
    if (partition->held_count > 0 && consumer_has_share(consumer, partition)) {
        consumer_resume(consumer);
    }
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
    share_leave(&partition->records);
    share_leave(&partition->bytes);
    if (consumer->next_in_line == partition) {
        consumer->next_in_line = NULL;
    }
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
    take_refusal(consumer, rd_kafka_incremental_unassign(consumer->client, rebalance->list));
    return true;
}

/* The oldest change is answered, or will never be. */
static void end_rebalance(struct consumer *consumer)
{
    struct rebalance *rebalance = &consumer->rebalances[0];
    group_read_close(rebalance->read);
    rd_kafka_topic_partition_list_destroy(rebalance->list);
    consumer->rebalances_count--;
    memmove(rebalance, rebalance + 1, consumer->rebalances_count * sizeof *rebalance);
}

void consumer_step_rebalances(struct consumer *consumer)
{
    while (consumer->rebalances_count > 0) {
        struct rebalance *rebalance = &consumer->rebalances[0];
        bool is_answered = rebalance->is_assign ? step_assign(consumer, rebalance)
                                                : step_revoke(consumer, rebalance);
        if (!is_answered) {
            return;
        }
        end_rebalance(consumer);
        // What was held for lack of a partition's share may fit now.
        consumer->wants_retry = true;
    }
}

void consumer_drop_rebalances(struct consumer *consumer)
{
    while (consumer->rebalances_count > 0) {
        end_rebalance(consumer);
    }
}

static void on_rebalance(rd_kafka_t *client, rd_kafka_resp_err_t code,
                         rd_kafka_topic_partition_list_t *list, void *context)
{
    (void)client;
    struct consumer *consumer = context;
    metrics_add(METRIC_REBALANCES, 0, 1);
    CHECK(consumer->rebalances_count < REBALANCES_MAX);
    consumer->rebalances[consumer->rebalances_count++] = (struct rebalance){
        .is_assign = code == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS,
        .list = rd_kafka_topic_partition_list_copy(list),
    };
    consumer_step_rebalances(consumer);
}

void consumer_group_configure(rd_kafka_conf_t *conf)
{
    rd_kafka_conf_set_rebalance_cb(conf, on_rebalance);
}
