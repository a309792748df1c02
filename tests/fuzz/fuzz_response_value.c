/* Response and comparison values as `collect` and `report` read them from a topic, and the schema
 * texts that a registry answers with: 'S' and a schema, then NUL and a value that it wrote. */
#include "tests/fuzz/fuzz.h"

#include <string.h>

#include "schemas/base/check.h"
#include "schemas/records/record_codec.h"

/* libavro 1.11.1 loses memory where it refuses a schema that defines a name twice. It is bounded: a
 * schema is parsed once per id and for at most WRITERS_MAX ids. The unit tests run without this. */
__attribute__((visibility("default"))) const char *__lsan_default_suppressions(void);

const char *__lsan_default_suppressions(void)
{
    return "leak:libavro.so";
}

enum { ARENA_BYTES_MAX = 8 << 20, SCHEMA_ID = 1 };

static struct record_codec *codec_open(void)
{
    struct record_codec_options options = {.body_bytes_max = 1 << 20};
    struct error error;
    struct record_codec *codec = record_codec_open(&options, &error);
    CHECK(codec != NULL);
    return codec;
}

static void response_round_trip(struct record_codec *codec,
                                const struct inference_response *response)
{
    struct buffer value;
    struct error error;
    struct inference_response again;
    struct arena *arena = arena_open(64 << 20);
    buffer_init(&value, 64 << 20);
    CHECK(record_encode_response(codec, response, WIRE_JSON, 0, &value, &error));
    CHECK(record_decode_response(codec, buffer_bytes(&value), arena, &again, &error) == DECODED);
    buffer_clear(&value);
    CHECK(record_encode_response(codec, response, WIRE_AVRO, 0, &value, &error));
    CHECK(record_decode_response(codec, buffer_bytes(&value), arena, &again, &error) == DECODED);
    buffer_close(&value);
    arena_close(arena);
}

static void read_value(struct record_codec *codec, struct bytes value)
{
    struct arena *arena = arena_open(ARENA_BYTES_MAX);
    struct inference_response response;
    struct comparison comparison;
    struct control control;
    struct inference_request request;
    struct error error;
    if (record_decode_response(codec, value, arena, &response, &error) == DECODED) {
        response_round_trip(codec, &response);
    }
    (void)!record_decode_comparison(codec, value, arena, &comparison, &error);
    (void)!record_decode_control(codec, value, arena, &control, &error);
    (void)!record_decode_request(codec, value, arena, &request, &error);
    arena_close(arena);
}

static void read_foreign(struct bytes input)
{
    struct record_codec *codec = codec_open();
    const char *end = memchr(input.data, '\0', input.size);
    size_t schema_size = end == NULL ? input.size : (size_t)(end - input.data);
    struct error error;
    (void)!record_codec_add_fingerprint(codec, (struct bytes){input.data, schema_size}, &error);
    if (record_codec_add_schema(codec, SCHEMA_ID, (struct bytes){input.data, schema_size},
                                &error) &&
        end != NULL) {
        struct buffer value;
        buffer_init(&value, 64 << 20);
        buffer_append(&value, "\0\0\0\0\x01", 5);
        buffer_append(&value, end + 1, input.size - schema_size - 1);
        read_value(codec, buffer_bytes(&value));
        buffer_close(&value);
    }
    record_codec_close(codec);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct record_codec *codec;
    if (codec == NULL) {
        codec = codec_open();
    }
    if (size > 0 && data[0] == 'S') {
        read_foreign((struct bytes){(const char *)data + 1, size - 1});
    } else {
        read_value(codec, (struct bytes){(const char *)data, size});
    }
    return 0;
}
