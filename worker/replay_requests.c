/* replay_requests: reads answers, then requests, then sends. */
#include "worker/replay_requests.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "pipeline/clock.h"
#include "pipeline/comparison.h"
#include "schemas/base/arena.h"
#include "schemas/base/buffer.h"
#include "schemas/records/record_codec.h"
#include "worker/answer_index.h"
#include "worker/kafka_client.h"
#include "worker/key_sample.h"
#include "worker/line_reader.h"
#include "worker/partitioner.h"
#include "worker/progress.h"
#include "worker/refusals.h"
#include "worker/registry.h"
#include "worker/runs.h"
#include "worker/sender.h"
#include "worker/spool.h"
#include "worker/topic_scan.h"

enum {
    RECORD_MEMORY_MAX = 512 << 20, // of one record, its answer, and both encoded
    METADATA_TIMEOUT_MS = 10000,
    CHOSEN_MAX = 32 << 20,
    PARTITION_BITS = 12, // of TOPIC_PARTITIONS_MAX
    NAP_MS = 100,
};

/* A request that will be sent; key, run id and value lie behind each other in the spool. */
struct chosen {
    int64_t timestamp_ms;
    int64_t offset;
    int64_t at;
    int32_t partition;
    uint32_t key_size, run_id_size, value_size; // key_size UINT32_MAX: no key
};

struct replay {
    const struct replay_requests_options *options;
    struct replay_requests_result *result;
    struct record_codec *codec;
    uint32_t schema_id; // of requests, where output.format is confluent
    struct answer_index *answers;
    struct refusals *refusals; // NULL: no dry run
    struct spool *spool;
    struct buffer chosen; // struct chosen, one behind the other
    struct buffer value;
    struct sender *sender;
    int32_t source_count, replay_count; // partitions; 0: not known
    int64_t uncommitted;
    struct progress progress;
};

/* A record as it was read. */
struct incoming {
    struct bytes key, value;
    int64_t timestamp_ms, offset;
    int32_t partition;
};

static struct incoming incoming_of(const rd_kafka_message_t *message)
{
    int64_t timestamp_ms = rd_kafka_message_timestamp(message, NULL);
    return (struct incoming){
        .key = {message->key, message->key_len},
        .value = {message->payload, message->len},
        .timestamp_ms = timestamp_ms < 0 ? 0 : timestamp_ms,
        .offset = message->offset,
        .partition = message->partition,
    };
}

static enum decode_result decode_request(struct replay *replay, struct bytes value,
                                         struct arena *arena, struct inference_request *out,
                                         struct error *reason)
{
    enum decode_result result = record_decode_request(replay->codec, value, arena, out, reason);
    return result == NEEDS_SCHEMA &&
                   registry_knows(replay->options->config->registry_url, value, replay->codec)
               ? record_decode_request(replay->codec, value, arena, out, reason)
               : result;
}

static enum decode_result decode_response(struct replay *replay, struct bytes value,
                                          struct arena *arena, struct inference_response *out,
                                          struct error *reason)
{
    enum decode_result result = record_decode_response(replay->codec, value, arena, out, reason);
    return result == NEEDS_SCHEMA &&
                   registry_knows(replay->options->config->registry_url, value, replay->codec)
               ? record_decode_response(replay->codec, value, arena, out, reason)
               : result;
}

static struct arena *open_arena(struct error *error)
{
    struct arena *arena = arena_open(RECORD_MEMORY_MAX);
    if (arena == NULL) {
        (void)error_set(error, ERROR_FATAL, NULL, NULL, "out of memory for a record");
    }
    return arena;
}

/* --- Answers --- */

/* *is_decoded_out is false, with *reason, for what is no response. */
static bool add_answer(struct replay *replay, struct bytes value, int64_t rank,
                       bool *is_decoded_out, struct error *reason, struct error *error)
{
    struct arena *arena = open_arena(error);
    if (arena == NULL) {
        return false;
    }
    struct inference_response response = {0};
    bool ok = true;
    *is_decoded_out = decode_response(replay, value, arena, &response, reason) == DECODED;
    if (*is_decoded_out) {
        struct answer answer = answer_of_response(&response);
        ok = answer_index_add(replay->answers, response.custom_id, &answer, rank, error);
    }
    arena_close(arena);
    return ok;
}

static bool take_answer(void *context, const rd_kafka_message_t *message, struct error *error)
{
    struct replay *replay = context;
    struct incoming incoming = incoming_of(message);
    struct error reason = {0};
    bool is_decoded;
    // Later ones count; in one millisecond the partition decides, whoever is read first.
    int64_t rank = (incoming.timestamp_ms << PARTITION_BITS) | incoming.partition;
    return incoming.value.data == NULL ||
           add_answer(replay, incoming.value, rank, &is_decoded, &reason, error);
}

/* What one line of a file is for. */
typedef bool take_line(struct replay *replay, struct bytes line, int64_t number,
                       struct error *error);

static bool take_answer_line(struct replay *replay, struct bytes line, int64_t number,
                             struct error *error)
{
    struct error reason = {0};
    bool is_decoded;
    if (!add_answer(replay, line, number, &is_decoded, &reason, error)) {
        return false;
    }
    return is_decoded || error_set(error, ERROR_CONFIG, NULL, NULL, "%s", reason.message);
}

/* Empty lines are nothing; what cannot be read ends it, with its place. */
static bool read_file(struct replay *replay, const char *path, take_line *take, struct error *error)
{
    size_t bytes_max = (size_t)replay->options->config->record_bytes_max;
    struct line_reader *reader;
    if (!line_reader_open(path, bytes_max, &reader, error)) {
        return false;
    }
    bool ok = true;
    struct bytes line;
    enum line_result result;
    while (ok && (result = line_reader_next(reader, &line, error)) != LINE_END) {
        ok = result == LINE_READ &&
             (line.size == 0 || take(replay, line, line_reader_number(reader), error));
    }
    if (!ok) {
        (void)error_prefix(error, "%s:%" PRId64, path, line_reader_number(reader));
    }
    line_reader_close(reader);
    return ok;
}

static bool scan(struct replay *replay, const char *topic, const char *what, topic_scan_take *take,
                 struct error *error)
{
    struct topic_scan scan = {
        .config = replay->options->config,
        .topic = topic,
        .what = what,
        .is_quiet = replay->options->is_quiet,
        .take = take,
        .context = replay,
    };
    return topic_scan_run(&scan, error);
}

static bool read_answers(struct replay *replay, struct error *error)
{
    const struct replay_requests_options *options = replay->options;
    bool ok = (options->answers == NULL ||
               read_file(replay, options->answers, take_answer_line, error)) &&
              (options->answers_topic == NULL ||
               scan(replay, options->answers_topic, "answers read", take_answer, error));
    replay->result->answers = (int64_t)answer_index_count(replay->answers);
    return ok;
}

/* --- Requests --- */

/* By what is known before decoding. */
static bool is_wanted(const struct replay_requests_options *options,
                      const struct incoming *incoming)
{
    return letter_filter_has_place(&options->filter, incoming->partition, incoming->offset,
                                   incoming->timestamp_ms);
}

static bool add_chosen(struct replay *replay, const struct chosen *chosen, struct error *error)
{
    buffer_append(&replay->chosen, chosen, sizeof *chosen);
    return !buffer_failed(&replay->chosen) ||
           error_set(error, ERROR_FATAL, NULL, NULL,
                     "no room for more than %zu requests, at most %d are possible",
                     replay->chosen.size / sizeof *chosen, CHOSEN_MAX);
}

static bool put_aside(struct replay *replay, const struct incoming *incoming,
                      const struct inference_request *request, struct error *error)
{
    enum wire_format format = (enum wire_format)replay->options->config->output_format;
    buffer_clear(&replay->value);
    if (!record_encode_request(replay->codec, request, format, replay->schema_id, &replay->value,
                               error)) {
        return false;
    }
    struct bytes value = buffer_bytes(&replay->value);
    struct chosen chosen = {
        .timestamp_ms = incoming->timestamp_ms,
        .offset = incoming->offset,
        .partition = incoming->partition,
        .key_size = incoming->key.data == NULL ? UINT32_MAX : (uint32_t)incoming->key.size,
        .run_id_size = (uint32_t)request->run_id.size,
        .value_size = (uint32_t)value.size,
    };
    int64_t at;
    return spool_add(replay->spool, incoming->key, &chosen.at, error) &&
           spool_add(replay->spool, request->run_id, &at, error) &&
           spool_add(replay->spool, value, &at, error) && add_chosen(replay, &chosen, error);
}

static bool choose(struct replay *replay, const struct incoming *incoming,
                   struct inference_request *request, struct arena *arena, struct error *error)
{
    const struct replay_requests_options *options = replay->options;
    struct replay_requests_result *result = replay->result;
    struct bytes key = incoming->key.data == NULL ? request->custom_id : incoming->key;
    if ((options->filter.run_id != NULL &&
         !bytes_equal_text(request->run_id, options->filter.run_id)) ||
        !key_sample_has(key, options->share)) {
        return true;
    }
    result->matched++;
    const struct answer *answer;
    if (!answer_index_find(replay->answers, request->custom_id, arena, &answer, error)) {
        return false;
    }
    request->incumbent = answer == NULL ? request->incumbent : answer;
    request->has_deadline_ms = false;
    if (request->incumbent == NULL) {
        result->without_answer++;
        return true;
    }
    if (replay->refusals != NULL) {
        result->refused += refusals_look(replay->refusals, request, arena) ? 1 : 0;
        result->sent++;
        return true;
    }
    return put_aside(replay, incoming, request, error);
}

static bool take(struct replay *replay, const struct incoming *incoming, struct error *reason,
                 struct error *error)
{
    if (!is_wanted(replay->options, incoming)) {
        return true;
    }
    struct arena *arena = open_arena(error);
    if (arena == NULL) {
        return false;
    }
    struct inference_request request = {0};
    bool ok = true;
    if (incoming->value.data != NULL &&
        decode_request(replay, incoming->value, arena, &request, reason) == DECODED) {
        ok = choose(replay, incoming, &request, arena, error);
    } else {
        replay->result->undecodable++;
    }
    arena_close(arena);
    return ok;
}

static bool take_request(void *context, const rd_kafka_message_t *message, struct error *error)
{
    struct incoming incoming = incoming_of(message);
    struct error reason = {0};
    return take(context, &incoming, &reason, error);
}

static bool take_request_line(struct replay *replay, struct bytes line, int64_t number,
                              struct error *error)
{
    struct incoming incoming = {.value = line, .offset = number};
    struct error reason = {0};
    int64_t before = replay->result->undecodable;
    if (!take(replay, &incoming, &reason, error)) {
        return false;
    }
    return replay->result->undecodable == before ||
           error_set(error, ERROR_CONFIG, NULL, NULL, "%s", reason.message);
}

static bool read_requests(struct replay *replay, struct error *error)
{
    const struct replay_requests_options *options = replay->options;
    return options->topic == NULL
               ? read_file(replay, options->file, take_request_line, error)
               : scan(replay, options->topic, "requests read", take_request, error);
}

/* --- Sending --- */

static int by_time(const void *left, const void *right)
{
    const struct chosen *a = left;
    const struct chosen *b = right;
    if (a->timestamp_ms != b->timestamp_ms) {
        return a->timestamp_ms < b->timestamp_ms ? -1 : 1;
    }
    if (a->partition != b->partition) {
        return a->partition < b->partition ? -1 : 1;
    }
    return a->offset < b->offset ? -1 : a->offset > b->offset;
}

/* Aligned, since a buffer's memory is malloc's. */
static struct chosen *all_chosen(const struct replay *replay, size_t *count_out)
{
    *count_out = replay->chosen.size / sizeof(struct chosen);
    return (struct chosen *)(void *)replay->chosen.data;
}

static bool commit(struct replay *replay, struct error *error)
{
    if (replay->uncommitted > 0 && !sender_commit(replay->sender, error)) {
        return false;
    }
    replay->result->sent += replay->uncommitted;
    replay->uncommitted = 0;
    return true;
}

static void nap(double wait_ms)
{
    int64_t ns = (int64_t)((wait_ms < NAP_MS ? wait_ms : NAP_MS) * 1e6);
    struct timespec time = {.tv_nsec = ns};
    (void)nanosleep(&time, NULL);
}

/* Waits for the time of the record at `index`; what was sent becomes visible meanwhile. */
static bool await_turn(struct replay *replay, double started_ms, size_t index, struct error *error)
{
    size_t count;
    const struct chosen *chosen = all_chosen(replay, &count);
    const struct replay_requests_options *options = replay->options;
    double after_ms = 0;
    if (options->speed > 0) {
        after_ms = (double)(chosen[index].timestamp_ms - chosen[0].timestamp_ms) / options->speed;
    }
    if (options->rate_max > 0 && (double)index * 1000 / (double)options->rate_max > after_ms) {
        after_ms = (double)index * 1000 / (double)options->rate_max;
    }
    double wait_ms;
    while ((wait_ms = started_ms + after_ms - clock_monotonic_ms()) > 0) {
        if (sender_is_due(replay->sender) && !commit(replay, error)) {
            return false;
        }
        progress_show(&replay->progress, (int64_t)index, (int64_t)count, -1);
        nap(wait_ms);
    }
    return true;
}

static bool send_one(struct replay *replay, const struct chosen *chosen, struct error *error)
{
    struct arena *arena = open_arena(error);
    bool has_key = chosen->key_size != UINT32_MAX;
    size_t key_size = has_key ? chosen->key_size : 0;
    size_t size = key_size + chosen->run_id_size + chosen->value_size;
    char *bytes = arena == NULL ? NULL : arena_alloc(arena, size);
    if (bytes == NULL) {
        arena_close(arena);
        return error_set(error, ERROR_FATAL, NULL, NULL, "out of memory for a record");
    }
    struct header run = {bytes_of("millrace-run-id"), {bytes + key_size, chosen->run_id_size}};
    struct bytes key = {has_key ? bytes : NULL, key_size};
    struct sender_record record = {
        .topic = replay->options->config->topics.replay,
        .partition = partitioner_of_result(chosen->partition, replay->source_count, key,
                                           replay->replay_count),
        .key = key,
        .value = {bytes + key_size + chosen->run_id_size, chosen->value_size},
        .headers = {&run, chosen->run_id_size > 0 ? 1 : 0},
    };
    bool ok = spool_read(replay->spool, chosen->at, bytes, size, error) &&
              sender_send(replay->sender, &record, error);
    arena_close(arena);
    return ok;
}

static bool send_all(struct replay *replay, struct error *error)
{
    size_t count;
    struct chosen *chosen = all_chosen(replay, &count);
    if (count > 0) {
        qsort(chosen, count, sizeof *chosen, by_time);
    }
    double started_ms = clock_monotonic_ms();
    bool ok = true;
    progress_start(&replay->progress, "requests sent", replay->options->is_quiet);
    for (size_t i = 0; ok && i < count; i++) {
        ok = await_turn(replay, started_ms, i, error) && send_one(replay, &chosen[i], error);
        replay->uncommitted += ok ? 1 : 0;
        ok = ok && (!sender_is_due(replay->sender) || commit(replay, error));
        progress_show(&replay->progress, (int64_t)i, (int64_t)count, -1);
    }
    progress_stop(&replay->progress);
    return ok && commit(replay, error);
}

/* --- One replay --- */

static bool open_sender(struct replay *replay, struct error *error)
{
    const struct replay_requests_options *options = replay->options;
    const char *topic = options->config->topics.replay;
    char id[RUNS_KEY_BYTES_MAX];
    (void)snprintf(id, sizeof id, "millrace/replay/%s", topic);
    return sender_open(options->config, id, &replay->sender, error) &&
           kafka_client_partitions(sender_client(replay->sender), topic, METADATA_TIMEOUT_MS,
                                   &replay->replay_count, error) &&
           (options->topic == NULL ||
            kafka_client_partitions(sender_client(replay->sender), options->topic,
                                    METADATA_TIMEOUT_MS, &replay->source_count, error));
}

static bool register_schema(struct replay *replay, struct error *error)
{
    const struct config *config = replay->options->config;
    return config->output_format != FORMAT_CONFLUENT ||
           registry_register_values(config, "output.format", config->topics.replay, RECORD_REQUEST,
                                    &replay->schema_id, error);
}

static bool replay_open(struct replay *replay, struct error *error)
{
    const struct replay_requests_options *options = replay->options;
    struct record_codec_options codec = {.body_bytes_max =
                                             (size_t)options->config->record_bytes_max};
    buffer_init(&replay->value, RECORD_MEMORY_MAX);
    buffer_init(&replay->chosen, (size_t)CHOSEN_MAX * sizeof(struct chosen));
    replay->codec = record_codec_open(&codec, error);
    if (replay->codec == NULL || !answer_index_open(replay->codec, &replay->answers, error) ||
        !spool_open(&replay->spool, error)) {
        return false;
    }
    if (!options->is_dry) {
        return register_schema(replay, error) && open_sender(replay, error);
    }
    replay->refusals = refusals_open();
    return replay->refusals != NULL || error_set(error, ERROR_FATAL, NULL, NULL, "out of memory");
}

static void replay_close(struct replay *replay)
{
    sender_close(replay->sender);
    refusals_close(replay->refusals);
    spool_close(replay->spool);
    answer_index_close(replay->answers);
    record_codec_close(replay->codec);
    buffer_close(&replay->value);
    buffer_close(&replay->chosen);
}

bool replay_requests_run(const struct replay_requests_options *options,
                         struct replay_requests_result *result_out, struct error *error)
{
    double started_ms = clock_monotonic_ms();
    *result_out = (struct replay_requests_result){0};
    struct replay replay = {.options = options, .result = result_out};
    bool ok = replay_open(&replay, error) && read_answers(&replay, error) &&
              read_requests(&replay, error) && (options->is_dry || send_all(&replay, error));
    if (ok && options->is_dry) {
        refusals_write(replay.refusals, options->refusals);
    }
    replay_close(&replay);
    result_out->seconds = (clock_monotonic_ms() - started_ms) / 1000;
    return ok;
}
