/* collect: one reader over the partitions of responses and dead letters. */
#include "worker/collect.h"

#include <inttypes.h>
#include <librdkafka/rdkafka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pipeline/clock.h"
#include "schemas/base/arena.h"
#include "schemas/base/buffer.h"
#include "schemas/base/check.h"
#include "schemas/records/record_codec.h"
#include "worker/id_set.h"
#include "worker/kafka_client.h"
#include "worker/progress.h"
#include "worker/registry.h"
#include "worker/replay_mark.h"
#include "worker/results_file.h"
#include "worker/run_reader.h"
#include "worker/topic_scan.h"

enum {
    OUTCOMES_MAX = 16 << 20,
    RECORD_BYTES_MAX = 256 << 20,
    METADATA_TIMEOUT_MS = 10000,
    CLOSE_TIMEOUT_MS = 5000,
    POLL_MS = 200,
    IDENTITY_BYTES_MAX = 4096,
};

/* A partition that is read. */
struct place {
    int64_t start;
    bool is_at_end;
};

struct collect {
    const struct collect_options *options;
    struct collect_result *result;
    struct record_codec *codec;
    struct results_file *file;
    struct id_set *sources;
    rd_kafka_t *client;
    int32_t responses_count; // partitions
    int32_t dead_letters_count;
    struct place *places; // [responses_count + dead_letters_count]
    struct buffer line;
    int64_t first_ms, last_ms; // of the work, by the broker's clock
    struct progress progress;
};

/* The work lasted from the intake of a record, which is its outcome's time less what it took, to
 * the last outcome. */
static void count_time(struct collect *collect, int64_t at_ms, double total_ms)
{
    int64_t intake_ms = at_ms - (int64_t)total_ms;
    if (at_ms > 0 && (collect->first_ms == 0 || intake_ms < collect->first_ms)) {
        collect->first_ms = intake_ms;
    }
    if (at_ms > collect->last_ms) {
        collect->last_ms = at_ms;
    }
}

static struct id_hash hash_of_source(const struct source *source)
{
    char text[320];
    int size = snprintf(text, sizeof text, "%.*s/%" PRId32 "/%" PRId64, (int)source->topic.size,
                        source->topic.data == NULL ? "" : source->topic.data, source->partition,
                        source->offset);
    CHECK(size > 0);
    return id_set_hash(
        (struct bytes){text, (size_t)size < sizeof text ? (size_t)size : sizeof text - 1});
}

/* Whether this is the first outcome of its source. False with *error set when it cannot be known.
 */
static bool is_first(struct collect *collect, const struct source *source, struct error *error)
{
    switch (id_set_add_hash(collect->sources, hash_of_source(source))) {
    case ID_SET_NEW:
        return true;
    case ID_SET_KNOWN:
        collect->result->duplicates++;
        return false;
    case ID_SET_FULL:
        return error_set(error, ERROR_FATAL, NULL, NULL, "the run has more than %d outcomes",
                         OUTCOMES_MAX);
    }
    CHECK(false);
}

/* Adds a first outcome to the sums. */
static void count_outcome(struct collect *collect, const struct inference_response *response,
                          const struct outcome *outcome)
{
    if (outcome->is_dead_letter) {
        totals_add_dead_letter(&collect->result->totals);
        count_time(collect, outcome->at_ms, 0);
        return;
    }
    totals_add_response(&collect->result->totals, response);
    count_time(collect, outcome->at_ms, response->timing == NULL ? 0 : response->timing->total_ms);
}

/* What the message says about its outcome, beside the response. */
static struct outcome outcome_of(const rd_kafka_message_t *message, bool is_dead_letter,
                                 const struct inference_response *response)
{
    struct replay_mark mark = {.origin = response->source};
    (void)replay_mark_read(message, &mark);
    return (struct outcome){
        .origin = mark.origin,
        .replays = mark.replays,
        .is_dead_letter = is_dead_letter,
        .id = id_set_hash(response->custom_id),
        .read_partition = message->partition,
        .read_offset = message->offset,
        .at_ms = rd_kafka_message_timestamp(message, NULL),
    };
}

/* Value: a JSON line to be written as it is, or anything else. */
static bool add_line(struct collect *collect, const struct inference_response *response,
                     const struct outcome *outcome, struct bytes value, struct error *error)
{
    if (value.size == 0 || value.data[0] != '{') {
        buffer_clear(&collect->line);
        if (!record_encode_response(collect->codec, response, WIRE_JSON, 0, &collect->line,
                                    error)) {
            return false;
        }
        value = buffer_bytes(&collect->line);
    }
    return results_file_add(collect->file, outcome, value, error);
}

/* Asks the registry for the schema when that is what is missing. */
static enum decode_result decode(struct collect *collect, struct bytes value, struct arena *arena,
                                 struct inference_response *response_out, struct error *error)
{
    enum decode_result result =
        record_decode_response(collect->codec, value, arena, response_out, error);
    const char *url = collect->options->config->registry_url;
    uint32_t id;
    if (result != NEEDS_SCHEMA || url[0] == '\0' || !record_schema_id(value, &id)) {
        return result;
    }
    *error = (struct error){0};
    if (!registry_load(url, id, collect->codec, error)) {
        return NEEDS_SCHEMA;
    }
    return record_decode_response(collect->codec, value, arena, response_out, error);
}

static bool take_response(struct collect *collect, const rd_kafka_message_t *message,
                          struct arena *arena, struct error *error)
{
    struct bytes value = {message->payload, message->len};
    struct inference_response response;
    struct error reason = {0};
    if (decode(collect, value, arena, &response, &reason) != DECODED) {
        *error = reason;
        (void)error_prefix(error, "%s partition %d offset %" PRId64,
                           rd_kafka_topic_name(message->rkt), (int)message->partition,
                           message->offset);
        return false;
    }
    if (!is_first(collect, &response.source, error)) {
        return error->kind == ERROR_NONE;
    }
    struct outcome outcome = outcome_of(message, false, &response);
    count_outcome(collect, &response, &outcome);
    return add_line(collect, &response, &outcome, value, error);
}

static bool take_dead_letter(struct collect *collect, const rd_kafka_message_t *message,
                             struct error *error)
{
    struct failure failure = {
        .code = bytes_of("dead_letter"),
        .message = message_header(message, "__connect.errors.exception.message"),
    };
    struct inference_response response = {
        .custom_id = {message->key == NULL ? "" : message->key, message->key_len},
        .run_id = bytes_of(collect->options->run_id),
        .source = {.topic = message_header(message, "__connect.errors.topic"),
                   .partition =
                       (int32_t)message_header_number(message, "__connect.errors.partition"),
                   .offset = message_header_number(message, "__connect.errors.offset")},
        .error = &failure,
        .attempt = 1,
    };
    if (!is_first(collect, &response.source, error)) {
        return error->kind == ERROR_NONE;
    }
    struct outcome outcome = outcome_of(message, true, &response);
    count_outcome(collect, &response, &outcome);
    struct error unusable = {0};
    if (add_line(collect, &response, &outcome, (struct bytes){0}, &unusable)) {
        return true;
    }
    response.custom_id = bytes_of("unknown"); // the key is no text
    return add_line(collect, &response, &outcome, (struct bytes){0}, error);
}

static size_t place_of(const struct collect *collect, bool is_dead_letter, int32_t partition)
{
    return (size_t)(is_dead_letter ? collect->responses_count : 0) + (size_t)partition;
}

static bool take_message(struct collect *collect, const rd_kafka_message_t *message,
                         struct error *error)
{
    const char *topic = rd_kafka_topic_name(message->rkt);
    bool is_dead_letter = strcmp(topic, collect->options->config->topics.responses) != 0;
    struct place *place = &collect->places[place_of(collect, is_dead_letter, message->partition)];
    if (message->err == RD_KAFKA_RESP_ERR__PARTITION_EOF) {
        place->is_at_end = true;
        return true;
    }
    if (message->err != RD_KAFKA_RESP_ERR_NO_ERROR) {
        return kafka_verdict_of(message->err) != KAFKA_STOP ||
               error_set(error, ERROR_FATAL, NULL, NULL, "%s", rd_kafka_message_errstr(message));
    }
    place->is_at_end = false;
    if (!bytes_equal_text(message_header(message, "millrace-run-id"), collect->options->run_id)) {
        return true;
    }
    if (is_dead_letter) {
        return take_dead_letter(collect, message, error);
    }
    struct arena *arena = arena_open(4 * message->len + (1 << 20));
    if (arena == NULL) {
        return error_set(error, ERROR_FATAL, NULL, NULL, "out of memory");
    }
    bool ok = take_response(collect, message, arena, error);
    arena_close(arena);
    return ok;
}

static bool are_all_at_end(const struct collect *collect)
{
    bool are_at_end = true;
    for (int32_t i = 0; i < collect->responses_count + collect->dead_letters_count; i++) {
        are_at_end = are_at_end && collect->places[i].is_at_end;
    }
    return are_at_end;
}

static bool read_outcomes(struct collect *collect, struct error *error)
{
    const struct collect_options *options = collect->options;
    double started_ms = clock_monotonic_ms();
    bool ok = true;
    bool is_done = false;
    int64_t expected = options->expected + options->replayed;
    progress_start(&collect->progress, "records", options->is_quiet);
    while (ok && !is_done) {
        rd_kafka_message_t *message = rd_kafka_consumer_poll(collect->client, POLL_MS);
        if (message != NULL) {
            ok = take_message(collect, message, error);
            rd_kafka_message_destroy(message);
        }
        int64_t count = (int64_t)id_set_count(collect->sources);
        progress_show(&collect->progress, count, expected, -1);
        bool is_late = options->timeout_ms > 0 &&
                       clock_monotonic_ms() - started_ms >= (double)options->timeout_ms;
        is_done = is_late || (count >= expected && are_all_at_end(collect));
    }
    progress_stop(&collect->progress);
    return ok;
}

static bool open_partitions(struct collect *collect, struct error *error)
{
    const struct config_topics *topics = &collect->options->config->topics;
    if (!kafka_client_partitions(collect->client, topics->responses, METADATA_TIMEOUT_MS,
                                 &collect->responses_count, error) ||
        !kafka_client_partitions(collect->client, topics->dead_letters, METADATA_TIMEOUT_MS,
                                 &collect->dead_letters_count, error)) {
        return false;
    }
    int32_t count = collect->responses_count + collect->dead_letters_count;
    collect->places = calloc((size_t)count, sizeof collect->places[0]);
    return collect->places != NULL ||
           error_set(error, ERROR_FATAL, NULL, NULL, "out of memory for %d partitions", (int)count);
}

/* From where the manifest says; of what it does not say from the beginning. */
static void set_starts(struct collect *collect)
{
    const struct manifest *manifest = collect->options->manifest;
    for (int32_t i = 0; i < collect->responses_count + collect->dead_letters_count; i++) {
        bool is_response = i < collect->responses_count;
        size_t partition = (size_t)(is_response ? i : i - collect->responses_count);
        const struct manifest_offsets *from = manifest == NULL ? NULL
                                              : is_response    ? &manifest->responses
                                                               : &manifest->dead_letters;
        bool is_known = from != NULL && partition < from->count;
        collect->places[i].start = is_known ? from->items[partition] : RD_KAFKA_OFFSET_BEGINNING;
    }
}

/* One that an earlier process has read. */
static bool take_recovered(void *context, const struct outcome *outcome, struct bytes line,
                           struct error *error)
{
    struct collect *collect = context;
    bool is_dead_letter = outcome->is_dead_letter;
    int32_t count = is_dead_letter ? collect->dead_letters_count : collect->responses_count;
    struct arena *arena = arena_open(4 * line.size + (1 << 20));
    struct inference_response response;
    bool ok = arena != NULL || error_set(error, ERROR_FATAL, NULL, NULL, "out of memory");
    ok = ok && record_decode_response(collect->codec, line, arena, &response, error) == DECODED;
    if (ok && is_first(collect, &response.source, error)) {
        count_outcome(collect, &response, outcome);
        collect->result->recovered++;
        if (outcome->read_partition >= 0 && outcome->read_partition < count) {
            struct place *place =
                &collect->places[place_of(collect, is_dead_letter, outcome->read_partition)];
            int64_t next = outcome->read_offset + 1;
            place->start = next > place->start ? next : place->start;
        }
    }
    arena_close(arena);
    return ok && error->kind == ERROR_NONE;
}

/* The output's, with what was read for it before. It is for this run on these brokers alone. */
static bool open_file(struct collect *collect, struct error *error)
{
    const struct collect_options *options = collect->options;
    const struct config_topics *topics = &options->config->topics;
    char *cluster = rd_kafka_clusterid(collect->client, METADATA_TIMEOUT_MS);
    struct buffer identity;
    buffer_init(&identity, IDENTITY_BYTES_MAX);
    buffer_printf(&identity, "%s\n%s\n%s\n%s\n%" PRId64, cluster == NULL ? "" : cluster,
                  topics->responses, topics->dead_letters, options->run_id,
                  options->manifest == NULL ? 0 : options->manifest->started_ms);
    if (cluster != NULL) {
        rd_kafka_mem_free(collect->client, cluster);
    }
    bool ok = results_file_open(options->output, buffer_bytes(&identity), &collect->file, error);
    buffer_close(&identity);
    return ok && results_file_recover(collect->file, take_recovered, collect, error);
}

static bool assign(struct collect *collect, struct error *error)
{
    const struct config_topics *topics = &collect->options->config->topics;
    int32_t count = collect->responses_count + collect->dead_letters_count;
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(count);
    for (int32_t i = 0; i < count; i++) {
        bool is_response = i < collect->responses_count;
        rd_kafka_topic_partition_list_add(list,
                                          is_response ? topics->responses : topics->dead_letters,
                                          is_response ? i : i - collect->responses_count)
            ->offset = collect->places[i].start;
    }
    rd_kafka_resp_err_t code = rd_kafka_assign(collect->client, list);
    rd_kafka_topic_partition_list_destroy(list);
    return code == RD_KAFKA_RESP_ERR_NO_ERROR ||
           error_set(error, ERROR_FATAL, NULL, NULL, "cannot read the result topics: %s",
                     rd_kafka_err2str(code));
}

static bool open_parts(struct collect *collect, struct error *error)
{
    const struct collect_options *options = collect->options;
    struct record_codec_options codec_options = {.body_bytes_max = RECORD_BYTES_MAX};
    buffer_init(&collect->line, RECORD_BYTES_MAX);
    collect->sources = id_set_open(OUTCOMES_MAX);
    if (collect->sources == NULL) {
        return error_set(error, ERROR_FATAL, NULL, NULL, "out of memory");
    }
    collect->codec = record_codec_open(&codec_options, error);
    rd_kafka_conf_t *conf;
    if (collect->codec == NULL || !kafka_client_conf(options->config, KAFKA_READER, &conf, error) ||
        !kafka_client_open(KAFKA_READER, conf, &collect->client, error) ||
        !open_partitions(collect, error)) {
        return false;
    }
    set_starts(collect);
    return open_file(collect, error) && assign(collect, error);
}

static void close_parts(struct collect *collect, bool keeps_partial)
{
    if (collect->client != NULL) {
        (void)rd_kafka_assign(collect->client, NULL);
    }
    (void)kafka_client_destroy(collect->client, CLOSE_TIMEOUT_MS);
    free(collect->places);
    results_file_close(collect->file, keeps_partial);
    record_codec_close(collect->codec);
    id_set_close(collect->sources);
    buffer_close(&collect->line);
}

static bool name_missing(void *context, const struct run_record *record, struct error *error)
{
    (void)error;
    struct collect *collect = context;
    struct id_hash hash = hash_of_source(&record->source);
    if (id_set_add_hash(collect->sources, hash) == ID_SET_KNOWN) {
        return true;
    }
    collect->result->unsent--;
    if (json_array_size(collect->result->missing_named) < COLLECT_NAMED_MAX) {
        (void)json_array_append_new(collect->result->missing_named,
                                    json_pack("{s:s%, s:i, s:I}", "custom_id",
                                              record->custom_id.data, record->custom_id.size,
                                              "partition", (int)record->source.partition, "offset",
                                              (json_int_t)record->source.offset));
    }
    return true;
}

/* The request topic has the ids of those that have no outcome. */
static void find_missing(struct collect *collect)
{
    static const struct manifest_offsets from_beginning;
    const struct collect_options *options = collect->options;
    struct collect_result *result = collect->result;
    result->unsent = result->missing;
    result->missing_named = json_array();
    struct run_reader reader = {
        .config = options->config,
        .run_id = options->run_id,
        .is_quiet = options->is_quiet,
        .take = name_missing,
        .context = collect,
    };
    bool ok = true;
    if (options->manifest != NULL && options->manifest->topic[0] != '\0') {
        reader.topic = options->manifest->topic;
        ok = run_reader_requests(&reader, &options->manifest->requests, &result->naming);
    } else {
        const struct config_names *topics = &options->config->topics.requests;
        for (size_t i = 0; i < topics->count && ok; i++) {
            reader.topic = topics->items[i];
            ok = run_reader_requests(&reader, &from_beginning, &result->naming);
        }
    }
    result->unsent = !ok || result->unsent < 0 ? 0 : result->unsent;
}

static bool sum_up(struct collect *collect, struct error *error)
{
    const struct collect_options *options = collect->options;
    struct collect_result *result = collect->result;
    struct results_sum sum;
    if (!results_file_finish(collect->file, &sum, error)) {
        return false;
    }
    totals_remove_dead_letters(&result->totals, sum.superseded);
    result->superseded = sum.superseded;
    result->duplicates += sum.duplicates;
    result->duplicate_ids = sum.duplicate_ids;
    int64_t count = (int64_t)id_set_count(collect->sources);
    int64_t expected = options->expected + options->replayed;
    result->missing = count < expected ? expected - count : 0;
    result->unexpected = count > expected ? count - expected : 0;
    result->has_other_ids =
        count == expected && options->digest[0] != '\0' && strcmp(sum.digest, options->digest) != 0;
    result->seconds = (double)(collect->last_ms - collect->first_ms) / 1000;
    if (result->missing > 0) {
        find_missing(collect);
    }
    return true;
}

bool collect_run(const struct collect_options *options, struct collect_result *result_out,
                 struct error *error)
{
    memset(result_out, 0, sizeof *result_out);
    struct collect collect = {.options = options, .result = result_out};
    bool ok =
        open_parts(&collect, error) && read_outcomes(&collect, error) && sum_up(&collect, error);
    close_parts(&collect, !ok || result_out->missing > 0);
    return ok;
}

void collect_result_close(struct collect_result *result)
{
    json_decref(result->missing_named);
    result->missing_named = NULL;
}
