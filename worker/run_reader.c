/* run_reader: topic_scan, with an eye on the run. */
#include "worker/run_reader.h"

#include "schemas/base/arena.h"
#include "schemas/records/record_codec.h"
#include "worker/registry.h"
#include "worker/replay_mark.h"
#include "worker/topic_scan.h"

enum { BODY_BYTES_MAX = 256 << 20 };

struct reading {
    const struct run_reader *reader;
    struct record_codec *codec;
    const char *registry_url;
};

/* What one value says; absent where it cannot be decoded. */
struct identity {
    struct bytes custom_id;
    struct bytes run_id;
};

typedef enum decode_result identify(struct record_codec *codec, struct bytes value,
                                    struct arena *arena, struct identity *out);

static enum decode_result identify_request(struct record_codec *codec, struct bytes value,
                                           struct arena *arena, struct identity *out)
{
    struct inference_request request = {0};
    struct error reason = {0};
    enum decode_result result = record_decode_request(codec, value, arena, &request, &reason);
    if (result == DECODED || result == DECODED_INVALID) {
        *out = (struct identity){request.custom_id, request.run_id};
    }
    return result;
}

static enum decode_result identify_response(struct record_codec *codec, struct bytes value,
                                            struct arena *arena, struct identity *out)
{
    struct inference_response response = {0};
    struct error reason = {0};
    enum decode_result result = record_decode_response(codec, value, arena, &response, &reason);
    if (result == DECODED) {
        *out = (struct identity){response.custom_id, response.run_id};
    }
    return result;
}

/* Asks the registry for the schema when that is what is missing. */
static void identify_with_registry(struct reading *reading, identify *function, struct bytes value,
                                   struct arena *arena, struct identity *out)
{
    if (function(reading->codec, value, arena, out) == NEEDS_SCHEMA &&
        registry_knows(reading->registry_url, value, reading->codec)) {
        (void)function(reading->codec, value, arena, out);
    }
}

static bool take(struct reading *reading, const rd_kafka_message_t *message, identify *function,
                 struct error *error)
{
    const char *run_id = reading->reader->run_id;
    struct bytes header = message_header(message, "millrace-run-id");
    if (header.data != NULL && !bytes_equal_text(header, run_id)) {
        return true;
    }
    struct arena *arena = arena_open(4 * message->len + (1 << 20));
    if (arena == NULL) {
        return error_set(error, ERROR_FATAL, NULL, NULL, "out of memory");
    }
    struct identity identity = {.custom_id = {message->key, message->key_len}};
    if (function != NULL && message->payload != NULL) {
        identify_with_registry(reading, function, (struct bytes){message->payload, message->len},
                               arena, &identity);
    }
    struct bytes named = identity.run_id.data != NULL ? identity.run_id : header;
    bool ok = true;
    if (named.data != NULL && bytes_equal_text(named, run_id)) {
        const char *topic = rd_kafka_topic_name(message->rkt);
        struct run_record record = {
            .custom_id = identity.custom_id,
            .source = {bytes_of(topic), message->partition, message->offset},
            .is_replayed = message_header(message, REPLAYS_HEADER).data != NULL,
        };
        ok = reading->reader->take(reading->reader->context, &record, error);
    }
    arena_close(arena);
    return ok;
}

static bool take_request(void *context, const rd_kafka_message_t *message, struct error *error)
{
    return take(context, message, identify_request, error);
}

static bool take_response(void *context, const rd_kafka_message_t *message, struct error *error)
{
    return take(context, message, identify_response, error);
}

static bool take_dead_letter(void *context, const rd_kafka_message_t *message, struct error *error)
{
    return take(context, message, NULL, error);
}

/* `scan` has what differs. */
static bool read_topic(const struct run_reader *reader, struct topic_scan scan,
                       const struct manifest_offsets *from, struct error *error)
{
    struct record_codec_options codec_options = {.body_bytes_max = BODY_BYTES_MAX};
    struct reading reading = {.reader = reader, .registry_url = reader->config->registry_url};
    reading.codec = record_codec_open(&codec_options, error);
    if (reading.codec == NULL) {
        return false;
    }
    scan.config = reader->config;
    scan.from = from->items;
    scan.from_count = from->count;
    scan.is_quiet = reader->is_quiet;
    scan.context = &reading;
    bool ok = topic_scan_run(&scan, error);
    record_codec_close(reading.codec);
    return ok;
}

bool run_reader_requests(const struct run_reader *reader, const struct manifest_offsets *from,
                         struct error *error)
{
    const char *topic =
        reader->topic == NULL ? reader->config->topics.requests.items[0] : reader->topic;
    struct topic_scan scan = {.topic = topic, .what = "requests read", .take = take_request};
    return read_topic(reader, scan, from, error);
}

bool run_reader_responses(const struct run_reader *reader, const struct manifest_offsets *from,
                          struct error *error)
{
    const char *topic = reader->config->topics.responses;
    struct topic_scan scan = {.topic = topic, .what = "responses read", .take = take_response};
    return read_topic(reader, scan, from, error);
}

bool run_reader_dead_letters(const struct run_reader *reader, const struct manifest_offsets *from,
                             struct error *error)
{
    const char *topic = reader->config->topics.dead_letters;
    struct topic_scan scan = {
        .topic = topic, .what = "dead letters read", .take = take_dead_letter};
    return read_topic(reader, scan, from, error);
}
