/* Request values as they come from a topic. What decodes must encode in every form, and the result
 * must decode again to the same record. */
#include "tests/fuzz/fuzz.h"

#include "schemas/base/check.h"
#include "schemas/records/record_codec.h"

enum { ARENA_BYTES_MAX = 8 << 20, SCHEMA_ID = 1 };

static struct record_codec *codec_once(void)
{
    static struct record_codec *codec;
    if (codec == NULL) {
        struct record_codec_options options = {.body_bytes_max = 1 << 20};
        struct error error;
        codec = record_codec_open(&options, &error);
        CHECK(codec != NULL);
        CHECK(record_codec_add_schema(codec, SCHEMA_ID, record_schema(RECORD_REQUEST), &error));
    }
    return codec;
}

/* As Avro, so that both records are compared with all their fields. */
static void encode(struct record_codec *codec, const struct inference_request *request,
                   enum wire_format format, struct buffer *out)
{
    struct error error;
    buffer_init(out, 64 << 20);
    CHECK(record_encode_request(codec, request, format, SCHEMA_ID, out, &error));
}

static void round_trip(struct record_codec *codec, const struct inference_request *request,
                       enum wire_format format)
{
    struct buffer value;
    struct buffer before;
    struct buffer after;
    struct error error;
    struct inference_request again;
    struct arena *arena = arena_open(64 << 20);
    encode(codec, request, format, &value);
    enum decode_result result =
        record_decode_request(codec, buffer_bytes(&value), arena, &again, &error);
    CHECK(result == DECODED);
    again.body_encoding = request->body_encoding;
    encode(codec, request, WIRE_JSON, &before);
    encode(codec, &again, WIRE_JSON, &after);
    CHECK(bytes_equal(buffer_bytes(&before), buffer_bytes(&after)));
    buffer_close(&value);
    buffer_close(&before);
    buffer_close(&after);
    arena_close(arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct record_codec *codec = codec_once();
    struct arena *arena = arena_open(ARENA_BYTES_MAX);
    struct inference_request request;
    struct error error;
    struct bytes value = {(const char *)data, size};
    if (record_decode_request(codec, value, arena, &request, &error) == DECODED) {
        round_trip(codec, &request, WIRE_JSON);
        round_trip(codec, &request, WIRE_AVRO);
        round_trip(codec, &request, WIRE_CONFLUENT);
    }
    arena_close(arena);
    return 0;
}
