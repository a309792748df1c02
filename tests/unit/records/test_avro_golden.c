/* Golden bytes that fastavro wrote (tests/golden/avro/make.py): we read them, and write the same
 * bytes. */
#include "schemas/records/record_codec.h"

#include <stdio.h>

#include "schemas/records/canonical.h"
#include "schemas/records/layout.h"
#include "schemas/records/line_write.h"
#include "tests/support/cmocka.h"
#include "tests/unit/records/files.h"
#include "tests/unit/records/samples.h"

#define GOLDEN SOURCE_DIR "/tests/golden/avro/"

enum { SCHEMA_ID = 70000 };

/* A record of any kind, decoded. */
union any {
    struct inference_request request;
    struct inference_response response;
    struct comparison comparison;
    struct control control;
};

static const struct {
    const char *name;
    enum record_kind kind;
    const struct layout *layout;
    const void *record;
} samples[] = {
    {"request", RECORD_REQUEST, &layout_request, &sample_request},
    {"request_bare", RECORD_REQUEST, &layout_request, &sample_request_bare},
    {"response", RECORD_RESPONSE, &layout_response, &sample_response},
    {"response_failed", RECORD_RESPONSE, &layout_response, &sample_response_failed},
    {"comparison", RECORD_COMPARISON, &layout_comparison, &sample_comparison},
    {"control", RECORD_CONTROL, &layout_control, &sample_control},
};

static struct record_codec *codec_open(void)
{
    struct record_codec_options options = {.body_bytes_max = 1 << 20};
    struct error error = {.message = ""};
    struct record_codec *codec = record_codec_open(&options, &error);
    assert_non_null(codec);
    return codec;
}

static bool encode(struct record_codec *codec, enum record_kind kind, const void *record,
                   enum wire_format format, struct buffer *out)
{
    struct error error;
    switch (kind) {
    case RECORD_REQUEST:
        return record_encode_request(codec, record, format, SCHEMA_ID, out, &error);
    case RECORD_RESPONSE:
        return record_encode_response(codec, record, format, SCHEMA_ID, out, &error);
    case RECORD_COMPARISON:
        return record_encode_comparison(codec, record, format, SCHEMA_ID, out, &error);
    case RECORD_CONTROL:
        return record_encode_control(codec, record, format, SCHEMA_ID, out, &error);
    }
    return false;
}

static enum decode_result decode(struct record_codec *codec, enum record_kind kind,
                                 struct bytes value, struct arena *arena, union any *out)
{
    struct error error;
    switch (kind) {
    case RECORD_REQUEST:
        return record_decode_request(codec, value, arena, &out->request, &error);
    case RECORD_RESPONSE:
        return record_decode_response(codec, value, arena, &out->response, &error);
    case RECORD_COMPARISON:
        return record_decode_comparison(codec, value, arena, &out->comparison, &error);
    case RECORD_CONTROL:
        return record_decode_control(codec, value, arena, &out->control, &error);
    }
    return UNDECODABLE;
}

static void assert_reads_as(struct record_codec *codec, enum record_kind kind, struct bytes value,
                            const struct layout *layout, const void *expected)
{
    struct arena *arena = arena_open(1 << 20);
    union any out;
    struct buffer got;
    struct buffer wanted;
    buffer_init(&got, 1 << 20);
    buffer_init(&wanted, 1 << 20);
    assert_int_equal(decode(codec, kind, value, arena, &out), DECODED);
    line_write_record(&got, layout, &out);
    line_write_record(&wanted, layout, expected);
    assert_string_equal(got.data, wanted.data);
    buffer_close(&got);
    buffer_close(&wanted);
    arena_close(arena);
}

static void check_samples(enum wire_format format, const char *suffix)
{
    for (size_t i = 0; i < sizeof samples / sizeof samples[0]; i++) {
        struct record_codec *codec = codec_open();
        struct error error;
        assert_true(
            record_codec_add_schema(codec, SCHEMA_ID, record_schema(samples[i].kind), &error));
        char path[4096];
        snprintf(path, sizeof path, GOLDEN "%s.%s", samples[i].name, suffix);
        struct buffer golden;
        struct buffer written;
        file_read(path, &golden);
        buffer_init(&written, 1 << 20);
        assert_true(encode(codec, samples[i].kind, samples[i].record, format, &written));
        assert_int_equal(written.size, golden.size);
        assert_memory_equal(written.data, golden.data, golden.size);
        assert_reads_as(codec, samples[i].kind, buffer_bytes(&golden), samples[i].layout,
                        samples[i].record);
        buffer_close(&golden);
        buffer_close(&written);
        record_codec_close(codec);
    }
}

static void single_object_values_are_fastavros_to_the_byte(void **state)
{
    (void)state;
    check_samples(WIRE_AVRO, "single");
}

static void confluent_values_are_fastavros_to_the_byte(void **state)
{
    (void)state;
    check_samples(WIRE_CONFLUENT, "confluent");
}

static void a_zstd_body_from_another_writer_is_read(void **state)
{
    (void)state;
    struct record_codec *codec = codec_open();
    struct buffer golden;
    file_read(GOLDEN "request_zstd.single", &golden);
    struct inference_request expected = sample_request;
    expected.body_encoding = BODY_ZSTD;
    assert_reads_as(codec, RECORD_REQUEST, buffer_bytes(&golden), &layout_request, &expected);
    buffer_close(&golden);
    record_codec_close(codec);
}

/* Other order, unknown and recursive fields, promotions, swapped unions, renumbered enum, absent
 * fields. */
static void a_value_of_a_foreign_schema_is_resolved_as_avro_says(void **state)
{
    (void)state;
    struct record_codec *codec = codec_open();
    struct buffer schema;
    struct buffer golden;
    struct error error;
    file_read(GOLDEN "foreign.avsc", &schema);
    file_read(GOLDEN "foreign.confluent", &golden);
    assert_true(record_codec_add_schema(codec, SCHEMA_ID, buffer_bytes(&schema), &error));
    struct answer incumbent = *sample_request.incumbent;
    incumbent.cost_usd = 3;
    incumbent.first_token_ms = 210;
    incumbent.has_prompt_tokens = false;
    incumbent.has_completion_tokens = false;
    struct inference_request expected = sample_request;
    expected.deadline_ms = 1234567890;
    expected.priority = 0;
    expected.reference = (struct bytes){NULL, 0};
    expected.incumbent = &incumbent;
    assert_reads_as(codec, RECORD_REQUEST, buffer_bytes(&golden), &layout_request, &expected);
    buffer_close(&golden);
    buffer_close(&schema);
    record_codec_close(codec);
}

static void a_schema_that_was_added_is_found_by_its_fingerprint(void **state)
{
    (void)state;
    struct record_codec *codec = codec_open();
    struct buffer schema;
    struct buffer golden;
    struct buffer value;
    struct inference_request out;
    struct error error;
    struct arena *arena = arena_open(1 << 20);
    file_read(GOLDEN "foreign.avsc", &schema);
    file_read(GOLDEN "foreign.confluent", &golden);
    buffer_init(&value, 1 << 20);
    buffer_append(&value, "\xC3\x01\xbd\xe2\x01\x1a\xe3\x18\xb3\x8c", 10); // fastavro's
    buffer_append(&value, golden.data + 5, golden.size - 5);
    assert_int_equal(record_decode_request(codec, buffer_bytes(&value), arena, &out, &error),
                     UNDECODABLE);
    assert_true(record_codec_add_fingerprint(codec, buffer_bytes(&schema), &error));
    assert_int_equal(record_decode_request(codec, buffer_bytes(&value), arena, &out, &error),
                     DECODED);
    assert_true(bytes_equal(out.custom_id, sample_request.custom_id));
    buffer_close(&value);
    buffer_close(&golden);
    buffer_close(&schema);
    arena_close(arena);
    record_codec_close(codec);
}

static void canonical_forms_are_fastavros(void **state)
{
    (void)state;
    static const char *const names[] = {"inference_request", "inference_response", "comparison",
                                        "control", "foreign"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        char path[4096];
        struct buffer schema;
        struct buffer golden;
        struct buffer form;
        struct error error;
        bool is_foreign = strcmp(names[i], "foreign") == 0;
        snprintf(path, sizeof path, "%s%s.avsc", is_foreign ? GOLDEN : SOURCE_DIR "/schemas/",
                 names[i]);
        file_read(path, &schema);
        snprintf(path, sizeof path, GOLDEN "%s.canonical", names[i]);
        file_read(path, &golden);
        buffer_init(&form, 1 << 20);
        assert_true(canonical_form(buffer_bytes(&schema), &form, &error));
        assert_string_equal(form.data, golden.data);
        buffer_close(&schema);
        buffer_close(&golden);
        buffer_close(&form);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(single_object_values_are_fastavros_to_the_byte),
        cmocka_unit_test(confluent_values_are_fastavros_to_the_byte),
        cmocka_unit_test(a_zstd_body_from_another_writer_is_read),
        cmocka_unit_test(a_value_of_a_foreign_schema_is_resolved_as_avro_says),
        cmocka_unit_test(a_schema_that_was_added_is_found_by_its_fingerprint),
        cmocka_unit_test(canonical_forms_are_fastavros),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
