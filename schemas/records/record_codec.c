/* record_codec: framing, the table of writers' schemas, and what a record must satisfy beyond its
 * schema. */
#include "schemas/records/record_codec.h"

#include <inttypes.h>
#include <stdlib.h>

#include "schemas/base/check.h"
#include "schemas/base/shortage.h"
#include "schemas/records/avro_write.h"
#include "schemas/records/body.h"
#include "schemas/records/canonical.h"
#include "schemas/records/json_scan.h"
#include "schemas/records/line_read.h"
#include "schemas/records/line_write.h"
#include "schemas/records/record_kinds.h"
#include "schemas/records/writers.h"

enum {
    SCHEMA_BYTES_MAX = 1 << 18,
    SINGLE_OBJECT_BYTES = 10, // C3 01 and the fingerprint
    CONFLUENT_BYTES = 5,      // 00 and the id
};

struct record_codec {
    struct record_codec_options options;
    struct writers writers;
    uint64_t fingerprints[RECORD_KINDS];
    struct body_codec *bodies;
    struct buffer frame; // a compressed body on its way out
};

bool record_codec_add_schema(struct record_codec *codec, uint32_t id, struct bytes schema_json,
                             struct error *error)
{
    return writers_add(&codec->writers, WRITER_ID, id, schema_json, error);
}

static bool fingerprint_of(struct bytes schema_json, uint64_t *fingerprint_out, struct error *error)
{
    struct buffer canonical;
    buffer_init(&canonical, SCHEMA_BYTES_MAX);
    bool ok = canonical_form(schema_json, &canonical, error);
    if (ok) {
        *fingerprint_out = canonical_fingerprint(buffer_bytes(&canonical));
    }
    buffer_close(&canonical);
    return ok;
}

bool record_codec_add_fingerprint(struct record_codec *codec, struct bytes schema_json,
                                  struct error *error)
{
    uint64_t fingerprint;
    return fingerprint_of(schema_json, &fingerprint, error) &&
           writers_add(&codec->writers, WRITER_FINGERPRINT, fingerprint, schema_json, error);
}

struct record_codec *record_codec_open(const struct record_codec_options *options,
                                       struct error *error)
{
    struct record_codec *codec = calloc(1, sizeof *codec);
    if (codec == NULL) {
        error_set(error, ERROR_FATAL, NULL, NULL, "out of memory");
        return NULL;
    }
    codec->options = *options;
    buffer_init(&codec->frame, body_compressed_bytes_max(options->body_bytes_max));
    codec->bodies = body_codec_open();
    if (codec->bodies == NULL || !writers_open(&codec->writers)) {
        error_set(error, ERROR_FATAL, NULL, NULL, "out of memory");
        record_codec_close(codec);
        return NULL;
    }
    for (int i = 0; i < RECORD_KINDS; i++) {
        struct bytes schema = record_schema((enum record_kind)i);
        if (!fingerprint_of(schema, &codec->fingerprints[i], error) ||
            !writers_add(&codec->writers, WRITER_FINGERPRINT, codec->fingerprints[i], schema,
                         error)) {
            record_codec_close(codec);
            return NULL;
        }
    }
    return codec;
}

void record_codec_close(struct record_codec *codec)
{
    if (codec == NULL) {
        return;
    }
    writers_close(&codec->writers);
    body_codec_close(codec->bodies);
    buffer_close(&codec->frame);
    free(codec);
}

bool record_schema_id(struct bytes value, uint32_t *id_out)
{
    if (value.data == NULL || value.size < CONFLUENT_BYTES || value.data[0] != 0) {
        return false;
    }
    const unsigned char *bytes = (const unsigned char *)value.data;
    *id_out = (uint32_t)bytes[1] << 24 | (uint32_t)bytes[2] << 16 | (uint32_t)bytes[3] << 8 |
              (uint32_t)bytes[4];
    return true;
}

static uint64_t single_object_fingerprint(struct bytes value)
{
    uint64_t fingerprint = 0;
    for (int i = 0; i < 8; i++) {
        fingerprint |= (uint64_t)(unsigned char)value.data[2 + i] << (8 * i);
    }
    return fingerprint;
}

/* Finds who wrote an Avro value, and how many bytes of framing it has. */
static enum decode_result find_framing(const struct record_codec *codec, struct bytes value,
                                       const struct writer **writer_out, size_t *framing_out,
                                       struct error *error)
{
    uint32_t id;
    if (value.data[0] == 0) {
        if (!record_schema_id(value, &id)) {
            error_set(error, ERROR_UNDECODABLE, NULL, NULL,
                      "Confluent framing has 5 bytes, the value has %zu", value.size);
            return UNDECODABLE;
        }
        *writer_out = writers_find(&codec->writers, WRITER_ID, id);
        *framing_out = CONFLUENT_BYTES;
        if (*writer_out == NULL) {
            error_set(error, ERROR_UNDECODABLE, NULL, NULL,
                      "the value has schema id %" PRIu32 ", which is not known", id);
            return NEEDS_SCHEMA;
        }
        return DECODED;
    }
    if (value.size < SINGLE_OBJECT_BYTES) {
        error_set(error, ERROR_UNDECODABLE, NULL, NULL,
                  "Avro's single-object framing has 10 bytes, the value has %zu", value.size);
        return UNDECODABLE;
    }
    uint64_t fingerprint = single_object_fingerprint(value);
    *writer_out = writers_find(&codec->writers, WRITER_FINGERPRINT, fingerprint);
    *framing_out = SINGLE_OBJECT_BYTES;
    if (*writer_out == NULL) {
        error_set(error, ERROR_UNDECODABLE, NULL, NULL,
                  "the value has the schema fingerprint %016" PRIx64 ", which is not known",
                  fingerprint);
        return UNDECODABLE;
    }
    return DECODED;
}

static enum decode_result read_avro(const struct record_codec *codec, struct bytes value,
                                    enum record_kind kind, struct arena *arena, void *out,
                                    struct error *error)
{
    const struct writer *writer;
    size_t framing;
    enum decode_result result = find_framing(codec, value, &writer, &framing, error);
    if (result != DECODED) {
        return result;
    }
    if (!writer_is_usable(writer, error)) {
        return UNDECODABLE;
    }
    if (writer->kind != kind) {
        error_set(error, ERROR_UNDECODABLE, NULL, NULL, "the value holds %s where %s is expected",
                  record_infos[writer->kind].layout->name, record_infos[kind].layout->name);
        return UNDECODABLE;
    }
    struct bytes data = {value.data + framing, value.size - framing};
    return avro_plan_read(writer->plan, data, arena, out, error) ? DECODED : UNDECODABLE;
}

static enum decode_result read_json(struct bytes value, enum record_kind kind, struct arena *arena,
                                    void *out, struct error *error)
{
    bool ok = kind == RECORD_REQUEST ? line_read_request(value, arena, out, error)
              : kind == RECORD_RESPONSE
                  ? line_read_response(value, arena, out, error)
                  : line_read_record(value, record_infos[kind].layout, arena, out, error);
    if (ok) {
        return DECODED;
    }
    if (kind == RECORD_REQUEST && error->kind == ERROR_INVALID) {
        return DECODED_INVALID;
    }
    error->kind = ERROR_UNDECODABLE;
    return UNDECODABLE;
}

/* Any record, as far as its schema goes. */
static enum decode_result read_record(const struct record_codec *codec, struct bytes value,
                                      enum record_kind kind, struct arena *arena, void *out,
                                      struct error *error)
{
    memset(out, 0, record_infos[kind].layout->size);
    if (value.data == NULL || value.size == 0) {
        error_set(error, ERROR_UNDECODABLE, NULL, NULL, "the value is %s",
                  value.data == NULL ? "null" : "empty");
        return UNDECODABLE;
    }
    struct bytes copy = codec->options.borrows_values ? value : arena_copy(arena, value);
    if (copy.data == NULL) {
        error_set(error, ERROR_UNDECODABLE, NULL, NULL,
                  "the value has %zu bytes, more than a record may have", value.size);
        return UNDECODABLE;
    }
    unsigned char first = (unsigned char)copy.data[0];
    if (first == '{') {
        return read_json(copy, kind, arena, out, error);
    }
    if (first == 0 || (first == 0xC3 && (copy.size == 1 || copy.data[1] == 1))) {
        return read_avro(codec, copy, kind, arena, out, error);
    }
    error_set(error, ERROR_UNDECODABLE, NULL, NULL,
              "the value begins with byte 0x%02X: neither JSON ('{') nor Avro (C3 01 or 00)",
              first);
    return UNDECODABLE;
}

static enum decode_result check(bool ok, enum decode_result result)
{
    return ok ? result : UNDECODABLE;
}

static bool check_custom_id(struct bytes custom_id, struct error *error)
{
    return (custom_id.size >= 1 && custom_id.size <= CUSTOM_ID_BYTES_MAX) ||
           error_set(error, ERROR_UNDECODABLE, NULL, "custom_id",
                     "custom_id must have 1 to %d bytes, it has %zu", CUSTOM_ID_BYTES_MAX,
                     custom_id.size);
}

/* A body that came as Avro bytes: from JSON it was scanned already. */
static bool check_body(struct bytes body, const char *param, struct error *error)
{
    struct error inner;
    return body.data == NULL || scan_is_object(body, &inner) ||
           error_set(error, ERROR_UNDECODABLE, NULL, param, "%s: %s", param, inner.message);
}

static bool check_answer(const struct answer *answer, const char *param, struct error *error)
{
    return answer == NULL || check_body(answer->body, param, error);
}

static bool is_json(struct bytes value)
{
    return value.size > 0 && value.data[0] == '{';
}

/* What Avro's schema does not say about a request. */
static enum decode_result finish_request(struct record_codec *codec, struct arena *arena,
                                         struct inference_request *request, struct error *error)
{
    if (request->body_encoding == BODY_ZSTD &&
        !body_decompress(codec->bodies, request->body, codec->options.body_bytes_max, arena,
                         &request->body, error)) {
        return UNDECODABLE;
    }
    if (!check_body(request->body, "body", error)) {
        return UNDECODABLE;
    }
    if (!check_answer(request->incumbent, "incumbent.body", error)) {
        error->kind = ERROR_INVALID;
        error->code = "invalid_value";
        return DECODED_INVALID;
    }
    return DECODED;
}

enum decode_result record_decode_request(struct record_codec *codec, struct bytes value,
                                         struct arena *arena, struct inference_request *out,
                                         struct error *error)
{
    enum decode_result result = read_record(codec, value, RECORD_REQUEST, arena, out, error);
    if (result != DECODED && result != DECODED_INVALID) {
        return result;
    }
    if (!check_custom_id(out->custom_id, error)) {
        return UNDECODABLE;
    }
    return is_json(value) ? result : finish_request(codec, arena, out, error);
}

enum decode_result record_decode_response(struct record_codec *codec, struct bytes value,
                                          struct arena *arena, struct inference_response *out,
                                          struct error *error)
{
    enum decode_result result = read_record(codec, value, RECORD_RESPONSE, arena, out, error);
    return result != DECODED || is_json(value)
               ? result
               : check(check_body(out->body, "body", error), result);
}

enum decode_result record_decode_comparison(struct record_codec *codec, struct bytes value,
                                            struct arena *arena, struct comparison *out,
                                            struct error *error)
{
    enum decode_result result = read_record(codec, value, RECORD_COMPARISON, arena, out, error);
    return result != DECODED || is_json(value)
               ? result
               : check(check_answer(out->incumbent, "incumbent.body", error) &&
                           check_answer(out->candidate, "candidate.body", error),
                       result);
}

enum decode_result record_decode_control(struct record_codec *codec, struct bytes value,
                                         struct arena *arena, struct control *out,
                                         struct error *error)
{
    return read_record(codec, value, RECORD_CONTROL, arena, out, error);
}

/* How a value is to be framed. */
struct wire {
    enum wire_format format;
    uint32_t schema_id;
};

static void write_framing(const struct record_codec *codec, enum record_kind kind, struct wire wire,
                          struct buffer *out)
{
    unsigned char framing[SINGLE_OBJECT_BYTES] = {0xC3, 0x01};
    if (wire.format == WIRE_AVRO) {
        for (int i = 0; i < 8; i++) {
            framing[2 + i] = (unsigned char)(codec->fingerprints[kind] >> (8 * i));
        }
        buffer_append(out, framing, SINGLE_OBJECT_BYTES);
        return;
    }
    framing[0] = 0;
    for (int i = 0; i < 4; i++) {
        framing[1 + i] = (unsigned char)(wire.schema_id >> (24 - 8 * i));
    }
    buffer_append(out, framing, CONFLUENT_BYTES);
}

static void write_record(const struct record_codec *codec, enum record_kind kind,
                         const void *record, enum wire_format format, struct buffer *out)
{
    if (format != WIRE_JSON) {
        avro_write_record(out, record_infos[kind].layout, record);
    } else if (kind == RECORD_REQUEST) {
        line_write_request(out, record);
    } else if (kind == RECORD_RESPONSE) {
        line_write_response(out, record, codec->options.writes_plain_json);
    } else {
        line_write_record(out, record_infos[kind].layout, record);
    }
}

/* What every record has in common on its way out; too large a record is taken back. */
static bool encode(const struct record_codec *codec, enum record_kind kind, const void *record,
                   struct wire wire, struct buffer *out, struct error *error)
{
    CHECK(!buffer_failed(out));
    (void)shortage_take();
    size_t start = out->size;
    if (wire.format != WIRE_JSON) {
        write_framing(codec, kind, wire, out);
    }
    write_record(codec, kind, record, wire.format, out);
    if (!buffer_failed(out)) {
        return true;
    }
    buffer_truncate(out, start);
    out->has_failed = false;
    if (shortage_take()) {
        return error_set(error, ERROR_FATAL, NULL, NULL, "out of memory for a record");
    }
    return error_set(error, ERROR_TOO_LARGE, "result_too_large", NULL,
                     "the record is larger than %zu bytes", out->size_max - start);
}

bool record_encode_request(struct record_codec *codec, const struct inference_request *request,
                           enum wire_format format, uint32_t schema_id, struct buffer *out,
                           struct error *error)
{
    struct wire wire = {format, schema_id};
    if (format == WIRE_JSON || request->body_encoding != BODY_ZSTD) {
        return encode(codec, RECORD_REQUEST, request, wire, out, error);
    }
    buffer_clear(&codec->frame);
    if (!body_compress(codec->bodies, request->body, &codec->frame, error)) {
        return false;
    }
    struct inference_request compressed = *request;
    compressed.body = buffer_bytes(&codec->frame);
    return encode(codec, RECORD_REQUEST, &compressed, wire, out, error);
}

bool record_encode_response(struct record_codec *codec, const struct inference_response *response,
                            enum wire_format format, uint32_t schema_id, struct buffer *out,
                            struct error *error)
{
    return encode(codec, RECORD_RESPONSE, response, (struct wire){format, schema_id}, out, error);
}

bool record_encode_comparison(struct record_codec *codec, const struct comparison *comparison,
                              enum wire_format format, uint32_t schema_id, struct buffer *out,
                              struct error *error)
{
    return encode(codec, RECORD_COMPARISON, comparison, (struct wire){format, schema_id}, out,
                  error);
}

bool record_encode_control(struct record_codec *codec, const struct control *control,
                           enum wire_format format, uint32_t schema_id, struct buffer *out,
                           struct error *error)
{
    return encode(codec, RECORD_CONTROL, control, (struct wire){format, schema_id}, out, error);
}
