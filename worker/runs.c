/* runs: keys, values, and the topic they are on. */
#include "worker/runs.h"

#include <stdio.h>
#include <string.h>

#include "pipeline/clock.h"
#include "schemas/base/buffer.h"
#include "schemas/base/check.h"
#include "worker/kafka_client.h"
#include "worker/topic_scan.h"

enum {
    CREATE_TIMEOUT_MS = 10000,
    METADATA_TIMEOUT_MS = 10000,
    APPEAR_TIMEOUT_MS = 5000,
    POLL_MS = 100,
    VALUE_BYTES_MAX = 1000000, // below what a broker takes unless told otherwise
};

/* Waits for the broker's answer and drops it: the topic may be there already, or we may not be
 * allowed to create it; what counts is whether it is there afterwards. */
static void ask_for_topic(rd_kafka_t *client, rd_kafka_NewTopic_t *topic)
{
    rd_kafka_AdminOptions_t *options =
        rd_kafka_AdminOptions_new(client, RD_KAFKA_ADMIN_OP_CREATETOPICS);
    rd_kafka_queue_t *queue = rd_kafka_queue_new(client);
    char reason[256];
    (void)rd_kafka_AdminOptions_set_request_timeout(options, CREATE_TIMEOUT_MS, reason,
                                                    sizeof reason);
    (void)rd_kafka_AdminOptions_set_operation_timeout(options, CREATE_TIMEOUT_MS, reason,
                                                      sizeof reason);
    rd_kafka_CreateTopics(client, &topic, 1, options, queue);
    rd_kafka_event_t *event = rd_kafka_queue_poll(queue, CREATE_TIMEOUT_MS * 2);
    if (event != NULL) {
        rd_kafka_event_destroy(event);
    }
    rd_kafka_queue_destroy(queue);
    rd_kafka_AdminOptions_destroy(options);
}

/* Brokers learn of a new topic a moment after it was created. */
static bool await_topic(rd_kafka_t *client, const char *topic, struct error *error)
{
    double until_ms = clock_monotonic_ms() + APPEAR_TIMEOUT_MS;
    for (;;) {
        int32_t partitions_count;
        struct error reason = {0};
        if (kafka_client_partitions(client, topic, METADATA_TIMEOUT_MS, &partitions_count,
                                    &reason)) {
            return true;
        }
        bool may_come = reason.kind == ERROR_NOT_FOUND || reason.kind == ERROR_BUSY;
        if (!may_come || clock_monotonic_ms() >= until_ms) {
            *error = reason;
            return false;
        }
        (void)rd_kafka_poll(client, POLL_MS);
    }
}

bool runs_create(const struct config *config, struct sender *sender, struct error *error)
{
    rd_kafka_t *client = sender_client(sender);
    char reason[256];
    rd_kafka_NewTopic_t *topic =
        rd_kafka_NewTopic_new(config->topics.runs, 1, -1, reason, sizeof reason);
    if (topic == NULL) {
        return error_set(error, ERROR_CONFIG, NULL, NULL, "topics.runs: %s", reason);
    }
    CHECK(rd_kafka_NewTopic_set_config(topic, "cleanup.policy", "compact") ==
          RD_KAFKA_RESP_ERR_NO_ERROR);
    if (!kafka_client_is_demo(client, METADATA_TIMEOUT_MS)) { // which creates what is looked up
        ask_for_topic(client, topic);
    }
    rd_kafka_NewTopic_destroy(topic);
    return await_topic(client, config->topics.runs, error);
}

struct search {
    const char *run_id;
    struct manifest *manifest;
    struct run_state *state;
    char manifest_key[RUNS_KEY_BYTES_MAX];
    json_t *replayed; // by key
};

static bool has_prefix(struct bytes text, const char *prefix)
{
    return text.size >= strlen(prefix) && memcmp(text.data, prefix, strlen(prefix)) == 0;
}

/* Whether the key is replayed/TOPIC/RUN of our run. */
static bool is_replayed(const struct search *search, struct bytes key)
{
    if (!has_prefix(key, "replayed/")) {
        return false;
    }
    const char *topic = key.data + strlen("replayed/");
    size_t size = key.size - strlen("replayed/");
    const char *slash = memchr(topic, '/', size);
    return slash != NULL &&
           bytes_equal_text((struct bytes){slash + 1, size - 1 - (size_t)(slash - topic)},
                            search->run_id);
}

static bool take_record(void *context, const rd_kafka_message_t *message, struct error *error)
{
    (void)error;
    struct search *search = context;
    struct bytes key = {message->key, message->key_len};
    bool is_manifest = key.data != NULL && bytes_equal_text(key, search->manifest_key);
    if (!is_manifest && (key.data == NULL || !is_replayed(search, key))) {
        return true;
    }
    json_t *value =
        message->payload == NULL ? NULL : json_loadb(message->payload, message->len, 0, NULL);
    if (is_manifest) {
        struct error reason = {0};
        search->state->has_manifest = value != NULL &&
                                      manifest_parse(value, search->manifest, &reason) &&
                                      strcmp(search->manifest->run_id, search->run_id) == 0;
    } else {
        (void)json_object_setn(search->replayed, key.data, key.size, value);
    }
    json_decref(value);
    return true;
}

static void sum_replayed(const struct search *search)
{
    const char *key;
    json_t *value;
    json_object_foreach (search->replayed, key, value) {
        json_int_t records = json_integer_value(json_object_get(value, "records"));
        if (records > 0 && records <= INT32_MAX) {
            search->state->replayed += records;
        }
    }
}

bool runs_find(const struct config *config, const char *run_id, struct manifest *manifest,
               struct run_state *state_out, struct error *error)
{
    *state_out = (struct run_state){0};
    struct search search = {.run_id = run_id, .manifest = manifest, .state = state_out};
    (void)snprintf(search.manifest_key, sizeof search.manifest_key, "manifest/%s", run_id);
    search.replayed = json_object();
    struct topic_scan scan = {
        .config = config,
        .topic = config->topics.runs,
        .what = "runs",
        .is_quiet = true,
        .take = take_record,
        .context = &search,
    };
    struct error reason = {0};
    bool ok = topic_scan_run(&scan, &reason) || reason.kind == ERROR_NOT_FOUND;
    if (ok) {
        sum_replayed(&search);
    } else {
        *error = reason;
    }
    json_decref(search.replayed);
    return ok;
}

static int append(const char *data, size_t size, void *context)
{
    struct buffer *buffer = context;
    buffer_append(buffer, data, size);
    return buffer_failed(buffer) ? -1 : 0;
}

bool runs_send(const struct config *config, struct sender *sender, const char *key, json_t *value,
               struct error *error)
{
    struct buffer text;
    buffer_init(&text, VALUE_BYTES_MAX);
    bool ok = value != NULL && json_dump_callback(value, append, &text, JSON_COMPACT) == 0;
    json_decref(value);
    struct sender_record record = {
        .topic = config->topics.runs,
        .partition = RD_KAFKA_PARTITION_UA,
        .key = bytes_of(key),
        .value = buffer_bytes(&text),
    };
    ok = ok ? sender_send(sender, &record, error)
            : error_set(error, ERROR_FATAL, NULL, NULL, "%s needs more than %d bytes", key,
                        VALUE_BYTES_MAX);
    buffer_close(&text);
    return ok;
}

bool runs_send_manifest(const struct config *config, struct sender *sender,
                        const struct manifest *manifest, struct error *error)
{
    char key[RUNS_KEY_BYTES_MAX];
    (void)snprintf(key, sizeof key, "manifest/%s", manifest->run_id);
    return runs_send(config, sender, key, manifest_json(manifest), error);
}
