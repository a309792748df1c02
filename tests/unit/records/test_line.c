/* line_read and line_write: OpenAI's lines with Millrace's own fields, in and out. */
#include "schemas/records/line_read.h"
#include "schemas/records/line_write.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>

#include "tests/support/cmocka.h"
#include "tests/unit/records/files.h"
#include "tests/unit/records/samples.h"

struct fixture {
    struct arena *arena;
    struct buffer line;
    struct error error;
};

static int setup(void **state)
{
    struct fixture *fixture = calloc(1, sizeof *fixture);
    assert_non_null(fixture);
    fixture->arena = arena_open(1 << 20);
    buffer_init(&fixture->line, 1 << 20);
    *state = fixture;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;
    arena_close(fixture->arena);
    buffer_close(&fixture->line);
    free(fixture);
    return 0;
}

static void a_response_is_written_as_the_contract_says(void **state)
{
    struct fixture *fixture = *state;
    line_write_response(&fixture->line, &sample_response, false);
    assert_string_equal(
        fixture->line.data,
        "{\"id\":\"batch_req_83cefcfa925a1d5b000000070000001cbe991a14\",\"custom_id\":\"doc-"
        "000001\","
        "\"response\":{\"status_code\":200,\"request_id\":\"req_"
        "83cefcfa925a1d5b000000070000001cbe991a14\","
        "\"body\":{\"id\":\"chatcmpl-2\",\"choices\":[]}},\"error\":null,\"millrace\":{"
        "\"run_id\":\"nightly-2026-01-31\",\"source\":{\"topic\":\"llm.requests.v1\",\"partition\":"
        "7,"
        "\"offset\":123456789012},\"served_by\":{\"kind\":\"local\",\"model\":\"scribe\","
        "\"weights_hash\":\"xxh64:0123456789abcdef\",\"weights_format\":\"bf16\","
        "\"template_hash\":\"xxh64:fedcba9876543210\",\"backend\":\"cpu\",\"device\":\"avx512-"
        "amx\","
        "\"rollout_phase\":\"canary\",\"version\":\"0.1.0\"},\"prompt_template\":\"summary\","
        "\"prompt_variant\":\"b\",\"changed\":[\"temperature\"],\"dropped\":[\"stream\",\"stream_"
        "options\"],"
        "\"usage\":{\"prompt_tokens\":412,\"cached_tokens\":384,\"completion_tokens\":87},"
        "\"timing\":{"
        "\"queued_ms\":1.5,\"prefill_ms\":20.125,\"decode_ms\":300.0,\"total_ms\":321.625,"
        "\"first_token_ms\":21.75},\"attempt\":1}}");
}

static void a_plain_response_has_openais_members_only(void **state)
{
    struct fixture *fixture = *state;
    line_write_response(&fixture->line, &sample_response_failed, true);
    json_t *line = json_loadb(fixture->line.data, fixture->line.size, 0, NULL);
    assert_int_equal(json_object_size(line), 4);
    assert_true(json_is_null(json_object_get(line, "response")));
    const json_t *error = json_object_get(line, "error");
    assert_string_equal(json_string_value(json_object_get(error, "code")), "deadline_exceeded");
    assert_string_equal(json_string_value(json_object_get(error, "message")),
                        "the deadline has passed");
    json_decref(line);
}

static void a_plain_request_has_no_millrace_member(void **state)
{
    struct fixture *fixture = *state;
    line_write_request(&fixture->line, &sample_request_bare);
    assert_string_equal(
        fixture->line.data,
        "{\"custom_id\":\"x\",\"method\":\"POST\",\"url\":\"/v1/completions\",\"body\":{}}");
}

static void a_body_that_is_printed_over_lines_stays_one_line(void **state)
{
    struct fixture *fixture = *state;
    struct inference_response response = sample_response_failed;
    response.error = NULL;
    response.body = bytes_of("{\n  \"a\": \"x\\ny\",\r\n  \"b\": 1\n}");
    line_write_response(&fixture->line, &response, true);
    assert_null(strpbrk(fixture->line.data, "\r\n"));
    assert_non_null(strstr(fixture->line.data, "\"body\":{   \"a\": \"x\\ny\",    \"b\": 1 }"));
}

static bool read_request(struct fixture *fixture, const char *line, struct inference_request *out)
{
    *out = (struct inference_request){.priority = 0};
    fixture->error = (struct error){.kind = ERROR_NONE};
    return line_read_request(bytes_of(line), fixture->arena, out, &fixture->error);
}

static void millrace_fields_of_a_wrong_type_are_invalid_not_undecodable(void **state)
{
    struct fixture *fixture = *state;
    static const struct {
        const char *millrace;
        const char *param;
        const char *message;
    } cases[] = {
        {"7", "millrace", "millrace must be an object, it is a number"},
        {"{\"priority\":\"high\"}", "priority",
         "priority must be an integer of 32 bits, it is a string"},
        {"{\"priority\":2147483648}", "priority",
         "priority must be an integer of 32 bits, it is a number"},
        {"{\"priority\":1.0}", "priority",
         "priority must be an integer of 32 bits, it is a number"},
        {"{\"deadline_ms\":9223372036854775808}", "deadline_ms",
         "deadline_ms must be an integer of 64 bits, it is a number"},
        {"{\"deadline_ms\":true}", "deadline_ms",
         "deadline_ms must be an integer of 64 bits, it is a boolean"},
        {"{\"labels\":[]}", "labels", "labels must be an object, it is an array"},
        {"{\"labels\":{\"a\":1}}", "labels", "labels must be a string, it is a number"},
        {"{\"reference\":{}}", "reference", "reference must be a string, it is an object"},
        {"{\"run_id\":\"\\udc00\"}", "run_id",
         "run_id has half a surrogate pair or needs too much memory"},
        {"{\"incumbent\":{\"body\":\"{}\"}}", "body", "body must be an object, it is a string"},
        {"{\"incumbent\":{\"latency_ms\":1e999}}", "latency_ms",
         "latency_ms must be a number, it is a number"},
        {"{\"labels\":{\"a\":\"1\",\"a\":\"2\"}}", "labels",
         "labels: not valid JSON: a name comes twice, at byte 16"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct buffer line;
        struct inference_request out;
        buffer_init(&line, 4096);
        buffer_printf(&line, "{\"custom_id\":\"a\",\"body\":{\"x\":1},\"millrace\":%s}",
                      cases[i].millrace);
        assert_false(read_request(fixture, line.data, &out));
        assert_int_equal(fixture->error.kind, ERROR_INVALID);
        assert_string_equal(fixture->error.param, cases[i].param);
        assert_string_equal(fixture->error.message, cases[i].message);
        assert_true(bytes_equal_text(out.custom_id, "a"));
        assert_true(bytes_equal_text(out.body, "{\"x\":1}"));
        buffer_close(&line);
    }
}

static void a_wrong_field_does_not_cost_the_others(void **state)
{
    struct fixture *fixture = *state;
    struct inference_request out;
    assert_false(read_request(
        fixture,
        "{\"custom_id\":\"a\",\"method\":\"GET\",\"url\":\"/u\",\"body\":{},\"millrace\":"
        "{\"priority\":[],\"run_id\":\"r\",\"reference\":\"x\"}}",
        &out));
    assert_string_equal(fixture->error.param, "method"); // the first one counts
    assert_true(bytes_equal_text(out.run_id, "r"));
    assert_true(bytes_equal_text(out.reference, "x"));
    assert_true(bytes_equal_text(out.url, "/u"));
}

static void null_is_as_good_as_absent(void **state)
{
    struct fixture *fixture = *state;
    struct inference_request out;
    assert_true(read_request(
        fixture,
        "{\"custom_id\":\"a\",\"body\":{},\"millrace\":{\"run_id\":null,\"priority\":null,"
        "\"labels\":null,\"incumbent\":null,\"deadline_ms\":null}}",
        &out));
    assert_null(out.run_id.data);
    assert_false(out.has_deadline_ms);
    assert_null(out.incumbent);
    assert_true(read_request(fixture, "{\"custom_id\":\"a\",\"body\":{},\"millrace\":null}", &out));
    assert_null(out.url.data);
}

static void integers_reach_both_ends(void **state)
{
    struct fixture *fixture = *state;
    struct inference_request out;
    assert_true(
        read_request(fixture,
                     "{\"custom_id\":\"a\",\"body\":{},\"millrace\":{\"priority\":-2147483648,"
                     "\"deadline_ms\":9223372036854775807}}",
                     &out));
    assert_int_equal(out.priority, INT32_MIN);
    assert_int_equal(out.deadline_ms, INT64_MAX);
    line_write_request(&fixture->line, &out);
    assert_non_null(strstr(fixture->line.data,
                           "{\"deadline_ms\":9223372036854775807,\"priority\":-2147483648}"));
}

static void doubles_survive_and_are_short(void **state)
{
    struct fixture *fixture = *state;
    static const struct {
        double value;
        const char *text;
    } cases[] = {
        {0, "0.0"},
        {-0.0, "-0.0"},
        {1, "1.0"},
        {0.1, "0.1"},
        {-12.000001, "-12.000001"},
        {812.25, "812.25"},
        {1e-7, "1e-07"},
        {1.0 / 3, "0.3333333333333333"},
        {9007199254.740991, "9007199254.740992"},
        {1e300, "1e+300"},
        {5e-324, "4.94065645841247e-324"},
        {0.000123, "0.000123"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct control control = sample_control;
        struct control out = {.version = 0};
        char wanted[100];
        control.percent = cases[i].value;
        buffer_clear(&fixture->line);
        line_write_record(&fixture->line, &layout_control, &control);
        snprintf(wanted, sizeof wanted, "\"percent\":%s,", cases[i].text);
        if (strstr(fixture->line.data, wanted) == NULL) {
            fail_msg("%s lacks %s", fixture->line.data, wanted);
        }
        assert_true(line_read_record(buffer_bytes(&fixture->line), &layout_control, fixture->arena,
                                     &out, &fixture->error));
        assert_memory_equal(&out.percent, &cases[i].value, sizeof out.percent);
    }
}

static void a_line_of_openais_own_output_is_read(void **state)
{
    struct fixture *fixture = *state;
    struct inference_response out = {.attempt = 0};
    assert_true(line_read_response(
        bytes_of(
            "{\"id\": \"batch_req_123\", \"custom_id\": \"request-2\", \"response\": "
            "{\"status_code\": 200, "
            "\"request_id\": \"req_123\", \"body\": {\"id\": \"chatcmpl-123\"}}, \"error\": null}"),
        fixture->arena, &out, &fixture->error));
    assert_int_equal(out.status_code, 200);
    assert_true(bytes_equal_text(out.body, "{\"id\": \"chatcmpl-123\"}"));
    assert_null(out.error);
    assert_null(out.source.topic.data);
}

static void responses_that_are_none_are_refused(void **state)
{
    struct fixture *fixture = *state;
    static const char *const lines[] = {
        "{}",
        "{\"custom_id\":\"a\",\"response\":7}",
        "{\"custom_id\":\"a\",\"response\":{\"body\":\"x\"}}",
        "{\"custom_id\":\"a\",\"response\":null,\"error\":{\"code\":\"x\"}}",
        "{\"custom_id\":\"a\",\"response\":null,\"error\":\"x\"}",
        "{\"custom_id\":\"a\",\"response\":null,\"millrace\":{\"attempt\":1}}",
        "{\"custom_id\":\"a\",\"response\":null,\"millrace\":{\"attempt\":1,\"source\":{\"topic\":"
        "\"t\"}}}",
    };
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        struct inference_response out = {.attempt = 0};
        assert_false(line_read_response(bytes_of(lines[i]), fixture->arena, &out, &fixture->error));
    }
}

static void check_batch_line(struct fixture *fixture, const char *line)
{
    struct inference_request out;
    assert_true(read_request(fixture, line, &out));
    json_t *parsed = json_loads(line, 0, NULL);
    json_t *body = json_loadb(out.body.data, out.body.size, 0, NULL);
    assert_true(json_equal(body, json_object_get(parsed, "body")));
    assert_true(bytes_equal_text(out.url, json_string_value(json_object_get(parsed, "url"))));
    assert_true(out.body.data > line && out.body.data < line + strlen(line));
    json_decref(body);
    json_decref(parsed);
}

static void real_batch_files_are_read_with_their_bodies_untouched(void **state)
{
    struct fixture *fixture = *state;
    static const char *const files[] = {"batch_input", "demo_batch_10", "synthetic_100"};
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        char path[4096];
        snprintf(path, sizeof path, DATA_DIR "/openai/batch/%s.jsonl", files[i]);
        FILE *file = fopen(path, "rb");
        if (file == NULL) {
            print_message("%s is absent: skipped\n", path);
            skip();
        }
        fclose(file);
        struct buffer text;
        file_read(path, &text);
        for (char *line = text.data; *line != '\0'; line += strlen(line) + 1) {
            line[strcspn(line, "\n")] = '\0'; // the files end with a newline, the buffer with a NUL
            if (*line != '\0') {              // a blank line is no record
                check_batch_line(fixture, line);
            }
        }
        buffer_close(&text);
    }
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_response_is_written_as_the_contract_says),
        TEST(a_plain_response_has_openais_members_only),
        TEST(a_plain_request_has_no_millrace_member),
        TEST(a_body_that_is_printed_over_lines_stays_one_line),
        TEST(millrace_fields_of_a_wrong_type_are_invalid_not_undecodable),
        TEST(a_wrong_field_does_not_cost_the_others),
        TEST(null_is_as_good_as_absent),
        TEST(integers_reach_both_ends),
        TEST(doubles_survive_and_are_short),
        TEST(a_line_of_openais_own_output_is_read),
        TEST(responses_that_are_none_are_refused),
        TEST(real_batch_files_are_read_with_their_bodies_untouched),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
