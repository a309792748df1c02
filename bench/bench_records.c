/* bench_records: how many records a second one core decodes and encodes, per wire form.
 *
 * One round is what the worker's loop does for one record: decode a request of about 2 kB, encode a
 * response of about 1 kB. `bench_records [SECONDS]`, one second per line by default. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "schemas/base/check.h"
#include "schemas/records/record_codec.h"

enum { PROMPT_BYTES = 1800, ANSWER_BYTES = 700 };

struct bench {
    struct record_codec *codec;
    struct buffer request_body;
    struct buffer response_body;
    struct buffer value;
    struct buffer result;
    double seconds;
};

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

/* English-like text with what JSON escapes: a line break about each 80 bytes, now and then a quote.
 */
static void append_prose(struct buffer *buffer, size_t size)
{
    static const char *const words[] = {"the ",    "invoice ",     "of ",          "payment ",
                                        "\\n",     "caf\xC3\xA9 ", "due ",         "within ",
                                        "thirty ", "days ",        "\\\"net\\\" ", "and "};
    size_t start = buffer->size;
    unsigned state = 1;
    while (buffer->size - start < size) {
        state = state * 1664525U + 1013904223U;
        buffer_append_text(buffer, words[(state >> 16) % (sizeof words / sizeof words[0])]);
    }
}

static void make_bodies(struct bench *bench)
{
    buffer_append_text(
        &bench->request_body,
        "{\"model\":\"scribe\",\"messages\":[{\"role\":\"system\",\"content\":\"Summarize.\"},"
        "{\"role\":\"user\",\"content\":\"");
    append_prose(&bench->request_body, PROMPT_BYTES);
    buffer_append_text(&bench->request_body, "\"}],\"max_tokens\":128,\"temperature\":0}");
    buffer_append_text(
        &bench->response_body,
        "{\"id\":\"chatcmpl-0123456789abcdef\",\"object\":\"chat.completion\",\"choices\":[{"
        "\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":\"");
    append_prose(&bench->response_body, ANSWER_BYTES);
    buffer_append_text(&bench->response_body, "\"},\"finish_reason\":\"stop\"}]}");
}

static void encode_request(struct bench *bench, enum wire_format format,
                           enum body_encoding encoding)
{
    static struct label labels[] = {{{"prompt", 6}, {"summary-v3", 10}}};
    struct inference_request request = {
        .custom_id = bytes_of("doc-000001"),
        .run_id = bytes_of("nightly-2026-01-31"),
        .url = bytes_of("/v1/chat/completions"),
        .body = buffer_bytes(&bench->request_body),
        .body_encoding = encoding,
        .has_deadline_ms = true,
        .deadline_ms = 1769904000000,
        .labels = {labels, 1},
    };
    struct error error;
    buffer_clear(&bench->value);
    CHECK(record_encode_request(bench->codec, &request, format, 1, &bench->value, &error));
}

static void answer(struct bench *bench, const struct inference_request *request,
                   enum wire_format format)
{
    static const struct usage usage = {412, 384, 87};
    static const struct timing timing = {1.532, 20.117, 300.4, 322.049, true, 21.98};
    const struct served_by served_by = {
        .kind = bytes_of("local"),
        .model = bytes_of("scribe"),
        .weights_hash = bytes_of("0123456789abcdef"),
        .weights_format = bytes_of("bf16"),
        .template_hash = bytes_of("fedcba9876543210"),
        .backend = bytes_of("cpu"),
        .device = bytes_of("avx512-amx"),
        .version = bytes_of("0.1.0"),
    };
    struct inference_response response = {
        .custom_id = request->custom_id,
        .run_id = request->run_id,
        .source = {bytes_of("llm.requests.v1"), 3, 1234567},
        .status_code = 200,
        .body = buffer_bytes(&bench->response_body),
        .served_by = &served_by,
        .usage = &usage,
        .timing = &timing,
        .attempt = 1,
    };
    struct error error;
    buffer_clear(&bench->result);
    CHECK(record_encode_response(bench->codec, &response, format, 2, &bench->result, &error));
}

static void measure(struct bench *bench, const char *name, enum wire_format format,
                    enum body_encoding encoding)
{
    encode_request(bench, format, encoding);
    struct bytes value = buffer_bytes(&bench->value);
    double start = now();
    double elapsed;
    long rounds = 0;
    do {
        for (int i = 0; i < 1000; i++, rounds++) {
            struct arena *arena = arena_open(1 << 20);
            struct inference_request request;
            struct error error;
            CHECK(record_decode_request(bench->codec, value, arena, &request, &error) == DECODED);
            answer(bench, &request, format);
            arena_close(arena);
        }
        elapsed = now() - start;
    } while (elapsed < bench->seconds);
    printf("%-10s  request %4zu B  response %4zu B  %8.0f records/s\n", name, value.size,
           bench->result.size, (double)rounds / elapsed);
}

int main(int argc, char **argv)
{
    struct bench bench = {.seconds = argc > 1 ? strtod(argv[1], NULL) : 1};
    struct record_codec_options options = {.body_bytes_max = 1 << 20};
    struct error error;
    bench.codec = record_codec_open(&options, &error);
    CHECK(bench.codec != NULL);
    CHECK(record_codec_add_schema(bench.codec, 1, record_schema(RECORD_REQUEST), &error));
    buffer_init(&bench.request_body, 1 << 20);
    buffer_init(&bench.response_body, 1 << 20);
    buffer_init(&bench.value, 1 << 20);
    buffer_init(&bench.result, 1 << 20);
    make_bodies(&bench);
    measure(&bench, "avro", WIRE_AVRO, BODY_IDENTITY);
    measure(&bench, "confluent", WIRE_CONFLUENT, BODY_IDENTITY);
    measure(&bench, "avro+zstd", WIRE_AVRO, BODY_ZSTD);
    measure(&bench, "json", WIRE_JSON, BODY_IDENTITY);
    buffer_close(&bench.request_body);
    buffer_close(&bench.response_body);
    buffer_close(&bench.value);
    buffer_close(&bench.result);
    record_codec_close(bench.codec);
    return 0;
}
