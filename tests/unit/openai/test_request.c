/* request: what is taken, what is refused, and that a refusal names the parameter and the limit. */
#include "pipeline/openai/request.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "pipeline/openai/parse_memory.h"
#include "tests/support/cmocka.h"
#include "tests/support/request_fixture.h"

#define DESCRIPTION DATA_DIR "/openai/openapi/openapi.json"

#define CHAT_START "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]"
#define TEXT_START "{\"model\":\"m\",\"prompt\":\"hi\""
#define MESSAGE_START "{\"model\":\"m\",\"messages\":["

/* How `text` becomes a body. */
enum shape {
    CHAT,     // one more member of a good chat request
    TEXT,     // one more member of a good completions request
    PROMPT,   // the value of prompt
    MESSAGE,  // the only message
    BODY,     // the whole body of a chat request
    TEXTBODY, // the whole body of a completions request
};

struct refusal {
    enum shape shape;
    const char *text;
    const char *code;
    const char *param;
    const char *part; // of the message: the limit
};

static const struct refusal refusals[] = {
    {BODY, "", "invalid_json", NULL, "valid JSON"},
    {BODY, "{\"model\":", "invalid_json", NULL, "at byte"},
    {BODY, "[]", "invalid_json", NULL, "is an array, must be a JSON object"},
    {BODY, "{\"model\":\"\xFF\"}", "invalid_json", NULL, "UTF-8"},
    {BODY, "{\"model\":\"\\ud800\"}", "invalid_json", NULL, "at byte"},
    {BODY, "{}", "missing_required_parameter", "model", "model is missing"},
    {BODY, "{\"model\":null}", "missing_required_parameter", "model", "required"},
    {BODY, "{\"model\":\"m\"}", "missing_required_parameter", "messages", "messages is missing"},
    {BODY, "{\"model\":7}", "invalid_type", "model", "an integer, must be a string"},
    {BODY, "{\"model\":\"\"}", "invalid_value", "model", "1 to 256"},
    {BODY, "{\"model\":\"m\",\"messages\":{}}", "invalid_type", "messages", "must be an array"},
    {BODY, "{\"model\":\"m\",\"messages\":[]}", "invalid_value", "messages", "1 to 2048"},
    {TEXTBODY, "{\"model\":\"m\"}", "missing_required_parameter", "prompt", "prompt is missing"},
    {CHAT, "\"frobnicate\":1", "unknown_parameter", NULL, "'frobnicate'"},
    {CHAT, "\"prompt\":\"x\"", "unknown_parameter", NULL, "'prompt'"},
    {CHAT, "\"best_of\":1", "unknown_parameter", NULL, "'best_of'"},
    {TEXT, "\"messages\":[]", "unknown_parameter", NULL, "'messages'"},
    {TEXT, "\"tools\":[]", "unknown_parameter", NULL, "'tools'"},
    {TEXT, "\"top_logprobs\":0", "unknown_parameter", NULL, "'top_logprobs'"},

    {CHAT, "\"n\":0", "invalid_value", "n", "from 1 to 128"},
    {CHAT, "\"n\":129", "invalid_value", "n", "from 1 to 128"},
    {CHAT, "\"n\":1.0", "invalid_type", "n", "must be an integer"},
    {CHAT, "\"max_tokens\":0", "invalid_value", "max_tokens", "from 1 to 2147483647"},
    {CHAT, "\"max_tokens\":2147483648", "invalid_value", "max_tokens", "2147483647"},
    {CHAT, "\"max_tokens\":\"5\"", "invalid_type", "max_tokens", "a string, must be an integer"},
    {CHAT, "\"max_completion_tokens\":-1", "invalid_value", "max_completion_tokens", "from 1"},
    {CHAT, "\"max_tokens\":5,\"max_completion_tokens\":6", "invalid_value", "max_completion_tokens",
     "is 6 and max_tokens is 5"},
    {CHAT, "\"temperature\":2.01", "invalid_value", "temperature", "at least 0 and at most 2"},
    {CHAT, "\"temperature\":-0.1", "invalid_value", "temperature", "at least 0 and at most 2"},
    {CHAT, "\"temperature\":\"1\"", "invalid_type", "temperature", "must be a number"},
    {CHAT, "\"temperature\":true", "invalid_type", "temperature", "a boolean"},
    {CHAT, "\"top_p\":0", "invalid_value", "top_p", "over 0 and at most 1"},
    {CHAT, "\"top_p\":1.1", "invalid_value", "top_p", "over 0 and at most 1"},
    {CHAT, "\"frequency_penalty\":-2.1", "invalid_value", "frequency_penalty", "at least -2"},
    {CHAT, "\"presence_penalty\":2.1", "invalid_value", "presence_penalty", "at most 2"},
    {CHAT, "\"seed\":1.5", "invalid_type", "seed", "64 bits"},
    {CHAT, "\"seed\":9223372036854775808", "invalid_json", NULL, "at byte"},
    {CHAT, "\"stop\":5", "invalid_type", "stop", "a string or an array of strings"},
    {CHAT, "\"stop\":\"\"", "invalid_value", "stop", "1 to 1024"},
    {CHAT, "\"stop\":[\"a\",7]", "invalid_type", "stop", "stop[1] is an integer"},
    {CHAT,
     "\"stop\":[\"1\",\"2\",\"3\",\"4\",\"5\",\"6\",\"7\",\"8\",\"9\",\"10\",\"11\",\"12\",\"13\","
     "\"14\",\"15\",\"16\",\"17\"]",
     "invalid_value", "stop", "17 strings, must have at most 16"},
    {CHAT, "\"logprobs\":1", "invalid_type", "logprobs", "must be a boolean"},
    {CHAT, "\"user\":1", "unsupported_value", "user", "must be a string"},
    {CHAT, "\"metadata\":[]", "unsupported_value", "metadata", "must be an object"},
    {CHAT, "\"store\":1", "unsupported_value", "store", "must be a boolean"},
    {CHAT, "\"stream\":true", "unsupported_value", "stream", "only false is supported"},
    {TEXT, "\"stream\":true", "unsupported_value", "stream", "only false is supported"},
    {CHAT, "\"stream_options\":{}", "unsupported_parameter", "stream_options", "with stream"},
    {CHAT, "\"response_format\":{\"type\":\"json_object\"}", "unsupported_value", "response_format",
     "only {\"type\": \"text\"}"},
    {CHAT, "\"response_format\":{\"type\":\"json_schema\",\"json_schema\":{}}", "unsupported_value",
     "response_format", "only {\"type\": \"text\"}"},
    {CHAT, "\"modalities\":[\"text\",\"audio\"]", "unsupported_value", "modalities", "[\"text\"]"},
    {CHAT, "\"functions\":[{}]", "unsupported_value", "functions", "the limit is 0"},
    {CHAT, "\"tool_choice\":\"required\"", "unsupported_value", "tool_choice", "'none' or 'auto'"},
    {CHAT, "\"tool_choice\":{}", "unsupported_value", "tool_choice", "'none' or 'auto'"},
    {CHAT, "\"function_call\":{}", "unsupported_value", "function_call", "'none' or 'auto'"},
    {CHAT, "\"logit_bias\":{\"5\":1}", "unsupported_value", "logit_bias", "empty object"},
    {CHAT, "\"top_logprobs\":2", "unsupported_value", "top_logprobs", "is 2: alternatives"},
    {CHAT, "\"reasoning_effort\":\"low\"", "unsupported_value", "reasoning_effort", "only 'none'"},
    {CHAT, "\"verbosity\":\"high\"", "unsupported_value", "verbosity", "only 'medium'"},
    {CHAT, "\"audio\":{}", "unsupported_parameter", "audio", "not supported"},
    {CHAT, "\"web_search_options\":{}", "unsupported_parameter", "web_search_options", "not supp"},
    {CHAT, "\"moderation\":{}", "unsupported_parameter", "moderation", "not supported"},
    {CHAT, "\"top_k\":-2", "invalid_value", "top_k", "from -1"},
    {CHAT, "\"min_p\":1.5", "invalid_value", "min_p", "at most 1"},
    {CHAT, "\"repetition_penalty\":0", "invalid_value", "repetition_penalty", "over 0"},
    {CHAT, "\"ignore_eos\":1", "invalid_type", "ignore_eos", "must be a boolean"},
    {TEXT, "\"best_of\":2", "unsupported_value", "best_of", "the limit is 1"},
    {TEXT, "\"suffix\":\"x\"", "unsupported_value", "suffix", "must be empty"},
    {TEXT, "\"logprobs\":1", "unsupported_value", "logprobs", "the limit is 0"},
    {TEXT, "\"logprobs\":6", "invalid_value", "logprobs", "from 0 to 5"},
    {TEXT, "\"logprobs\":0,\"echo\":true", "unsupported_value", "echo", "together with logprobs"},

    {PROMPT, "5", "invalid_type", "prompt", "must be a string"},
    {PROMPT, "{}", "invalid_type", "prompt", "must be a string"},
    {PROMPT, "[]", "invalid_value", "prompt", "must have 1"},
    {PROMPT, "[[]]", "invalid_value", "prompt", "must have 1"},
    {PROMPT, "[\"a\",1]", "invalid_type", "prompt", "must be a string"},
    {PROMPT, "[1,\"a\"]", "invalid_type", "prompt", "must be a string"},
    {PROMPT, "[[1],\"a\"]", "invalid_type", "prompt", "must be a string"},
    {PROMPT, "[[[1]]]", "invalid_type", "prompt", "must be a string"},
    {PROMPT, "[1.5]", "invalid_type", "prompt", "must be a string"},
    {PROMPT, "[-1]", "invalid_value", "prompt", "from 0 to 2147483647"},
    {PROMPT, "[2147483648]", "invalid_value", "prompt", "from 0 to 2147483647"},
    {PROMPT, "[\"a\",\"b\"],\"n\":65", "invalid_value", "n", "at most 128"},

    {MESSAGE, "7", "invalid_type", "messages", "messages[0] must be an object"},
    {MESSAGE, "{\"content\":\"x\"}", "missing_required_parameter", "messages", "[0].role"},
    {MESSAGE, "{\"role\":\"robot\",\"content\":\"x\"}", "invalid_value", "messages",
     "'robot', must be system, developer"},
    {MESSAGE, "{\"role\":\"user\"}", "missing_required_parameter", "messages",
     ".content is absent"},
    {MESSAGE, "{\"role\":\"user\",\"content\":null}", "missing_required_parameter", "messages",
     ".content is absent"},
    {MESSAGE, "{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[]}",
     "missing_required_parameter", "messages", "only an assistant message with tool_calls"},
    {MESSAGE, "{\"role\":\"user\",\"content\":7}", "invalid_type", "messages",
     "array of text parts"},
    {MESSAGE, "{\"role\":\"user\",\"content\":[]}", "invalid_value", "messages",
     "must have a part"},
    {MESSAGE, "{\"role\":\"user\",\"content\":[7]}", "invalid_type", "messages", ".content[0]"},
    {MESSAGE, "{\"role\":\"user\",\"content\":[{\"type\":\"text\"}]}", "invalid_type", "messages",
     ".text must be a string"},
    {MESSAGE, "{\"role\":\"user\",\"content\":[{\"type\":\"image_url\",\"image_url\":{}}]}",
     "unsupported_value", "messages", "'image_url', only 'text'"},
    {MESSAGE, "{\"role\":\"user\",\"content\":\"x\",\"mood\":1}", "unknown_parameter", "messages",
     "'mood'"},
    {MESSAGE, "{\"role\":\"user\",\"content\":\"x\",\"tool_calls\":null}", "unknown_parameter",
     "messages", "a message of role user"},
    {MESSAGE, "{\"role\":\"user\",\"content\":\"x\",\"name\":\"\"}", "invalid_value", "messages",
     ".name must be"},
    {MESSAGE, "{\"role\":\"tool\",\"content\":\"x\"}", "missing_required_parameter", "messages",
     ".tool_call_id"},
    {MESSAGE, "{\"role\":\"assistant\",\"content\":\"x\",\"tool_calls\":[{}]}", "invalid_value",
     "messages", "\"arguments\": text"},
    {MESSAGE, "{\"role\":\"assistant\",\"content\":\"x\",\"tool_calls\":7}", "invalid_type",
     "messages", ".tool_calls must be an array"},
    {MESSAGE, "{\"role\":\"assistant\",\"content\":\"x\",\"function_call\":{}}",
     "unsupported_value", "messages", "tool_calls has its place"},
    {MESSAGE, "{\"role\":\"assistant\",\"content\":\"x\",\"audio\":{}}", "unsupported_value",
     "messages", "only text"},
    {MESSAGE, "{\"role\":\"assistant\",\"content\":\"x\",\"refusal\":7}", "invalid_type",
     "messages", ".refusal must be"},
};

static bool parse_shape(struct request_fixture *fixture, enum shape shape, const char *text)
{
    static const struct {
        enum openai_endpoint endpoint;
        const char *before, *after;
    } shapes[] = {
        [CHAT] = {ENDPOINT_CHAT, CHAT_START ",", "}"},
        [TEXT] = {ENDPOINT_COMPLETIONS, TEXT_START ",", "}"},
        [PROMPT] = {ENDPOINT_COMPLETIONS, "{\"model\":\"m\",\"prompt\":", "}"},
        [MESSAGE] = {ENDPOINT_CHAT, MESSAGE_START, "]}"},
        [BODY] = {ENDPOINT_CHAT, "", ""},
        [TEXTBODY] = {ENDPOINT_COMPLETIONS, "", ""},
    };
    char body[4096];
    int length =
        snprintf(body, sizeof body, "%s%s%s", shapes[shape].before, text, shapes[shape].after);
    assert_in_range(length, 0, sizeof body - 1);
    return request_fixture_parse(fixture, shapes[shape].endpoint, body);
}

static void test_refuses_with_code_parameter_and_limit(void **state)
{
    struct request_fixture *fixture = *state;
    for (size_t i = 0; i < sizeof refusals / sizeof refusals[0]; i++) {
        const struct refusal *row = &refusals[i];
        const struct error *error = &fixture->error;
        if (parse_shape(fixture, row->shape, row->text)) {
            fail_msg("%s was taken", row->text);
        }
        if (error->kind != ERROR_INVALID || error->code == NULL ||
            strcmp(error->code, row->code) != 0 || (row->param == NULL) != (error->param == NULL) ||
            (row->param != NULL && strcmp(error->param, row->param) != 0) ||
            strstr(error->message, row->part) == NULL) {
            fail_msg("%s gave kind %d code %s param %s: %s", row->text, (int)error->kind,
                     error->code, error->param == NULL ? "null" : error->param, error->message);
        }
    }
}

static void test_takes_what_changes_no_answer(void **state)
{
    static const struct {
        enum shape shape;
        const char *text;
    } rows[] = {
        {CHAT,
         "\"user\":\"u\",\"metadata\":{\"a\":\"b\"},\"store\":true,\"service_tier\":\"flex\""},
        {CHAT, "\"safety_identifier\":\"s\",\"prompt_cache_key\":\"k\",\"prediction\":{}"},
        {CHAT, "\"prompt_cache_retention\":\"24h\",\"prompt_cache_options\":{}"},
        {CHAT, "\"parallel_tool_calls\":true,\"tools\":[],\"tool_choice\":\"auto\""},
        {CHAT, "\"functions\":[],\"function_call\":\"none\",\"tool_choice\":\"none\""},
        {CHAT,
         "\"response_format\":{\"type\":\"text\"},\"logit_bias\":{},\"modalities\":[\"text\"]"},
        {CHAT, "\"stream\":false,\"top_logprobs\":0,\"reasoning_effort\":\"none\""},
        {CHAT, "\"verbosity\":\"medium\",\"audio\":null,\"stream_options\":null,\"stop\":null"},
        {CHAT, "\"temperature\":null,\"max_tokens\":null,\"n\":null,\"seed\":null,\"tools\":null"},
        {TEXT, "\"best_of\":1,\"suffix\":\"\",\"logit_bias\":null,\"user\":\"u\",\"echo\":false"},
        {CHAT, "\"stop\":[]"},
        {CHAT, "\"max_tokens\":5,\"max_completion_tokens\":5"},
    };
    struct request_fixture *fixture = *state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (!parse_shape(fixture, rows[i].shape, rows[i].text)) {
            fail_msg("%s: %s", rows[i].text, fixture->error.message);
        }
    }
}

static void test_fills_defaults(void **state)
{
    struct request_fixture *fixture = *state;
    const struct openai_request *request = &fixture->request;
    assert_true(request_fixture_parse(fixture, ENDPOINT_CHAT, CHAT_START "}"));
    assert_int_equal(request->endpoint, ENDPOINT_CHAT);
    assert_true(bytes_equal_text(request->model, "m"));
    assert_int_equal(json_array_size(request->messages), 1);
    assert_int_equal(request->n, 1);
    assert_int_equal(request->max_tokens, 0);
    assert_false(request->has_temperature || request->has_top_p || request->has_top_k ||
                 request->has_seed);
    assert_true(request->repetition_penalty == 1.0);
    assert_int_equal(request->stops_count, 0);
    assert_true(request_fixture_parse(fixture, ENDPOINT_COMPLETIONS, TEXT_START "}"));
    assert_int_equal(request->max_tokens, 16);
}

static void test_reads_every_supported_parameter(void **state)
{
    struct request_fixture *fixture = *state;
    const struct openai_request *request = &fixture->request;
    assert_true(parse_shape(
        fixture, CHAT,
        "\"n\":3,\"max_completion_tokens\":77,\"temperature\":0,\"top_p\":0.5,\"top_k\":40,"
        "\"min_p\":0.1,\"frequency_penalty\":-2,\"presence_penalty\":2,\"repetition_penalty\":1.5,"
        "\"seed\":-9223372036854775808,\"stop\":[\"a\\u0000b\",\"\\n\"],\"ignore_eos\":true,"
        "\"logprobs\":true"));
    assert_int_equal(request->n, 3);
    assert_int_equal(request->max_tokens, 77);
    assert_true(request->has_temperature && request->temperature == 0.0);
    assert_true(request->has_top_p && request->top_p == 0.5);
    assert_true(request->has_top_k && request->top_k == 40);
    assert_true(request->min_p == 0.1);
    assert_true(request->frequency_penalty == -2.0 && request->presence_penalty == 2.0);
    assert_true(request->repetition_penalty == 1.5);
    assert_true(request->has_seed && request->seed == (uint64_t)INT64_MIN);
    assert_int_equal(request->stops_count, 2);
    assert_true(bytes_equal(request->stops[0], (struct bytes){"a\0b", 3}));
    assert_true(bytes_equal_text(request->stops[1], "\n"));
    assert_true(request->ignore_eos && request->wants_logprobs);
    assert_true(parse_shape(fixture, TEXT, "\"logprobs\":0,\"top_k\":-1"));
    assert_true(request->wants_logprobs && request->has_top_k && request->top_k == 0);
    assert_true(parse_shape(fixture, TEXT, "\"echo\":true"));
    assert_true(request->wants_echo);
}

static struct bytes content_of(const struct openai_request *request, size_t index)
{
    const json_t *content = json_object_get(json_array_get(request->messages, index), "content");
    assert_true(json_is_string(content));
    return (struct bytes){json_string_value(content), json_string_length(content)};
}

static void test_content_arrives_byte_for_byte(void **state)
{
    struct request_fixture *fixture = *state;
    assert_true(parse_shape(
        fixture, MESSAGE, "{\"role\":\"user\",\"content\":\" \\u0000\xC3\xA9\\ud83d\\ude00\\n\"}"));
    const char wanted[] = " \0\xC3\xA9\xF0\x9F\x98\x80\n";
    assert_true(
        bytes_equal(content_of(&fixture->request, 0), (struct bytes){wanted, sizeof wanted - 1}));
}

static void test_text_parts_become_one_string(void **state)
{
    struct request_fixture *fixture = *state;
    assert_true(
        parse_shape(fixture, MESSAGE,
                    "{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"a\\u0000\"},"
                    "{\"type\":\"text\",\"text\":\"b\"}]}"));
    assert_true(bytes_equal(content_of(&fixture->request, 0), (struct bytes){"a\0\nb", 4}));
}

static void test_developer_becomes_system(void **state)
{
    struct request_fixture *fixture = *state;
    assert_true(
        parse_shape(fixture, MESSAGE, "{\"role\":\"developer\",\"content\":\"x\",\"name\":\"n\"}"));
    const json_t *message = json_array_get(fixture->request.messages, 0);
    assert_string_equal(json_string_value(json_object_get(message, "role")), "system");
    assert_string_equal(json_string_value(json_object_get(message, "name")), "n");
}

static void test_takes_a_conversation_with_tool_calls(void **state)
{
    struct request_fixture *fixture = *state;
    const char *text =
        "{\"role\":\"user\",\"content\":\"weather?\"},"
        "{\"role\":\"assistant\",\"content\":null,\"refusal\":null,\"annotations\":[],"
        "\"audio\":null,\"function_call\":null,\"tool_calls\":[{\"id\":\"c1\",\"type\":"
        "\"function\","
        "\"function\":{\"name\":\"f\",\"arguments\":\"{}\"}}]},"
        "{\"role\":\"tool\",\"tool_call_id\":\"c1\",\"content\":\"rain\"},"
        "{\"role\":\"assistant\",\"content\":\"rain\",\"tool_calls\":null}";
    assert_true(parse_shape(fixture, MESSAGE, text));
    assert_int_equal(json_array_size(fixture->request.messages), 4);
}

static void test_reads_every_form_of_prompt(void **state)
{
    struct request_fixture *fixture = *state;
    const struct openai_request *request = &fixture->request;
    assert_true(parse_shape(fixture, PROMPT, "\"\""));
    assert_int_equal(request->prompts_count, 1);
    assert_non_null(request->prompts[0].text.data);
    assert_int_equal(request->prompts[0].text.size, 0);
    assert_true(parse_shape(fixture, PROMPT, "[\"a\",\"b\\u0000\"]"));
    assert_int_equal(request->prompts_count, 2);
    assert_true(bytes_equal(request->prompts[1].text, (struct bytes){"b\0", 2}));
    assert_true(parse_shape(fixture, PROMPT, "[0,2147483647]"));
    assert_int_equal(request->prompts_count, 1);
    assert_null(request->prompts[0].text.data);
    assert_int_equal(request->prompts[0].ids_count, 2);
    assert_int_equal(request->prompts[0].ids[1], INT32_MAX);
    assert_true(parse_shape(fixture, PROMPT, "[[1],[2,3]],\"n\":64"));
    assert_int_equal(request->prompts_count, 2);
    assert_int_equal(request->prompts[1].ids[1], 3);
}

static void test_a_full_arena_is_a_request_too_large(void **state)
{
    struct request_fixture *fixture = *state;
    struct arena *small = arena_open(1);
    char body[4096] = "{\"model\":\"m\",\"prompt\":[1";
    size_t size = strlen(body);
    for (; size < sizeof body - 16; size += 2) {
        memcpy(body + size, ",1", 2);
    }
    memcpy(body + size, "]}", sizeof "]}");
    assert_false(openai_request_parse(ENDPOINT_COMPLETIONS, bytes_of(body), small,
                                      &fixture->request, &fixture->error));
    assert_int_equal(fixture->error.kind, ERROR_TOO_LARGE);
    assert_string_equal(fixture->error.param, "prompt");
    arena_close(small);
}

static void test_the_message_of_a_broken_body_does_not_quote_it(void **state)
{
    struct request_fixture *fixture = *state;
    assert_false(request_fixture_parse(fixture, ENDPOINT_CHAT, "{\"model\": secret}"));
    assert_null(strstr(fixture->error.message, "secret"));
}

static void test_depth_is_bounded(void **state)
{
    struct request_fixture *fixture = *state;
    enum { DEPTH = 100000 };
    char *body = malloc(DEPTH + 64);
    assert_non_null(body);
    int length = snprintf(body, 64, "{\"model\":\"m\",\"metadata\":");
    memset(body + length, '[', DEPTH);
    body[length + DEPTH] = '\0';
    assert_false(request_fixture_parse(fixture, ENDPOINT_CHAT, body));
    assert_string_equal(fixture->error.code, "invalid_json");
    free(body);
}

static void test_knows_the_endpoints_by_their_exact_urls(void **state)
{
    (void)state;
    assert_int_equal(openai_endpoint_of(bytes_of("/v1/chat/completions")), ENDPOINT_CHAT);
    assert_int_equal(openai_endpoint_of(bytes_of("/v1/completions")), ENDPOINT_COMPLETIONS);
    assert_int_equal(openai_endpoint_of(bytes_of("/v1/completions/")), ENDPOINT_NONE);
    assert_int_equal(openai_endpoint_of(bytes_of("/v1/embeddings")), ENDPOINT_EMBEDDINGS);
    assert_int_equal(openai_endpoint_of((struct bytes){0}), ENDPOINT_NONE);
    struct error error = {0};
    assert_false(openai_unknown_url(bytes_of("/v1/images"), &error));
    assert_string_equal(error.message, "url /v1/images is not served; use /v1/chat/completions or "
                                       "/v1/completions or /v1/embeddings");
    assert_false(openai_unknown_url((struct bytes){0}, &error));
    assert_non_null(strstr(error.message, "url (none) is not served"));
}

/* Batch files of others, as they are. */
static void test_takes_real_batch_files(void **state)
{
    struct request_fixture *fixture = *state;
    static const char *const paths[] = {DATA_DIR "/openai/batch/batch_input.jsonl",
                                        DATA_DIR "/openai/batch/demo_batch_10.jsonl",
                                        DATA_DIR "/openai/batch/synthetic_100.jsonl"};
    int lines = 0;
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
        if (access(paths[i], R_OK) != 0) {
            print_message("skipped: %s is absent\n", paths[i]);
            skip();
        }
        FILE *file = fopen(paths[i], "rb");
        assert_non_null(file);
        json_t *line;
        while ((line = json_loadf(file, JSON_DISABLE_EOF_CHECK, NULL)) != NULL) {
            char *body = json_dumps(json_object_get(line, "body"), 0);
            assert_non_null(body);
            if (!request_fixture_parse(fixture, ENDPOINT_CHAT, body)) {
                fail_msg("%s: %s", body, fixture->error.message);
            }
            free(body);
            json_decref(line);
            lines++;
        }
        assert_int_equal(fclose(file), 0);
    }
    assert_true(lines > 100);
}

/* Every member that OpenAI's description gives a request is known to the table. */
static void test_knows_every_parameter_of_the_openai_description(void **state)
{
    struct request_fixture *fixture = *state;
    if (access(DESCRIPTION, R_OK) != 0) {
        print_message("skipped: %s is absent\n", DESCRIPTION);
        skip();
    }
    // As reals, since the bounds of seed are rounded there and do not fit 64 bits.
    json_t *description = json_load_file(DESCRIPTION, JSON_DECODE_INT_AS_REAL, NULL);
    assert_non_null(description);
    json_t *schemas = json_object_get(json_object_get(description, "components"), "schemas");
    static const struct {
        const char *schema;
        enum shape shape;
    } sources[] = {{"CreateChatCompletionRequest", CHAT},
                   {"CreateCompletionRequest", TEXT},
                   {"CreateModelResponseProperties", CHAT},
                   {"ModelResponseProperties", CHAT}};
    int known = 0;
    for (size_t i = 0; i < sizeof sources / sizeof sources[0]; i++) {
        json_t *schema = json_object_get(schemas, sources[i].schema);
        assert_non_null(schema);
        json_t *parts = json_object_get(schema, "allOf");
        for (size_t j = 0; j <= json_array_size(parts); j++) {
            json_t *part = j == json_array_size(parts) ? schema : json_array_get(parts, j);
            const char *name;
            json_t *value;
            json_object_foreach (json_object_get(part, "properties"), name, value) {
                char text[128];
                snprintf(text, sizeof text, "\"%s\":null", name);
                bool ok = parse_shape(fixture, sources[i].shape, text);
                if (!ok && strcmp(fixture->error.code, "unknown_parameter") == 0) {
                    fail_msg("%s: %s", name, fixture->error.message);
                }
                known++;
            }
        }
    }
    assert_true(known > 40);
    json_decref(description);
}

static int allocations_left = -1; // before the one that fails

static void *allocate(size_t size)
{
    return allocations_left >= 0 && allocations_left-- == 0 ? NULL : malloc(size);
}

/* jansson would go on without the characters that it found no memory for. */
static void test_memory_that_is_short_is_never_blamed_on_the_body(void **state)
{
    (void)state;
    const char *text = "a content that is long enough for a buffer to grow a few times, with more "
                       "words behind it, so that one of them would be missing";
    char body[512];
    (void)snprintf(body, sizeof body,
                   "{\"model\":\"a-model-with-a-longer-name\",\"messages\":[{"
                   "\"role\":\"user\",\"content\":\"%s\"}]}",
                   text);
    parse_memory_watch(allocate);
    bool is_parsed = false;
    for (int n = 0; !is_parsed && n < 1000; n++) {
        struct openai_request request;
        struct error error = {0};
        struct arena *arena = arena_open(1 << 20);
        allocations_left = n;
        is_parsed = openai_request_parse(ENDPOINT_CHAT, bytes_of(body), arena, &request, &error);
        bool has_failed = allocations_left < 0;
        allocations_left = -1;
        assert_int_equal(is_parsed, !has_failed);
        if (is_parsed) {
            const json_t *message = json_array_get(request.messages, 0);
            assert_string_equal(json_string_value(json_object_get(message, "content")), text);
        } else {
            assert_int_equal(error.kind, ERROR_INTERNAL);
            assert_string_equal(error.code, "out_of_memory");
        }
        openai_request_close(&request);
        arena_close(arena);
    }
    assert_true(is_parsed);
    parse_memory_watch(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_refuses_with_code_parameter_and_limit,
                                        request_fixture_setup, request_fixture_teardown),
        cmocka_unit_test_setup_teardown(test_takes_what_changes_no_answer, request_fixture_setup,
                                        request_fixture_teardown),
        cmocka_unit_test_setup_teardown(test_fills_defaults, request_fixture_setup,
                                        request_fixture_teardown),
        cmocka_unit_test_setup_teardown(test_reads_every_supported_parameter, request_fixture_setup,
                                        request_fixture_teardown),
        cmocka_unit_test_setup_teardown(test_content_arrives_byte_for_byte, request_fixture_setup,
                                        request_fixture_teardown),
        cmocka_unit_test_setup_teardown(test_text_parts_become_one_string, request_fixture_setup,
                                        request_fixture_teardown),
        cmocka_unit_test_setup_teardown(test_developer_becomes_system, request_fixture_setup,
                                        request_fixture_teardown),
        cmocka_unit_test_setup_teardown(test_takes_a_conversation_with_tool_calls,
                                        request_fixture_setup, request_fixture_teardown),
        cmocka_unit_test_setup_teardown(test_reads_every_form_of_prompt, request_fixture_setup,
                                        request_fixture_teardown),
        cmocka_unit_test_setup_teardown(test_a_full_arena_is_a_request_too_large,
                                        request_fixture_setup, request_fixture_teardown),
        cmocka_unit_test_setup_teardown(test_the_message_of_a_broken_body_does_not_quote_it,
                                        request_fixture_setup, request_fixture_teardown),
        cmocka_unit_test(test_memory_that_is_short_is_never_blamed_on_the_body),
        cmocka_unit_test_setup_teardown(test_depth_is_bounded, request_fixture_setup,
                                        request_fixture_teardown),
        cmocka_unit_test_setup_teardown(test_knows_the_endpoints_by_their_exact_urls,
                                        request_fixture_setup, request_fixture_teardown),
        cmocka_unit_test_setup_teardown(test_takes_real_batch_files, request_fixture_setup,
                                        request_fixture_teardown),
        cmocka_unit_test_setup_teardown(test_knows_every_parameter_of_the_openai_description,
                                        request_fixture_setup, request_fixture_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
