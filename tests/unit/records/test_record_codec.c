/* record_codec: what is written is read again, in every form; what is wrong is refused with its
 * reason. */
#include "schemas/records/record_codec.h"

#include <math.h>
#include <stdlib.h>

#include "schemas/records/layout.h"
#include "schemas/records/line_write.h"
#include "tests/support/cmocka.h"
#include "tests/unit/records/samples.h"

enum { SCHEMA_ID = 70000 };

struct fixture {
    struct record_codec *codec;
    struct arena *arena;
    struct buffer value;
    struct error error;
};

static int setup(void **state)
{
    struct fixture *fixture = calloc(1, sizeof *fixture);
    assert_non_null(fixture);
    struct record_codec_options options = {.body_bytes_max = 1 << 20};
    fixture->codec = record_codec_open(&options, &fixture->error);
    assert_non_null(fixture->codec);
    fixture->arena = arena_open(4 << 20);
    buffer_init(&fixture->value, 1 << 20);
    *state = fixture;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;
    buffer_close(&fixture->value);
    arena_close(fixture->arena);
    record_codec_close(fixture->codec);
    free(fixture);
    return 0;
}

/* Both records have the same fields, as their JSON says. */
static void assert_same(const struct layout *layout, const void *a, const void *b)
{
    struct buffer texts[2];
    const void *records[] = {a, b};
    for (int i = 0; i < 2; i++) {
        buffer_init(&texts[i], 1 << 20);
        line_write_record(&texts[i], layout, records[i]);
        assert_false(buffer_failed(&texts[i]));
    }
    assert_string_equal(texts[0].data, texts[1].data);
    buffer_close(&texts[0]);
    buffer_close(&texts[1]);
}

static enum decode_result decode_request(struct fixture *fixture, struct bytes value,
                                         struct inference_request *out)
{
    fixture->error = (struct error){.kind = ERROR_NONE};
    return record_decode_request(fixture->codec, value, fixture->arena, out, &fixture->error);
}

static const enum wire_format formats[] = {WIRE_JSON, WIRE_AVRO, WIRE_CONFLUENT};

static void add_own_schema(struct fixture *fixture, enum record_kind kind)
{
    assert_true(
        record_codec_add_schema(fixture->codec, SCHEMA_ID, record_schema(kind), &fixture->error));
}

static void request_round_trip(struct fixture *fixture, const struct inference_request *request)
{
    for (int i = 0; i < 3; i++) {
        struct inference_request out;
        buffer_clear(&fixture->value);
        assert_true(record_encode_request(fixture->codec, request, formats[i], SCHEMA_ID,
                                          &fixture->value, &fixture->error));
        assert_int_equal(decode_request(fixture, buffer_bytes(&fixture->value), &out), DECODED);
        if (formats[i] == WIRE_JSON) {
            out.body_encoding = request->body_encoding; // JSON has plain bodies only
        }
        assert_same(&layout_request, request, &out);
    }
}

static void requests_survive_all_forms(void **state)
{
    struct fixture *fixture = *state;
    add_own_schema(fixture, RECORD_REQUEST);
    request_round_trip(fixture, &sample_request);
    request_round_trip(fixture, &sample_request_bare);
    struct inference_request compressed = sample_request;
    compressed.body_encoding = BODY_ZSTD;
    request_round_trip(fixture, &compressed);
}

static void responses_survive_all_forms(void **state)
{
    struct fixture *fixture = *state;
    add_own_schema(fixture, RECORD_RESPONSE);
    const struct inference_response *samples[] = {&sample_response, &sample_response_failed};
    for (int i = 0; i < 6; i++) {
        struct inference_response out;
        buffer_clear(&fixture->value);
        assert_true(record_encode_response(fixture->codec, samples[i / 3], formats[i % 3],
                                           SCHEMA_ID, &fixture->value, &fixture->error));
        assert_int_equal(record_decode_response(fixture->codec, buffer_bytes(&fixture->value),
                                                fixture->arena, &out, &fixture->error),
                         DECODED);
        assert_same(&layout_response, samples[i / 3], &out);
    }
}

static void comparisons_survive_all_forms(void **state)
{
    struct fixture *fixture = *state;
    add_own_schema(fixture, RECORD_COMPARISON);
    for (int i = 0; i < 3; i++) {
        struct comparison out;
        buffer_clear(&fixture->value);
        assert_true(record_encode_comparison(fixture->codec, &sample_comparison, formats[i],
                                             SCHEMA_ID, &fixture->value, &fixture->error));
        assert_int_equal(record_decode_comparison(fixture->codec, buffer_bytes(&fixture->value),
                                                  fixture->arena, &out, &fixture->error),
                         DECODED);
        assert_same(&layout_comparison, &sample_comparison, &out);
    }
}

static void a_score_that_is_not_a_number_survives_all_forms(void **state)
{
    struct fixture *fixture = *state;
    add_own_schema(fixture, RECORD_COMPARISON);
    struct score nan_score = {.name = BYTES("bertscore"), .value = (double)NAN};
    struct comparison comparison = sample_comparison;
    comparison.scores = (struct scores){&nan_score, 1};
    for (int i = 0; i < 3; i++) {
        struct comparison out;
        buffer_clear(&fixture->value);
        assert_true(record_encode_comparison(fixture->codec, &comparison, formats[i], SCHEMA_ID,
                                             &fixture->value, &fixture->error));
        assert_int_equal(record_decode_comparison(fixture->codec, buffer_bytes(&fixture->value),
                                                  fixture->arena, &out, &fixture->error),
                         DECODED);
        assert_true(isnan(out.scores.items[0].value));
    }
}

static void controls_survive_all_forms(void **state)
{
    struct fixture *fixture = *state;
    add_own_schema(fixture, RECORD_CONTROL);
    for (int i = 0; i < 3; i++) {
        struct control out;
        buffer_clear(&fixture->value);
        assert_true(record_encode_control(fixture->codec, &sample_control, formats[i], SCHEMA_ID,
                                          &fixture->value, &fixture->error));
        assert_int_equal(record_decode_control(fixture->codec, buffer_bytes(&fixture->value),
                                               fixture->arena, &out, &fixture->error),
                         DECODED);
        assert_same(&layout_control, &sample_control, &out);
    }
}

/* Whether a codec's record lies in the value that it was decoded from. */
static bool is_in_value(struct fixture *fixture, bool borrows_values, struct bytes value)
{
    struct record_codec_options options = {1 << 20, false, borrows_values};
    struct record_codec *codec = record_codec_open(&options, &fixture->error);
    assert_non_null(codec);
    struct inference_request request;
    assert_int_equal(record_decode_request(codec, value, fixture->arena, &request, &fixture->error),
                     DECODED);
    record_codec_close(codec);
    assert_true(bytes_equal_text(request.body, "{\"a\":1}"));
    return request.body.data >= value.data && request.body.data < value.data + value.size;
}

static void the_record_borrows_from_the_value_where_told_so(void **state)
{
    struct fixture *fixture = *state;
    struct bytes value =
        bytes_of("{\"custom_id\":\"c\",\"url\":\"/v1/completions\",\"body\":{\"a\":1}}");
    assert_false(is_in_value(fixture, false, value));
    assert_true(is_in_value(fixture, true, value));
}

static void the_record_does_not_borrow_from_the_value(void **state)
{
    struct fixture *fixture = *state;
    assert_true(record_encode_request(fixture->codec, &sample_request, WIRE_AVRO, 0,
                                      &fixture->value, &fixture->error));
    struct inference_request out;
    assert_int_equal(decode_request(fixture, buffer_bytes(&fixture->value), &out), DECODED);
    memset(fixture->value.data, 'z', fixture->value.size);
    assert_same(&layout_request, &sample_request, &out);
}

static void values_that_are_no_record_are_undecodable(void **state)
{
    static const struct {
        struct bytes value;
        const char *reason;
    } cases[] = {
        {{NULL, 0}, "the value is null"},
        {{"", 0}, "the value is empty"},
        {BYTES("hello"), "byte 0x68"},
        {BYTES(" {}"), "byte 0x20"},
        {BYTES("\xEF\xBB\xBF{}"), "byte 0xEF"},
        {BYTES("\xC3"), "framing has 10 bytes, the value has 1"},
        {BYTES("\xC3\xA9"), "byte 0xC3"},
        {BYTES("\xC3\x01"), "framing has 10 bytes, the value has 2"},
        {BYTES("\xC3\x01zzzzzzzz"), "fingerprint 7a7a7a7a7a7a7a7a, which is not known"},
        {BYTES("\0\0\0\0"), "framing has 5 bytes, the value has 4"},
        {BYTES("{"), "not valid JSON"},
        {BYTES("{}"), "custom_id is missing"},
        {BYTES("{\"custom_id\":7,\"body\":{}}"), "custom_id must be a string"},
        {BYTES("{\"custom_id\":\"\",\"body\":{}}"), "1 to 512 bytes, it has 0"},
        {BYTES("{\"custom_id\":\"\\ud800\",\"body\":{}}"), "half a surrogate"},
        {BYTES("{\"custom_id\":\"a\"}"), "body is missing"},
        {BYTES("{\"custom_id\":\"a\",\"body\":null}"), "body must be an object"},
        {BYTES("{\"custom_id\":\"a\",\"body\":\"{}\"}"), "body must be an object"},
        {BYTES("{\"custom_id\":\"a\",\"body\":{},\"custom_id\":\"b\"}"), "a name comes twice"},
        {BYTES("{\"custom_id\":\"a\",\"body\":{}}{}"), "something follows"},
        {BYTES("{\"custom_id\":\"a\",\"body\":{\"x\":\"\xFF\"}}"), "not UTF-8"},
    };
    struct fixture *fixture = *state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct inference_request out;
        assert_int_equal(decode_request(fixture, cases[i].value, &out), UNDECODABLE);
        assert_int_equal(fixture->error.kind, ERROR_UNDECODABLE);
        if (strstr(fixture->error.message, cases[i].reason) == NULL) {
            fail_msg("case %zu: \"%s\" lacks \"%s\"", i, fixture->error.message, cases[i].reason);
        }
    }
}

static void custom_ids_have_at_most_512_bytes(void **state)
{
    struct fixture *fixture = *state;
    for (int size = 512; size <= 513; size++) {
        char id[513];
        memset(id, 'i', sizeof id);
        struct inference_request request = sample_request_bare;
        request.custom_id = (struct bytes){id, (size_t)size};
        for (int i = 0; i < 2; i++) {
            struct inference_request out;
            buffer_clear(&fixture->value);
            assert_true(record_encode_request(fixture->codec, &request, formats[i], 0,
                                              &fixture->value, &fixture->error));
            assert_int_equal(decode_request(fixture, buffer_bytes(&fixture->value), &out),
                             size == 512 ? DECODED : UNDECODABLE);
        }
    }
}

static void an_unknown_schema_id_is_asked_for_once(void **state)
{
    struct fixture *fixture = *state;
    assert_true(record_encode_request(fixture->codec, &sample_request, WIRE_CONFLUENT, 0x01020304,
                                      &fixture->value, &fixture->error));
    struct inference_request out;
    struct bytes value = buffer_bytes(&fixture->value);
    assert_int_equal(decode_request(fixture, value, &out), NEEDS_SCHEMA);
    assert_non_null(strstr(fixture->error.message, "16909060"));
    uint32_t id;
    assert_true(record_schema_id(value, &id));
    assert_int_equal(id, 0x01020304);
    assert_true(record_codec_add_schema(fixture->codec, id, record_schema(RECORD_REQUEST),
                                        &fixture->error));
    assert_int_equal(decode_request(fixture, value, &out), DECODED);
}

static void a_schema_that_cannot_be_used_makes_its_values_undecodable(void **state)
{
    static const char *const schemas[] = {
        "not a schema",
        "\"string\"",
        "{\"type\":\"record\",\"name\":\"Payment\",\"fields\":[]}",
        "{\"type\":\"record\",\"name\":\"InferenceRequest\",\"fields\":[]}",
        "{\"type\":\"record\",\"name\":\"Control\",\"fields\":[{\"name\":\"route\",\"type\":"
        "\"string\"},{\"name\":\"phase\",\"type\":\"string\"},{\"name\":\"version\",\"type\":"
        "\"double\"}]}",
    };
    struct fixture *fixture = *state;
    for (uint32_t i = 0; i < sizeof schemas / sizeof schemas[0]; i++) {
        struct inference_request out;
        assert_false(
            record_codec_add_schema(fixture->codec, i, bytes_of(schemas[i]), &fixture->error));
        buffer_clear(&fixture->value);
        assert_true(record_encode_request(fixture->codec, &sample_request, WIRE_CONFLUENT, i,
                                          &fixture->value, &fixture->error));
        assert_int_equal(decode_request(fixture, buffer_bytes(&fixture->value), &out), UNDECODABLE);
    }
}

static void the_table_of_schemas_is_bounded(void **state)
{
    struct fixture *fixture = *state;
    uint32_t added = 0;
    while (record_codec_add_schema(fixture->codec, added, record_schema(RECORD_CONTROL),
                                   &fixture->error)) {
        added++;
        assert_true(added < 2000);
    }
    assert_int_equal(added, 1024 - RECORD_KINDS);
    assert_non_null(strstr(fixture->error.message, "holds 1024"));
}

static void a_record_of_another_kind_is_undecodable(void **state)
{
    struct fixture *fixture = *state;
    assert_true(record_encode_response(fixture->codec, &sample_response, WIRE_AVRO, 0,
                                       &fixture->value, &fixture->error));
    struct inference_request out;
    assert_int_equal(decode_request(fixture, buffer_bytes(&fixture->value), &out), UNDECODABLE);
    assert_string_equal(fixture->error.message,
                        "the value holds InferenceResponse where InferenceRequest is expected");
}

static void every_cut_of_an_avro_value_is_undecodable(void **state)
{
    struct fixture *fixture = *state;
    assert_true(record_encode_request(fixture->codec, &sample_request, WIRE_AVRO, 0,
                                      &fixture->value, &fixture->error));
    for (size_t size = 0; size < fixture->value.size; size++) {
        struct inference_request out;
        // A copy of exactly this size, so that the sanitizer sees a read past the end.
        char *cut = malloc(size + 1);
        memcpy(cut, fixture->value.data, size);
        struct arena *arena = arena_open(1 << 16);
        assert_int_equal(record_decode_request(fixture->codec, (struct bytes){cut, size}, arena,
                                               &out, &fixture->error),
                         UNDECODABLE);
        arena_close(arena);
        free(cut);
    }
}

static void avro_bodies_must_be_json_objects(void **state)
{
    struct fixture *fixture = *state;
    static const struct bytes bodies[] = {BYTES(""), BYTES("[]"), BYTES("{\"a\":}"), BYTES("null"),
                                          BYTES("{} x")};
    for (size_t i = 0; i < sizeof bodies / sizeof bodies[0]; i++) {
        struct inference_request request = sample_request_bare;
        struct inference_request out;
        request.body = bodies[i];
        buffer_clear(&fixture->value);
        assert_true(record_encode_request(fixture->codec, &request, WIRE_AVRO, 0, &fixture->value,
                                          &fixture->error));
        assert_int_equal(decode_request(fixture, buffer_bytes(&fixture->value), &out), UNDECODABLE);
        assert_string_equal(fixture->error.param, "body");
    }
}

static void a_wrong_incumbent_body_is_an_invalid_request(void **state)
{
    struct fixture *fixture = *state;
    struct answer answer = {.body = BYTES("no json")};
    struct inference_request request = sample_request_bare;
    struct inference_request out;
    request.incumbent = &answer;
    assert_true(record_encode_request(fixture->codec, &request, WIRE_AVRO, 0, &fixture->value,
                                      &fixture->error));
    assert_int_equal(decode_request(fixture, buffer_bytes(&fixture->value), &out), DECODED_INVALID);
    assert_int_equal(fixture->error.kind, ERROR_INVALID);
    assert_true(bytes_equal_text(out.custom_id, "x"));
}

static void a_record_over_the_arenas_limit_is_undecodable(void **state)
{
    struct fixture *fixture = *state;
    assert_true(record_encode_request(fixture->codec, &sample_request, WIRE_JSON, 0,
                                      &fixture->value, &fixture->error));
    for (size_t limit = 1; limit < 2000; limit += 7) {
        struct arena *arena = arena_open(limit);
        struct inference_request out;
        enum decode_result result = record_decode_request(
            fixture->codec, buffer_bytes(&fixture->value), arena, &out, &fixture->error);
        assert_true(result == UNDECODABLE || result == DECODED_INVALID || result == DECODED);
        arena_close(arena);
    }
}

static void a_record_that_does_not_fit_leaves_the_buffer_as_it_was(void **state)
{
    struct fixture *fixture = *state;
    struct buffer small;
    buffer_init(&small, 60);
    buffer_append_text(&small, "before");
    for (int i = 0; i < 3; i++) {
        assert_false(record_encode_response(fixture->codec, &sample_response, formats[i], 1, &small,
                                            &fixture->error));
        assert_int_equal(fixture->error.kind, ERROR_TOO_LARGE);
        assert_string_equal(small.data, "before");
        assert_false(buffer_failed(&small));
    }
    buffer_close(&small);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(requests_survive_all_forms),
        TEST(responses_survive_all_forms),
        TEST(comparisons_survive_all_forms),
        TEST(a_score_that_is_not_a_number_survives_all_forms),
        TEST(controls_survive_all_forms),
        TEST(the_record_does_not_borrow_from_the_value),
        TEST(the_record_borrows_from_the_value_where_told_so),
        TEST(values_that_are_no_record_are_undecodable),
        TEST(custom_ids_have_at_most_512_bytes),
        TEST(an_unknown_schema_id_is_asked_for_once),
        TEST(a_schema_that_cannot_be_used_makes_its_values_undecodable),
        TEST(the_table_of_schemas_is_bounded),
        TEST(a_record_of_another_kind_is_undecodable),
        TEST(every_cut_of_an_avro_value_is_undecodable),
        TEST(avro_bodies_must_be_json_objects),
        TEST(a_wrong_incumbent_body_is_an_invalid_request),
        TEST(a_record_over_the_arenas_limit_is_undecodable),
        TEST(a_record_that_does_not_fit_leaves_the_buffer_as_it_was),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
