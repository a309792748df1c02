/* prompt_fit with the demo model's folder. */
#include "tests/support/cmocka.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "worker/prompt_fit.h"

#define FOLDER SOURCE_DIR "/deploy/demo/scribe"

static bool check_chat(struct prompt_fit *fit, const char *content, struct error *error)
{
    size_t size = strlen(content) + 200;
    char *body = malloc(size);
    assert_non_null(body);
    (void)snprintf(body, size,
                   "{\"model\":\"scribe\",\"messages\":[{\"role\":\"user\",\"content\":\"%s\"}],"
                   "\"max_tokens\":8}",
                   content);
    struct inference_request request = {.custom_id = bytes_of("a"),
                                        .url = bytes_of("/v1/chat/completions"),
                                        .body = bytes_of(body)};
    bool fits = prompt_fit_check(fit, &request, error);
    free(body);
    return fits;
}

static void test_a_short_prompt_fits_and_a_long_one_does_not(void **state)
{
    (void)state;
    struct prompt_fit *fit = NULL;
    struct error error = {0};
    if (!prompt_fit_open(FOLDER, &fit, &error)) {
        fail_msg("%s", error.message);
    }
    assert_true(check_chat(fit, "Silver Creek Glass delivered 520 wooden pallets.", &error));
    char *text = calloc(1, 100001);
    assert_non_null(text);
    for (int i = 0; i < 100000; i += 10) {
        memcpy(text + i, "x9 q7 w5k ", 10);
    }
    assert_false(check_chat(fit, text, &error));
    assert_string_equal(error.code, "context_length_exceeded");
    free(text);
    prompt_fit_close(fit);
}

/* A prompt of `count` token ids and max_tokens 24. */
static bool check_ids(struct prompt_fit *fit, int count, struct error *error)
{
    char body[8192];
    int size = snprintf(body, sizeof body, "{\"model\":\"scribe\",\"max_tokens\":24,\"prompt\":[5");
    for (int i = 1; i < count; i++) {
        size += snprintf(body + size, sizeof body - (size_t)size, ",5");
    }
    (void)snprintf(body + size, sizeof body - (size_t)size, "]}");
    struct inference_request request = {
        .custom_id = bytes_of("a"), .url = bytes_of("/v1/completions"), .body = bytes_of(body)};
    return prompt_fit_check(fit, &request, error);
}

static void test_one_token_id_too_many_does_not_fit(void **state)
{
    (void)state;
    struct prompt_fit *fit = NULL;
    struct error error = {0};
    assert_true(prompt_fit_open(FOLDER, &fit, &error));
    assert_true(check_ids(fit, 1000, &error)); // the context of scribe: 1024 tokens
    assert_false(check_ids(fit, 1001, &error));
    assert_string_equal(error.message,
                        "prompt and max_tokens need 1025 tokens, the context has 1024");
    prompt_fit_close(fit);
}

static void test_a_request_that_is_wrong_is_told(void **state)
{
    (void)state;
    struct prompt_fit *fit = NULL;
    struct error error = {0};
    assert_true(prompt_fit_open(FOLDER, &fit, &error));
    struct inference_request request = {.url = bytes_of("/v1/chat/completions"),
                                        .body = bytes_of("{\"model\":\"m\"}")};
    assert_false(prompt_fit_check(fit, &request, &error));
    assert_int_equal(error.kind, ERROR_INVALID);
    request.url = bytes_of("/v1/images");
    assert_false(prompt_fit_check(fit, &request, &error));
    assert_string_equal(error.code, "unknown_url");
    prompt_fit_close(fit);
}

static void test_a_folder_without_a_model_is_an_error(void **state)
{
    (void)state;
    struct prompt_fit *fit = NULL;
    struct error error = {0};
    assert_false(prompt_fit_open("/nowhere", &fit, &error));
    assert_int_equal(error.kind, ERROR_CONFIG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_short_prompt_fits_and_a_long_one_does_not),
        cmocka_unit_test(test_one_token_id_too_many_does_not_fit),
        cmocka_unit_test(test_a_request_that_is_wrong_is_told),
        cmocka_unit_test(test_a_folder_without_a_model_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
