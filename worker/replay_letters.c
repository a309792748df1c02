/* replay_letters: one scan of the dead letters, with a transaction now and then. */
#include "worker/replay_letters.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pipeline/clock.h"
#include "schemas/base/arena.h"
#include "worker/kafka_client.h"
#include "worker/offset_ranges.h"
#include "worker/partitioner.h"
#include "worker/runs.h"
#include "worker/sender.h"
#include "worker/topic_scan.h"

enum { METADATA_TIMEOUT_MS = 10000, HEADERS_BYTES_MAX = 1 << 20 };

struct partition_state {
    struct offset_ranges sent;
    bool is_changed;   // since the last commit
    int64_t seen_last; // the letter before this one; -1 for none
};

struct replay {
    const struct replay_options *options;
    struct replay_result *result;
    const char *letters; // the topic
    char transactional_id[RUNS_KEY_BYTES_MAX];
    struct sender *sender;                       // NULL: a dry run
    int32_t partitions_counts[CONFIG_NAMES_MAX]; // of the filter's topics
    json_t *runs;                                // how many letters each run got back, by its id
    json_t *changed; // the same of runs that got some since the last commit
    int64_t uncommitted;
    struct partition_state partitions[TOPIC_PARTITIONS_MAX];
};

/* The rest of a key behind "KIND/LETTERS/"; absent data for other keys. */
static struct bytes name_in_key(const struct replay *replay, struct bytes key, const char *kind)
{
    char prefix[RUNS_KEY_BYTES_MAX];
    size_t size = (size_t)snprintf(prefix, sizeof prefix, "%s/%s/", kind, replay->letters);
    if (key.data == NULL || key.size < size || memcmp(key.data, prefix, size) != 0) {
        return (struct bytes){0};
    }
    return (struct bytes){key.data + size, key.size - size};
}

static bool take_partition(struct replay *replay, struct bytes name, const json_t *value,
                           struct error *error)
{
    char text[16] = "";
    memcpy(text, name.data, name.size < sizeof text ? name.size : sizeof text - 1);
    char *end;
    long partition = strtol(text, &end, 10);
    if (*end != '\0' || partition < 0 || partition >= TOPIC_PARTITIONS_MAX) {
        return true; // not ours
    }
    struct offset_ranges *sent = &replay->partitions[partition].sent;
    offset_ranges_close(sent); // a later record holds all
    return offset_ranges_parse(sent, json_object_get(value, "sent"), error) ||
           error_prefix(error, "topic %s, what was sent back of %s partition %ld",
                        replay->options->config->topics.runs, replay->letters, partition);
}

/* One record of topics.runs. */
static bool take_state(void *context, const rd_kafka_message_t *message, struct error *error)
{
    struct replay *replay = context;
    struct bytes key = {message->key, message->key_len};
    struct bytes partition = name_in_key(replay, key, "letters");
    struct bytes run = name_in_key(replay, key, "replayed");
    if (message->payload == NULL || (partition.data == NULL && run.data == NULL)) {
        return true;
    }
    json_t *value = json_loadb(message->payload, message->len, 0, NULL);
    bool ok = true;
    if (partition.data != NULL) {
        ok = take_partition(replay, partition, value, error);
    } else {
        json_int_t records = json_integer_value(json_object_get(value, "records"));
        (void)json_object_setn_new(replay->runs, run.data, run.size, json_integer(records));
    }
    json_decref(value);
    return ok;
}

static bool read_state(struct replay *replay, struct error *error)
{
    const struct config *config = replay->options->config;
    struct topic_scan scan = {
        .config = config,
        .topic = config->topics.runs,
        .what = "runs",
        .is_quiet = true,
        .take = take_state,
        .context = replay,
    };
    struct error reason = {0};
    if (!topic_scan_run(&scan, &reason) && reason.kind != ERROR_NOT_FOUND) {
        *error = reason;
        return false;
    }
    struct topic_range *range;
    if (!topic_range_open(config, replay->letters, &range, error)) {
        return false;
    }
    for (int32_t i = 0; i < range->partitions_count; i++) {
        offset_ranges_prune(&replay->partitions[i].sent, range->first[i]);
        replay->partitions[i].seen_last = -1;
    }
    topic_range_close(range);
    return true;
}

/* What the transaction changes in our memory goes into it. */
static bool send_state(struct replay *replay, struct error *error)
{
    const struct config *config = replay->options->config;
    char key[RUNS_KEY_BYTES_MAX];
    for (int32_t i = 0; i < TOPIC_PARTITIONS_MAX; i++) {
        struct partition_state *partition = &replay->partitions[i];
        if (!partition->is_changed) {
            continue;
        }
        (void)snprintf(key, sizeof key, "letters/%s/%" PRId32, replay->letters, i);
        json_t *value = json_pack("{s:o}", "sent", offset_ranges_json(&partition->sent));
        if (!runs_send(config, replay->sender, key, value, error)) {
            return false;
        }
        partition->is_changed = false;
    }
    const char *run_id;
    json_t *records;
    json_object_foreach (replay->changed, run_id, records) {
        (void)snprintf(key, sizeof key, "replayed/%s/%s", replay->letters, run_id);
        json_t *value = json_pack("{s:O}", "records", records);
        if (!runs_send(config, replay->sender, key, value, error)) {
            return false;
        }
    }
    return json_object_clear(replay->changed) == 0;
}

static bool commit(struct replay *replay, struct error *error)
{
    if (replay->uncommitted == 0) {
        return true;
    }
    if (!send_state(replay, error) || !sender_commit(replay->sender, error)) {
        return false;
    }
    replay->result->sent += replay->uncommitted;
    replay->uncommitted = 0;
    return true;
}

static void count_for_run(struct replay *replay, struct bytes run_id)
{
    if (run_id.size == 0 || run_id.size > RUN_ID_BYTES_MAX) {
        return;
    }
    char name[RUN_ID_BYTES_MAX + 1] = "";
    memcpy(name, run_id.data, run_id.size);
    json_int_t records = json_integer_value(json_object_get(replay->runs, name));
    json_t *count = json_integer(records + 1);
    (void)json_object_set(replay->runs, name, count);
    (void)json_object_set_new(replay->changed, name, count);
}

/* To the partition that it came from, where that is still there. */
static int32_t partition_of(const struct letter *letter, struct bytes key, int32_t count)
{
    if (letter->source.partition < count || key.data == NULL) {
        return letter->source.partition % count;
    }
    return partitioner_of_key(key, count);
}

static bool send_one(struct replay *replay, const rd_kafka_message_t *message,
                     const struct letter *letter, struct error *error)
{
    struct arena *arena = arena_open(HEADERS_BYTES_MAX);
    struct bytes key = {message->key, message->key_len};
    int topic = letter_filter_topic(&replay->options->filter, letter);
    struct sender_record record = {
        .topic = replay->options->filter.topics[topic],
        .partition = partition_of(letter, key, replay->partitions_counts[topic]),
        .key = key,
        .value = {message->payload, message->len},
    };
    bool ok = arena != NULL || error_set(error, ERROR_FATAL, NULL, NULL, "out of memory");
    ok = ok && letter_headers(message, letter, arena, &record.headers, error) &&
         sender_send(replay->sender, &record, error);
    arena_close(arena);
    return ok;
}

/* Sends a letter that may be sent, and notes it. */
static bool send_back(struct replay *replay, const rd_kafka_message_t *message,
                      const struct letter *letter, struct error *error)
{
    if (replay->sender == NULL) {
        replay->result->sent++;
        return true;
    }
    struct partition_state *partition = &replay->partitions[message->partition];
    // Between two letters there is nothing but what readers never see: one range.
    bool continues = offset_ranges_has(&partition->sent, partition->seen_last);
    int64_t first = continues ? partition->seen_last : message->offset;
    if (!send_one(replay, message, letter, error) ||
        !offset_ranges_add(&partition->sent, first, message->offset + 1, error)) {
        return false;
    }
    partition->is_changed = true;
    count_for_run(replay, letter->run_id);
    replay->uncommitted++;
    return true;
}

static bool take_matching(struct replay *replay, const rd_kafka_message_t *message,
                          const struct letter *letter, struct error *error)
{
    struct replay_result *result = replay->result;
    result->matched++;
    if (offset_ranges_has(&replay->partitions[message->partition].sent, message->offset)) {
        result->sent_before++;
        return true;
    }
    if (!letter->has_value) {
        result->without_value++;
        return true;
    }
    if (letter->mark.replays >= replay->options->replays_max) {
        result->exhausted++;
        return true;
    }
    return send_back(replay, message, letter, error);
}

static bool take_letter(void *context, const rd_kafka_message_t *message, struct error *error)
{
    struct replay *replay = context;
    struct letter letter;
    letter_read(message, &letter);
    bool ok = !letter_filter_matches(&replay->options->filter, &letter) ||
              take_matching(replay, message, &letter, error);
    replay->partitions[message->partition].seen_last = message->offset;
    return ok &&
           (replay->sender == NULL || !sender_is_due(replay->sender) || commit(replay, error));
}

/* Opened before the state is read: only then nothing changes any more. */
static bool open_sender(struct replay *replay, struct error *error)
{
    const struct replay_options *options = replay->options;
    if (options->is_dry) {
        return true;
    }
    (void)snprintf(replay->transactional_id, sizeof replay->transactional_id, "millrace/replay/%s",
                   replay->letters);
    if (!sender_open(options->config, replay->transactional_id, &replay->sender, error) ||
        !runs_create(options->config, replay->sender, error)) {
        return false;
    }
    for (size_t i = 0; i < options->filter.topics_count; i++) {
        if (!kafka_client_partitions(sender_client(replay->sender), options->filter.topics[i],
                                     METADATA_TIMEOUT_MS, &replay->partitions_counts[i], error)) {
            return false;
        }
    }
    return true;
}

static bool read_letters(struct replay *replay, struct error *error)
{
    struct topic_scan scan = {
        .config = replay->options->config,
        .topic = replay->letters,
        .what = "dead letters read",
        .is_quiet = replay->options->is_quiet,
        .take = take_letter,
        .context = replay,
    };
    return topic_scan_run(&scan, error) && commit(replay, error);
}

/* NULL when out of memory. Too large for a stack. */
static struct replay *replay_open(const struct replay_options *options,
                                  struct replay_result *result)
{
    struct replay *replay = calloc(1, sizeof *replay);
    if (replay != NULL) {
        replay->options = options;
        replay->result = result;
        replay->letters = options->config->topics.dead_letters;
        replay->runs = json_object();
        replay->changed = json_object();
    }
    return replay;
}

static void replay_close(struct replay *replay)
{
    sender_close(replay->sender);
    for (int32_t i = 0; i < TOPIC_PARTITIONS_MAX; i++) {
        offset_ranges_close(&replay->partitions[i].sent);
    }
    json_decref(replay->runs);
    json_decref(replay->changed);
    free(replay);
}

bool replay_letters_run(const struct replay_options *options, struct replay_result *result_out,
                        struct error *error)
{
    double started_ms = clock_monotonic_ms();
    *result_out = (struct replay_result){0};
    struct replay *replay = replay_open(options, result_out);
    if (replay == NULL) {
        return error_set(error, ERROR_FATAL, NULL, NULL, "out of memory");
    }
    bool ok =
        open_sender(replay, error) && read_state(replay, error) && read_letters(replay, error);
    replay_close(replay);
    result_out->seconds = (clock_monotonic_ms() - started_ms) / 1000;
    return ok;
}
