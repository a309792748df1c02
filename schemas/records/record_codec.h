/* record_codec: values on the topics to record structs and back.
 *
 * A value is read in any of three forms, told apart by its first byte:
 *     {            a JSON line (OpenAI's, for requests and responses)
 *     C3 01        Avro single-object: 8 bytes CRC-64-AVRO of the writer's schema, little-endian,
 * then the data 00           Confluent framing: 4 bytes schema id, big-endian, then the data A
 * Confluent id that is not known yet gives NEEDS_SCHEMA: the caller looks it up in the registry,
 * hands the text to record_codec_add_schema, and decodes again.
 *
 * Decoding copies the value into the arena first, so the value may go as soon as a function
 * returns (but see borrows_values); the record borrows from the arena. Out structs need not be
 * zeroed. Encoding appends to a buffer, and on failure leaves it as it was.
 *
 * Errors are never NULL here.
 *
 * Thread: loop; libavro has one error text for the whole process, and zstd's contexts are shared.
 */
#ifndef SCHEMAS_RECORDS_RECORD_CODEC_H
#define SCHEMAS_RECORDS_RECORD_CODEC_H

#include "schemas/base/arena.h"
#include "schemas/base/buffer.h"
#include "schemas/base/error.h"
#include "schemas/base/records.h"

enum record_kind { RECORD_REQUEST, RECORD_RESPONSE, RECORD_COMPARISON, RECORD_CONTROL };
enum { RECORD_KINDS = RECORD_CONTROL + 1 };

enum wire_format { WIRE_JSON, WIRE_AVRO, WIRE_CONFLUENT };

enum decode_result {
    DECODED,
    DECODED_INVALID, // requests only: custom_id and body are there, another field is wrong: answer
                     // 400
    NEEDS_SCHEMA,    // Confluent id not known; *error says the same for when there is no registry
    UNDECODABLE,     // dead letter
};

struct record_codec_options {
    size_t body_bytes_max;  // of a decompressed zstd body
    bool writes_plain_json; // responses as OpenAI's own lines, without `millrace`
    bool borrows_values;    // what is decoded refers to the value, which lives as long as the arena
};

struct record_codec;

struct record_codec *record_codec_open(const struct record_codec_options *options,
                                       struct error *error);
void record_codec_close(struct record_codec *codec); // accepts NULL

/* Registers a writer's schema under its Confluent id. False when it cannot be used (*error says
 * why); what carries the id is then undecodable for that reason. Only a full table (1,024 ids)
 * registers nothing. */
bool record_codec_add_schema(struct record_codec *codec, uint32_t id, struct bytes schema_json,
                             struct error *error) MUST_CHECK;

/* Registers a writer's schema under its fingerprint, for single-object encoding. Ours are known. */
bool record_codec_add_fingerprint(struct record_codec *codec, struct bytes schema_json,
                                  struct error *error) MUST_CHECK;

/* The id in a value's Confluent framing; false where the value has none. */
bool record_schema_id(struct bytes value, uint32_t *id_out);

/* Our current schema's text, to be registered. Static text. */
struct bytes record_schema(enum record_kind kind);

/* *error is set unless the result is DECODED. After DECODED_INVALID everything that could be read
 * is in *out, after the last two results nothing. */
enum decode_result record_decode_request(struct record_codec *codec, struct bytes value,
                                         struct arena *arena, struct inference_request *out,
                                         struct error *error) MUST_CHECK;
enum decode_result record_decode_response(struct record_codec *codec, struct bytes value,
                                          struct arena *arena, struct inference_response *out,
                                          struct error *error) MUST_CHECK;
enum decode_result record_decode_comparison(struct record_codec *codec, struct bytes value,
                                            struct arena *arena, struct comparison *out,
                                            struct error *error) MUST_CHECK;
enum decode_result record_decode_control(struct record_codec *codec, struct bytes value,
                                         struct arena *arena, struct control *out,
                                         struct error *error) MUST_CHECK;

/* `schema_id` counts for WIRE_CONFLUENT only: where the registry has our current schema. */
bool record_encode_request(struct record_codec *codec, const struct inference_request *request,
                           enum wire_format format, uint32_t schema_id, struct buffer *out,
                           struct error *error) MUST_CHECK;
bool record_encode_response(struct record_codec *codec, const struct inference_response *response,
                            enum wire_format format, uint32_t schema_id, struct buffer *out,
                            struct error *error) MUST_CHECK;
bool record_encode_comparison(struct record_codec *codec, const struct comparison *comparison,
                              enum wire_format format, uint32_t schema_id, struct buffer *out,
                              struct error *error) MUST_CHECK;
bool record_encode_control(struct record_codec *codec, const struct control *control,
                           enum wire_format format, uint32_t schema_id, struct buffer *out,
                           struct error *error) MUST_CHECK;

#endif
