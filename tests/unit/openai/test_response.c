/* response: bodies as OpenAI's, read back by jansson, which is strict about JSON and UTF-8. */
#include "pipeline/openai/response.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "tests/support/cmocka.h"

static json_t *parse(struct buffer *buffer)
{
    assert_false(buffer_failed(buffer));
    json_error_t fault;
    json_t *root = json_loadb(buffer->data, buffer->size, JSON_ALLOW_NUL, &fault);
    if (root == NULL) {
        fail_msg("%s in %s", fault.text, buffer->data);
    }
    buffer_close(buffer);
    return root;
}

static json_t *write_response(const struct openai_response *response)
{
    struct buffer buffer;
    buffer_init(&buffer, 1 << 20);
    openai_response_write(response, &buffer);
    return parse(&buffer);
}

/* Compares with `wanted`, written with ' for ". */
static void assert_json(json_t *root, const char *wanted)
{
    char text[4096];
    snprintf(text, sizeof text, "%s", wanted);
    for (char *c = text; *c != '\0'; c++) {
        *c = *c == '\'' ? '"' : *c;
    }
    json_t *expected = json_loads(text, 0, NULL);
    assert_non_null(expected);
    if (!json_equal(root, expected)) {
        json_dumpf(root, stderr, 0);
        fail_msg(" is not %s", text);
    }
    json_decref(expected);
    json_decref(root);
}

static const struct usage usage = {.prompt_tokens = 7, .cached_tokens = 4, .completion_tokens = 3};

static void test_writes_a_chat_completion(void **state)
{
    (void)state;
    const struct openai_choice choices[] = {{bytes_of("Hi"), "stop", NULL, 0},
                                            {bytes_of(""), "length", NULL, 0}};
    const struct openai_response response = {.endpoint = ENDPOINT_CHAT,
                                             .id = bytes_of("t-0-5"),
                                             .created = 1700000000,
                                             .model = bytes_of("scribe"),
                                             .choices = choices,
                                             .choices_count = 2,
                                             .usage = usage};
    assert_json(write_response(&response),
                "{'id':'chatcmpl-t-0-5','object':'chat.completion','created':1700000000,"
                "'model':'scribe','choices':["
                "{'index':0,'message':{'role':'assistant','content':'Hi','refusal':null},"
                "'logprobs':null,'finish_reason':'stop'},"
                "{'index':1,'message':{'role':'assistant','content':'','refusal':null},"
                "'logprobs':null,'finish_reason':'length'}],"
                "'usage':{'prompt_tokens':7,'completion_tokens':3,'total_tokens':10,"
                "'prompt_tokens_details':{'cached_tokens':4}}}");
}

static const struct openai_token_logprob logprobs[] = {
    {{"\xC3", 1}, -0.5}, {{"\xA9", 1}, -INFINITY}, {{" b", 2}, -0.125}};

static void test_writes_logprobs_of_chat(void **state)
{
    (void)state;
    const struct openai_choice choice = {bytes_of("\xC3\xA9 b"), "stop", logprobs, 3};
    const struct openai_response response = {.endpoint = ENDPOINT_CHAT,
                                             .id = bytes_of("x"),
                                             .model = bytes_of("m"),
                                             .choices = &choice,
                                             .choices_count = 1};
    json_t *root = write_response(&response);
    json_t *written =
        json_object_get(json_array_get(json_object_get(root, "choices"), 0), "logprobs");
    assert_json(json_incref(written),
                "{'content':["
                "{'token':'\xEF\xBF\xBD','logprob':-0.5,'bytes':[195],'top_logprobs':[]},"
                "{'token':'\xEF\xBF\xBD','logprob':-9999,'bytes':[169],'top_logprobs':[]},"
                "{'token':' b','logprob':-0.125,'bytes':[32,98],'top_logprobs':[]}],"
                "'refusal':null}");
    json_decref(root);
}

static void test_writes_a_text_completion_with_logprobs(void **state)
{
    (void)state;
    const struct openai_choice choice = {bytes_of("\xC3\xA9 b"), "length", logprobs, 3};
    const struct openai_response response = {.endpoint = ENDPOINT_COMPLETIONS,
                                             .id = bytes_of("x"),
                                             .created = 5,
                                             .model = bytes_of("m"),
                                             .fingerprint = bytes_of("fp_1"),
                                             .choices = &choice,
                                             .choices_count = 1,
                                             .usage = usage};
    assert_json(write_response(&response),
                "{'id':'cmpl-x','object':'text_completion','created':5,'model':'m','choices':["
                "{'index':0,'text':'\xC3\xA9 b','logprobs':{"
                "'tokens':['\xEF\xBF\xBD','\xEF\xBF\xBD',' b'],"
                "'token_logprobs':[-0.5,-9999,-0.125],'text_offset':[0,1,1],"
                "'top_logprobs':[{'\xEF\xBF\xBD':-0.5},{'\xEF\xBF\xBD':-9999},{' b':-0.125}]},"
                "'finish_reason':'length'}],"
                "'usage':{'prompt_tokens':7,'completion_tokens':3,'total_tokens':10,"
                "'prompt_tokens_details':{'cached_tokens':4}},'system_fingerprint':'fp_1'}");
}

/* Each row's bytes go through a response's content and come back as `wanted`. */
static void test_escapes_and_replaces_any_bytes(void **state)
{
    (void)state;
    static const struct {
        struct bytes text, wanted;
    } rows[] = {
#define ROW(text, wanted)                                                                          \
    {                                                                                              \
        {text, sizeof text - 1},                                                                   \
        {                                                                                          \
            wanted, sizeof wanted - 1                                                              \
        }                                                                                          \
    }
        ROW("", ""),
        ROW("a\"b\\c/\n\r\t\b\f\x01\x1F\x7F", "a\"b\\c/\n\r\t\b\f\x01\x1F\x7F"),
        ROW("nul\0nul", "nul\0nul"),
        ROW("\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80", "\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80"),
        ROW("\xEF\xBF\xBF\xF4\x8F\xBF\xBF", "\xEF\xBF\xBF\xF4\x8F\xBF\xBF"),
        ROW("a\xF0\x9F\x98", "a\xEF\xBF\xBD"),                       // cut: one
        ROW("\xF0\x9F\x98z", "\xEF\xBF\xBDz"),                       // cut, then more
        ROW("\xC0\xAF", "\xEF\xBF\xBD\xEF\xBF\xBD"),                 // overlong
        ROW("\xED\xA0\x80", "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD"), // surrogate
        ROW("\xF4\x90\x80\x80", "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD"),
        ROW("\x80\xFF", "\xEF\xBF\xBD\xEF\xBF\xBD"),
        ROW("\xE2\xE2\x82\xAC", "\xEF\xBF\xBD\xE2\x82\xAC"),
#undef ROW
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const struct openai_choice choice = {rows[i].text, "stop", NULL, 0};
        const struct openai_response response = {.endpoint = ENDPOINT_COMPLETIONS,
                                                 .id = bytes_of("x"),
                                                 .model = bytes_of("m"),
                                                 .choices = &choice,
                                                 .choices_count = 1};
        json_t *root = write_response(&response);
        json_t *text = json_object_get(json_array_get(json_object_get(root, "choices"), 0), "text");
        struct bytes got = {json_string_value(text), json_string_length(text)};
        if (!bytes_equal(got, rows[i].wanted)) {
            fail_msg("row %zu gave %s", i, got.data);
        }
        json_decref(root);
    }
}

static void test_writes_vectors_as_numbers_and_as_base64(void **state)
{
    (void)state;
    const float vectors[2][2] = {{1, -0.5f}, {0.1f, -1e-5f}};
    const float *rows[2] = {vectors[0], vectors[1]};
    struct openai_embeddings embeddings = {.model = bytes_of("m"),
                                           .vectors = rows,
                                           .count = 2,
                                           .width = 2,
                                           .usage = {.prompt_tokens = 7}};
    struct buffer buffer;
    buffer_init(&buffer, 4096);
    openai_embeddings_write(&embeddings, &buffer);
    assert_json(parse(&buffer),
                "{'object':'list','data':[{'object':'embedding','index':0,'embedding':[1,-0.5]},"
                "{'object':'embedding','index':1,'embedding':[0.100000001,-9.99999975e-06]}],"
                "'model':'m','usage':{'prompt_tokens':7,'total_tokens':7}}");
    buffer_init(&buffer, 4096);
    embeddings.is_base64 = true;
    embeddings.count = 1;
    openai_embeddings_write(&embeddings, &buffer);
    assert_json(parse(&buffer), "{'object':'list','data':[{'object':'embedding','index':0,"
                                "'embedding':'AACAPwAAAL8='}],"
                                "'model':'m','usage':{'prompt_tokens':7,'total_tokens':7}}");
    buffer_init(&buffer, 4096);
    embeddings.width = 1;
    openai_embeddings_write(&embeddings, &buffer);
    assert_json(parse(&buffer), "{'object':'list','data':[{'object':'embedding','index':0,"
                                "'embedding':'AACAPw=='}],"
                                "'model':'m','usage':{'prompt_tokens':7,'total_tokens':7}}");
}

static void test_writes_an_error_object(void **state)
{
    (void)state;
    struct error error = {0};
    error_set(&error, ERROR_NOT_FOUND, "model_not_found", "model", "no model '%s'", "\"x\xFF");
    struct buffer buffer;
    buffer_init(&buffer, 4096);
    openai_error_write(&error, &buffer);
    assert_json(parse(&buffer), "{'error':{'message':'no model \\u0027\\u0022x?\\u0027',"
                                "'type':'invalid_request_error','param':'model',"
                                "'code':'model_not_found'}}");
    error_set(&error, ERROR_INTERNAL, NULL, NULL, "broken");
    openai_error_write(&error, &buffer);
    assert_json(parse(&buffer), "{'error':{'message':'broken','type':'server_error','param':null,"
                                "'code':null}}");
}

static void test_a_full_buffer_fails(void **state)
{
    (void)state;
    const struct openai_choice choice = {bytes_of("Hi"), "stop", NULL, 0};
    const struct openai_response response = {.endpoint = ENDPOINT_CHAT,
                                             .id = bytes_of("x"),
                                             .model = bytes_of("m"),
                                             .choices = &choice,
                                             .choices_count = 1};
    struct buffer buffer;
    buffer_init(&buffer, 40);
    openai_response_write(&response, &buffer);
    assert_true(buffer_failed(&buffer));
    buffer_close(&buffer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_writes_a_chat_completion),
        cmocka_unit_test(test_writes_logprobs_of_chat),
        cmocka_unit_test(test_writes_a_text_completion_with_logprobs),
        cmocka_unit_test(test_escapes_and_replaces_any_bytes),
        cmocka_unit_test(test_writes_vectors_as_numbers_and_as_base64),
        cmocka_unit_test(test_writes_an_error_object),
        cmocka_unit_test(test_a_full_buffer_fails),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
