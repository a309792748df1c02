/* consumer, first part: its life, and the flow of records from librdkafka's queue to the end. */
#include "worker/consumer.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "schemas/base/check.h"
#include "worker/consumer_internal.h"
#include "worker/kafka_client.h"
#include "worker/log.h"

enum {
    RECORDS_PER_WAKE = 500,
    TICK_MS = 100,
    COMMIT_RETRY_MS = 500, // of the last commit, in a group that rebalances
    // The queue is left alone for so long before partitions are paused: in a busy pipeline room
    // comes back sooner, and pausing would fetch again what was prefetched.
    FULL_BEFORE_PAUSE_MS = 200,
};

/* Whether a paused partition has so much room that it is worth to fetch again. */
static bool may_resume(const struct consumer *consumer, const struct partition *partition)
{
    return partition->held_count == 0 && consumer_has_share(consumer, partition);
}

/* What librdkafka has done. */
static void note_pause(struct consumer *consumer, const rd_kafka_topic_partition_list_t *list,
                       bool pause)
{
    for (int i = 0; i < list->cnt; i++) {
        const rd_kafka_topic_partition_t *element = &list->elems[i];
        if (element->err == RD_KAFKA_RESP_ERR_NO_ERROR) {
            consumer_find(consumer, element->topic, element->partition)->is_paused = pause;
        }
    }
}

static void change_pause(struct consumer *consumer, bool pause,
                         bool (*matches)(const struct consumer *, const struct partition *))
{
    rd_kafka_topic_partition_list_t *list =
        rd_kafka_topic_partition_list_new((int)consumer->partitions_count);
    for (struct partition *partition = consumer->partitions; partition != NULL;
         partition = partition->next) {
        if (partition->is_paused != pause && (matches == NULL || matches(consumer, partition))) {
            rd_kafka_topic_partition_list_add(list, partition->topic, partition->number);
        }
    }
    if (list->cnt > 0) {
        rd_kafka_resp_err_t code = pause ? rd_kafka_pause_partitions(consumer->client, list)
                                         : rd_kafka_resume_partitions(consumer->client, list);
        log_event(code == RD_KAFKA_RESP_ERR_NO_ERROR ? LOG_DEBUG : LOG_WARN,
                  pause ? "partitions_paused" : "partitions_resumed", "count=%d code=%s", list->cnt,
                  rd_kafka_err2name(code));
        if (code == RD_KAFKA_RESP_ERR_NO_ERROR) { // else it is tried again
            note_pause(consumer, list, pause);
        }
    }
    rd_kafka_topic_partition_list_destroy(list);
}

static bool is_holding(const struct consumer *consumer, const struct partition *partition)
{
    (void)consumer;
    return partition->held_count > 0;
}

/* Whether what is prefetched of a partition stands in the way of another topic's: it has had its
 * share for a while, so the queue moves only as fast as its records are answered. */
static bool is_in_the_way(const struct consumer *consumer, const struct partition *partition)
{
    return consumer->records.topics_count > 1 && partition->held_count > 0 &&
           partition->blocked_since_ms != 0 &&
           uv_now(consumer->loop) - partition->blocked_since_ms >= FULL_BEFORE_PAUSE_MS;
}

/* Leaves the queue alone while a message waits whose partition still delivers. */
static void update_full(struct consumer *consumer)
{
    bool was_full = consumer->is_full;
    consumer->is_full = false;
    for (const struct partition *partition = consumer->partitions; partition != NULL;
         partition = partition->next) {
        consumer->is_full =
            consumer->is_full || (partition->held_count > 0 && !partition->is_paused);
    }
    if (consumer->is_full && !was_full) {
        consumer->full_since_ms = uv_now(consumer->loop);
    }
}

/* Whether another partition's record goes first: it found no room at all, and a large one never
 * would while small ones take what comes free. */
static bool is_behind(const struct consumer *consumer, const struct partition *partition)
{
    const struct partition *next = consumer->next_in_line;
    return next != NULL && next != partition && next->held_count > 0;
}

/* Remembers what came of an offer, for the order of the next ones. */
static void note(struct consumer *consumer, struct partition *partition, enum intake_result result)
{
    if (result == INTAKE_FULL && !is_behind(consumer, partition)) {
        consumer->next_in_line = partition;
    } else if (result != INTAKE_FULL && consumer->next_in_line == partition) {
        consumer->next_in_line = NULL;
    }
    if (result == INTAKE_BLOCKED && partition->blocked_since_ms == 0) {
        partition->blocked_since_ms = uv_now(consumer->loop);
    } else if (result == INTAKE_TAKEN && partition->blocked_since_ms != 0 &&
               consumer_has_share(consumer, partition)) {
        partition->blocked_since_ms = 0;
    }
}

static enum intake_result offer(struct consumer *consumer, struct partition *partition,
                                const rd_kafka_message_t *message)
{
    if (is_behind(consumer, partition) || !offsets_has_room(partition->offsets, message->offset)) {
        return INTAKE_BLOCKED;
    }
    if (offsets_is_done(partition->offsets, message->offset)) {
        (void)offsets_deliver(partition->offsets, message->offset);
        return INTAKE_TAKEN; // it came twice, or was answered in an earlier assignment
    }
    enum intake_result result = consumer->end.on_record(consumer->end.context, partition, message);
    note(consumer, partition, result);
    return result;
}

/* Says once where a group without offsets begins on a topic that has records: a group that forgot
 * its offsets answers again. `offset` is the first record's, or the end. */
static void announce_start(struct partition *partition, int64_t offset, bool has_records)
{
    if (partition->is_new && has_records) {
        log_event(
            LOG_WARN, "group_has_no_offsets",
            "topic=%s partition=%d start=%lld reason=the topic has records, and this group has "
            "never committed any, or its offsets have expired",
            partition->topic, (int)partition->number, (long long)offset);
    }
    partition->is_new = false;
}

static void hold(struct consumer *consumer, struct partition *partition,
                 rd_kafka_message_t *message)
{
    if (partition_hold(partition, message)) {
        return;
    }
    rd_kafka_message_destroy(message);
    struct error error = {0};
    (void)error_set(&error, ERROR_FATAL, NULL, NULL,
                    "topic %s partition %d delivers although it is paused", partition->topic,
                    (int)partition->number);
    consumer->end.on_failure(consumer->end.context, &error);
}

static void pass_end(struct partition *partition)
{
    if (partition->held_count == 0 && partition->end_position >= 0) {
        offsets_advance(partition->offsets, partition->end_position);
        if (offsets_unfinished(partition->offsets) == 0) {
            partition->assigned_ms = 0; // no record waited for this owner
        }
    }
}

/* Nothing of the partition has run yet. `end` is its end by the answer to the first fetch. */
static void learn_end(struct partition *partition, int64_t end)
{
    if (!partition->knows_end && end >= 0) {
        offsets_limit_suspects(partition->offsets, end);
    }
    partition->knows_end = true;
}

/* Of the answer that brought the message; asks nobody. */
static int64_t end_of_fetch(const struct consumer *consumer, const struct partition *partition)
{
    int64_t first;
    int64_t end;
    rd_kafka_resp_err_t code = rd_kafka_get_watermark_offsets(consumer->client, partition->topic,
                                                              partition->number, &first, &end);
    return code == RD_KAFKA_RESP_ERR_NO_ERROR ? end : RD_KAFKA_OFFSET_INVALID;
}

static void on_record(struct consumer *consumer, rd_kafka_message_t *message)
{
    struct partition *partition =
        consumer_find(consumer, rd_kafka_topic_name(message->rkt), message->partition);
    if (partition == NULL || partition->is_leaving || consumer->is_draining) {
        rd_kafka_message_destroy(message); // not committed, so it comes again
        return;
    }
    if (offsets_precedes(partition->offsets, message->offset)) {
        log_event(LOG_WARN, "log_begins_anew", "topic=%s partition=%d offset=%lld",
                  partition->topic, (int)partition->number, (long long)message->offset);
        offsets_assign(partition->offsets, ++consumer->epoch);
    }
    announce_start(partition, message->offset, true);
    if (!partition->knows_end) {
        learn_end(partition, end_of_fetch(consumer, partition));
    }
    enum intake_result result = INTAKE_BLOCKED;
    if (partition->held_count == 0) {
        result = offer(consumer, partition, message);
    }
    if (result == INTAKE_TAKEN) {
        rd_kafka_message_destroy(message);
        return;
    }
    hold(consumer, partition, message);
    if (result == INTAKE_LATER) {
        change_pause(consumer, true, is_holding);
    }
    update_full(consumer);
}

static void on_event(struct consumer *consumer, const rd_kafka_message_t *message)
{
    if (message->err == RD_KAFKA_RESP_ERR__PARTITION_EOF) {
        struct partition *partition =
            consumer_find(consumer, rd_kafka_topic_name(message->rkt), message->partition);
        if (partition != NULL && !partition->is_leaving && !consumer->is_draining) {
            announce_start(partition, message->offset, message->offset > 0);
            learn_end(partition, message->offset);
            partition->end_position = message->offset;
            pass_end(partition);
        }
        return;
    }
    const char *text = rd_kafka_message_errstr(message);
    bool is_final = message->err == RD_KAFKA_RESP_ERR__FATAL ||
                    message->err == RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET ||
                    message->err == RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED ||
                    message->err == RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED;
    if (is_final) {
        struct error error = {0};
        (void)error_set(&error, ERROR_FATAL, NULL, NULL, "consumer: %s", text);
        consumer->end.on_failure(consumer->end.context, &error);
        return;
    }
    log_event(LOG_WARN, "consumer_error", "code=%s reason=%s", rd_kafka_err2name(message->err),
              text);
}

static void on_more(uv_idle_t *handle);

/* Takes at most RECORDS_PER_WAKE; the idle handle brings the loop back here for more. */
static void poll_queue(struct consumer *consumer)
{
    bool is_empty = false;
    for (int i = 0; i < RECORDS_PER_WAKE && !is_empty && !consumer->is_full; i++) {
        rd_kafka_message_t *message = rd_kafka_consumer_poll(consumer->client, 0);
        if (message == NULL) {
            is_empty = true;
        } else if (message->err == RD_KAFKA_RESP_ERR_NO_ERROR) {
            on_record(consumer, message);
        } else {
            on_event(consumer, message);
            rd_kafka_message_destroy(message);
        }
    }
    if (is_empty || consumer->is_full) {
        CHECK(uv_idle_stop(&consumer->more) == 0);
    } else {
        CHECK(uv_idle_start(&consumer->more, on_more) == 0);
    }
}

/* Offers what is held again. False when the end is full. */
static bool retry_partition(struct consumer *consumer, struct partition *partition)
{
    while (partition->held_count > 0) {
        enum intake_result result = offer(consumer, partition, partition->held[0]);
        if (result != INTAKE_TAKEN) {
            return result != INTAKE_FULL;
        }
        rd_kafka_message_destroy(partition_unhold(partition));
    }
    pass_end(partition);
    return true;
}

static void retry_held(struct consumer *consumer)
{
    consumer->wants_retry = false;
    if (consumer->is_draining) {
        return;
    }
    bool has_room =
        consumer->next_in_line == NULL || retry_partition(consumer, consumer->next_in_line);
    for (struct partition *partition = consumer->partitions; partition != NULL && has_room;
         partition = partition->next) {
        has_room = partition->held_count == 0 || retry_partition(consumer, partition);
    }
    update_full(consumer);
    if (has_room && consumer->end.has_ample_room(consumer->end.context)) {
        change_pause(consumer, false, may_resume);
    }
}

static void turn(struct consumer *consumer)
{
    if (consumer->wants_retry) {
        retry_held(consumer);
    }
    poll_queue(consumer);
    consumer_step_rebalances(consumer);
    consumer->end.on_step(consumer->end.context);
    consumer_commit_some(consumer);
}

static void on_wake(uv_poll_t *handle, int status, int events)
{
    (void)status;
    (void)events;
    struct consumer *consumer = handle->data;
    char bytes[256];
    while (read(consumer->wake_fds[0], bytes, sizeof bytes) == (ssize_t)sizeof bytes) {
    }
    turn(consumer);
}

static void on_more(uv_idle_t *handle)
{
    turn(handle->data);
}

static void on_tick(uv_timer_t *handle)
{
    struct consumer *consumer = handle->data;
    if (consumer->is_full &&
        uv_now(consumer->loop) - consumer->full_since_ms >= FULL_BEFORE_PAUSE_MS) {
        change_pause(consumer, true, is_holding);
    }
    change_pause(consumer, true, is_in_the_way);
    update_full(consumer);
    consumer->wants_retry = true;
    turn(consumer);
}

void consumer_resume(struct consumer *consumer)
{
    consumer->wants_retry = true;
    CHECK(uv_idle_start(&consumer->more, on_more) == 0);
}

void consumer_drain(struct consumer *consumer)
{
    consumer->is_draining = true;
    consumer->is_full = false;
    for (struct partition *partition = consumer->partitions; partition != NULL;
         partition = partition->next) {
        partition_drop_held(partition);
    }
    change_pause(consumer, true, NULL);
}

static void on_handle_closed(uv_handle_t *handle)
{
    struct consumer *consumer = handle->data;
    if (--consumer->handles_open == 0) {
        (void)close(consumer->wake_fds[0]);
        (void)close(consumer->wake_fds[1]);
        free(consumer);
    }
}

static void open_handles(struct consumer *consumer)
{
    CHECK(uv_poll_init(consumer->loop, &consumer->wake, consumer->wake_fds[0]) == 0);
    CHECK(uv_idle_init(consumer->loop, &consumer->more) == 0);
    CHECK(uv_timer_init(consumer->loop, &consumer->tick) == 0);
    consumer->wake.data = consumer;
    consumer->more.data = consumer;
    consumer->tick.data = consumer;
    consumer->handles_open = 3;
    CHECK(uv_poll_start(&consumer->wake, UV_READABLE, on_wake) == 0);
    CHECK(uv_timer_start(&consumer->tick, on_tick, TICK_MS, TICK_MS) == 0);
}

static void on_error(rd_kafka_t *client, int code, const char *reason, void *context)
{
    (void)client;
    (void)context;
    log_event(LOG_WARN, "consumer_error", "code=%s reason=%s",
              rd_kafka_err2name((rd_kafka_resp_err_t)code), reason);
}

/* librdkafka tells when brokers go, but not when they come back; its statistics have both. */
static int on_statistics(rd_kafka_t *client, char *text, size_t size, void *context)
{
    (void)client;
    struct consumer *consumer = context;
    json_t *root = json_loadb(text, size, 0, NULL);
    if (root == NULL) {
        return 0; // out of memory: nothing is known
    }
    const char *name;
    json_t *broker;
    bool has_broker = false;
    json_object_foreach (json_object_get(root, "brokers"), name, broker) {
        const char *state = json_string_value(json_object_get(broker, "state"));
        bool is_broker = json_integer_value(json_object_get(broker, "nodeid")) >= 0;
        has_broker = has_broker || (is_broker && state != NULL && strcmp(state, "UP") == 0);
    }
    consumer->has_broker = has_broker;
    json_decref(root);
    return 0; // librdkafka frees the text
}

static bool open_client(struct consumer *consumer, struct error *error)
{
    rd_kafka_conf_t *conf;
    if (!kafka_client_conf(consumer->config, KAFKA_GROUP, &conf, error)) {
        return false;
    }
    rd_kafka_conf_set_opaque(conf, consumer);
    rd_kafka_conf_set_error_cb(conf, on_error);
    rd_kafka_conf_set_stats_cb(conf, on_statistics);
    consumer_group_configure(conf);
    if (!kafka_client_open(KAFKA_GROUP, conf, &consumer->client, error)) {
        return false;
    }
    consumer->queue = rd_kafka_queue_get_consumer(consumer->client);
    if (consumer->queue == NULL) {
        rd_kafka_destroy(consumer->client);
        return error_set(error, ERROR_CONFIG, NULL, NULL, "kafka client: no group is configured");
    }
    return true;
}

bool consumer_open(uv_loop_t *loop, const struct config *config, const struct consumer_end *end,
                   struct consumer **consumer_out, struct error *error)
{
    struct consumer *consumer = calloc(1, sizeof *consumer);
    if (consumer == NULL) {
        return error_set(error, ERROR_FATAL, NULL, NULL, "out of memory for the consumer");
    }
    consumer->loop = loop;
    consumer->config = config;
    consumer->end = *end;
    share_init(&consumer->records, (size_t)config->intake_records_max);
    share_init(&consumer->bytes, (size_t)config->intake_bytes_max);
    consumer->has_broker = true; // until statistics say otherwise
    if (uv_pipe(consumer->wake_fds, UV_NONBLOCK_PIPE, UV_NONBLOCK_PIPE) != 0) {
        free(consumer);
        return error_set(error, ERROR_FATAL, NULL, NULL, "cannot open a pipe for the consumer");
    }
    if (!open_client(consumer, error)) {
        (void)close(consumer->wake_fds[0]);
        (void)close(consumer->wake_fds[1]);
        free(consumer);
        return false;
    }
    open_handles(consumer);
    rd_kafka_queue_io_event_enable(consumer->queue, consumer->wake_fds[1], "1", 1);
    consumer_commits_open(consumer);
    *consumer_out = consumer;
    return true;
}

void consumer_use_transactions(struct consumer *consumer)
{
    consumer->is_exactly_once = true;
}

bool consumer_start(struct consumer *consumer, struct error *error)
{
    const struct config_names *inputs = config_inputs(consumer->config);
    rd_kafka_topic_partition_list_t *topics = rd_kafka_topic_partition_list_new((int)inputs->count);
    for (size_t i = 0; i < inputs->count; i++) {
        rd_kafka_topic_partition_list_add(topics, inputs->items[i], RD_KAFKA_PARTITION_UA);
    }
    rd_kafka_resp_err_t code = rd_kafka_subscribe(consumer->client, topics);
    rd_kafka_topic_partition_list_destroy(topics);
    if (code != RD_KAFKA_RESP_ERR_NO_ERROR) {
        return error_set(error, ERROR_CONFIG, NULL, NULL,
                         "cannot subscribe to the input topics: %s", rd_kafka_err2str(code));
    }
    consumer->is_subscribed = true;
    return true;
}

/* Serves the group while the end takes no more records. */
static void serve_group(struct consumer *consumer, int timeout_ms)
{
    rd_kafka_message_t *message = rd_kafka_consumer_poll(consumer->client, timeout_ms);
    if (message != NULL) {
        rd_kafka_message_destroy(message);
    }
}

/* A group in the middle of a rebalance takes no commits: goes on until it does. */
static void commit_last(struct consumer *consumer, int timeout_ms)
{
    uint64_t until_ns = uv_hrtime() + (uint64_t)timeout_ms * 1000000;
    while (!consumer_commit_now(consumer, true, timeout_ms) && uv_hrtime() < until_ns) {
        serve_group(consumer, COMMIT_RETRY_MS);
    }
}

static void leave_group(struct consumer *consumer, int timeout_ms)
{
    rd_kafka_error_t *error = rd_kafka_consumer_close_queue(consumer->client, consumer->queue);
    if (error != NULL) {
        log_event(LOG_WARN, "group_not_left", "reason=%s", rd_kafka_error_string(error));
        rd_kafka_error_destroy(error);
        return;
    }
    for (int waited_ms = 0; !rd_kafka_consumer_closed(consumer->client) && waited_ms < timeout_ms;
         waited_ms += TICK_MS) {
        serve_group(consumer, TICK_MS);
    }
}

/* librdkafka before 2.3 aborts the process when it is destroyed between joining the group and the
 * first assignment (its issue 4312). */
static bool is_destruction_safe(const struct consumer *consumer)
{
    enum { FIXED_VERSION = 0x02030000 };
    return !consumer->is_subscribed || consumer->is_assigned || rd_kafka_version() >= FIXED_VERSION;
}

bool consumer_close(struct consumer *consumer, int timeout_ms)
{
    if (consumer == NULL) {
        return true;
    }
    consumer_drain(consumer);
    consumer->is_closing = true; // the end hears nothing more
    commit_last(consumer, timeout_ms);
    consumer_step_rebalances(consumer);
    leave_group(consumer, timeout_ms);
    consumer_drop_rebalances(consumer);
    rd_kafka_queue_io_event_enable(consumer->queue, -1, NULL, 0);
    rd_kafka_queue_destroy(consumer->queue);
    consumer_commits_close(consumer);
    while (consumer->partitions != NULL) { // left over when the group did not answer
        struct partition *partition = consumer->partitions;
        consumer->partitions = partition->next;
        share_leave(&partition->records);
        share_leave(&partition->bytes);
        partition->is_assigned = false;
        offsets_end(partition->offsets);
        partition_drop_held(partition);
        partition_release(partition);
    }
    bool is_destroyed =
        is_destruction_safe(consumer) && kafka_client_destroy(consumer->client, timeout_ms);
    uv_close((uv_handle_t *)&consumer->wake, on_handle_closed);
    uv_close((uv_handle_t *)&consumer->more, on_handle_closed);
    uv_close((uv_handle_t *)&consumer->tick, on_handle_closed);
    return is_destroyed;
}

struct partition *consumer_assignment(const struct consumer *consumer)
{
    return consumer->partitions;
}

rd_kafka_t *consumer_client(const struct consumer *consumer)
{
    return consumer->client;
}

bool consumer_is_assigned(const struct consumer *consumer)
{
    return consumer->is_assigned;
}

bool consumer_has_broker(const struct consumer *consumer)
{
    return consumer->has_broker;
}

size_t consumer_partitions(const struct consumer *consumer)
{
    return consumer->partitions_count;
}

size_t consumer_partitions_paused(const struct consumer *consumer)
{
    size_t count = 0;
    for (const struct partition *partition = consumer->partitions; partition != NULL;
         partition = partition->next) {
        count += partition->is_paused ? 1 : 0;
    }
    return count;
}
