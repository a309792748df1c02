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
#include "worker/results_file.h"

enum {
    OUTCOMES_MAX = 16 << 20,
    RECORD_BYTES_MAX = 256 << 20,
    METADATA_TIMEOUT_MS = 10000,
    CLOSE_TIMEOUT_MS = 5000,
    POLL_MS = 200,
};

struct collect {
    const struct collect_options *options;
    struct collect_result *result;
    struct record_codec *codec;
    struct results_file *file; // NULL: none
    struct id_set *sources;
    struct id_set *ids;
    rd_kafka_t *client;
    int32_t responses_count; // partitions
    int32_t dead_letters_count;
    bool *is_at_end; // [responses_count + dead_letters_count]
    struct buffer line;
    int64_t first_ms, last_ms; // of the work, by the broker's clock
    struct progress progress;
};

static struct bytes header_of(const rd_kafka_message_t *message, const char *name)
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

/* -1 when the header is no number. */
static int64_t number_of(const rd_kafka_message_t *message, const char *name)
{
    struct bytes text = header_of(message, name);
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

/* The work lasted from the intake of a record, which is its outcome's time less what it took, to
 * the last outcome. */
static void count_time(struct collect *collect, const rd_kafka_message_t *message, double total_ms)
{
    int64_t at_ms = rd_kafka_message_timestamp(message, NULL);
    int64_t intake_ms = at_ms - (int64_t)total_ms;
    if (at_ms > 0 && (collect->first_ms == 0 || intake_ms < collect->first_ms)) {
        collect->first_ms = intake_ms;
    }
    if (at_ms > collect->last_ms) {
        collect->last_ms = at_ms;
    }
}

/* Whether this is the first outcome of its source. False with *error set when it cannot be known.
 */
static bool is_first(struct collect *collect, const struct source *source, struct error *error)
{
    char text[320];
    int size = snprintf(text, sizeof text, "%.*s/%" PRId32 "/%" PRId64, (int)source->topic.size,
                        source->topic.data == NULL ? "" : source->topic.data, source->partition,
                        source->offset);
    CHECK(size > 0);
    struct bytes name = {text, (size_t)size < sizeof text ? (size_t)size : sizeof text - 1};
    switch (id_set_add(collect->sources, name)) {
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

static bool write_line(struct collect *collect, const struct inference_response *response,
                       struct bytes value, struct error *error)
{
    collect->result->duplicate_ids +=
        id_set_add(collect->ids, response->custom_id) == ID_SET_KNOWN ? 1 : 0;
    if (collect->file == NULL) {
        return true;
    }
    if (value.size == 0 || value.data[0] != '{') {
        buffer_clear(&collect->line);
        if (!record_encode_response(collect->codec, response, WIRE_JSON, 0, &collect->line,
                                    error)) {
            return false;
        }
        value = buffer_bytes(&collect->line);
    }
    return results_file_add(collect->file, &response->source, value, error);
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
    totals_add_response(&collect->result->totals, &response);
    count_time(collect, message, response.timing == NULL ? 0 : response.timing->total_ms);
    return write_line(collect, &response, value, error);
}

static bool take_dead_letter(struct collect *collect, const rd_kafka_message_t *message,
                             struct error *error)
{
    struct failure failure = {
        .code = bytes_of("dead_letter"),
        .message = header_of(message, "__connect.errors.exception.message"),
    };
    struct inference_response response = {
        .custom_id = {message->key == NULL ? "" : message->key, message->key_len},
        .run_id = bytes_of(collect->options->run_id),
        .source = {.topic = header_of(message, "__connect.errors.topic"),
                   .partition = (int32_t)number_of(message, "__connect.errors.partition"),
                   .offset = number_of(message, "__connect.errors.offset")},
        .error = &failure,
        .attempt = 1,
    };
    if (!is_first(collect, &response.source, error)) {
        return error->kind == ERROR_NONE;
    }
    totals_add_dead_letter(&collect->result->totals);
    count_time(collect, message, 0);
    struct error unusable = {0};
    if (write_line(collect, &response, (struct bytes){0}, &unusable)) {
        return true;
    }
    response.custom_id = bytes_of("unknown"); // the key is no text
    return write_line(collect, &response, (struct bytes){0}, error);
}

/* The place of the message's partition in is_at_end. */
static size_t place_of(const struct collect *collect, const rd_kafka_message_t *message,
                       bool *is_response_out)
{
    const char *topic = rd_kafka_topic_name(message->rkt);
    *is_response_out = strcmp(topic, collect->options->config->topics.responses) == 0;
    int32_t first = *is_response_out ? 0 : collect->responses_count;
    return (size_t)first + (size_t)message->partition;
}

static bool take_message(struct collect *collect, const rd_kafka_message_t *message,
                         struct error *error)
{
    bool is_response;
    if (message->err == RD_KAFKA_RESP_ERR__PARTITION_EOF) {
        collect->is_at_end[place_of(collect, message, &is_response)] = true;
        return true;
    }
    if (message->err != RD_KAFKA_RESP_ERR_NO_ERROR) {
        return kafka_verdict_of(message->err) != KAFKA_STOP ||
               error_set(error, ERROR_FATAL, NULL, NULL, "%s", rd_kafka_message_errstr(message));
    }
    collect->is_at_end[place_of(collect, message, &is_response)] = false;
    if (!bytes_equal_text(header_of(message, "millrace-run-id"), collect->options->run_id)) {
        return true;
    }
    if (!is_response) {
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
        are_at_end = are_at_end && collect->is_at_end[i];
    }
    return are_at_end;
}

static bool read_outcomes(struct collect *collect, struct error *error)
{
    const struct collect_options *options = collect->options;
    double started_ms = clock_monotonic_ms();
    bool ok = true;
    bool is_done = false;
    progress_start(&collect->progress, "records", options->is_quiet);
    while (ok && !is_done) {
        rd_kafka_message_t *message = rd_kafka_consumer_poll(collect->client, POLL_MS);
        if (message != NULL) {
            ok = take_message(collect, message, error);
            rd_kafka_message_destroy(message);
        }
        int64_t count = collect->result->totals.records;
        progress_show(&collect->progress, count, options->expected, -1);
        bool is_late = options->timeout_ms > 0 &&
                       clock_monotonic_ms() - started_ms >= (double)options->timeout_ms;
        is_done = is_late || (count >= options->expected && are_all_at_end(collect));
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
    collect->is_at_end = calloc((size_t)count, sizeof collect->is_at_end[0]);
    return collect->is_at_end != NULL ||
           error_set(error, ERROR_FATAL, NULL, NULL, "out of memory for %d partitions", (int)count);
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
            ->offset = RD_KAFKA_OFFSET_BEGINNING;
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
    collect->ids = id_set_open(OUTCOMES_MAX);
    if (collect->sources == NULL || collect->ids == NULL) {
        return error_set(error, ERROR_FATAL, NULL, NULL, "out of memory");
    }
    collect->codec = record_codec_open(&codec_options, error);
    rd_kafka_conf_t *conf;
    return collect->codec != NULL &&
           (options->output == NULL || results_file_open(options->output, &collect->file, error)) &&
           kafka_client_conf(options->config, KAFKA_READER, &conf, error) &&
           kafka_client_open(KAFKA_READER, conf, &collect->client, error) &&
           open_partitions(collect, error) && assign(collect, error);
}

static void close_parts(struct collect *collect)
{
    if (collect->client != NULL) {
        (void)rd_kafka_assign(collect->client, NULL);
    }
    (void)kafka_client_destroy(collect->client, CLOSE_TIMEOUT_MS);
    free(collect->is_at_end);
    results_file_close(collect->file);
    record_codec_close(collect->codec);
    id_set_close(collect->sources);
    id_set_close(collect->ids);
    buffer_close(&collect->line);
}

static void sum_up(struct collect *collect)
{
    struct collect_result *result = collect->result;
    char digest[ID_SET_DIGEST_SIZE];
    id_set_digest(collect->ids, digest);
    int64_t count = result->totals.records;
    int64_t expected = collect->options->expected;
    result->missing = count < expected ? expected - count : 0;
    result->unexpected = count > expected ? count - expected : 0;
    result->has_other_ids = count == expected && collect->options->digest[0] != '\0' &&
                            strcmp(digest, collect->options->digest) != 0;
    result->seconds = (double)(collect->last_ms - collect->first_ms) / 1000;
}

bool collect_run(const struct collect_options *options, struct collect_result *result_out,
                 struct error *error)
{
    memset(result_out, 0, sizeof *result_out);
    struct collect collect = {.options = options, .result = result_out};
    bool ok = open_parts(&collect, error) && read_outcomes(&collect, error);
    sum_up(&collect);
    ok = ok && (collect.file == NULL || results_file_finish(collect.file, error));
    close_parts(&collect);
    return ok;
}
