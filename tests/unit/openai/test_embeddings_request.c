/* The body of an embeddings request: what is read, what is refused. */
#include <stdlib.h>
#include <string.h>

#include "pipeline/openai/request.h"
#include "tests/support/cmocka.h"
#include "tests/support/request_fixture.h"

#define EMBEDDINGS(input) "{\"model\":\"m\",\"input\":" input

static void test_embeddings_take_texts_and_ids(void **state)
{
    struct request_fixture *fixture = *state;
    const struct openai_request *request = &fixture->request;
    assert_true(request_fixture_parse(fixture, ENDPOINT_EMBEDDINGS, EMBEDDINGS("\"one\"") "}"));
    assert_int_equal(request->prompts_count, 1);
    assert_false(request->wants_base64);
    assert_int_equal(request->dimensions, 0);
    assert_true(
        request_fixture_parse(fixture, ENDPOINT_EMBEDDINGS,
                              EMBEDDINGS("[\"a\",\"b\"]") ",\"encoding_format\":\"base64\","
                                                          "\"dimensions\":8,\"user\":\"u\"}"));
    assert_int_equal(request->prompts_count, 2);
    assert_true(request->wants_base64);
    assert_int_equal(request->dimensions, 8);
    assert_true(request_fixture_parse(fixture, ENDPOINT_EMBEDDINGS, EMBEDDINGS("[[1,2],[3]]") "}"));
    assert_int_equal(request->prompts[1].ids_count, 1);
}

static void test_embeddings_refuse_what_openai_refuses(void **state)
{
    struct request_fixture *fixture = *state;
    static const struct {
        const char *body;
        const char *param;
        const char *message;
    } rows[] = {
        {"{\"model\":\"m\"}", "input", "input is missing"},
        {EMBEDDINGS("\"\"") "}", "input", "input 0 is an empty string"},
        {EMBEDDINGS("[\"a\",\"\"]") "}", "input", "input 1 is an empty string"},
        {EMBEDDINGS("[]") "}", "input", "must have 1 to"},
        {EMBEDDINGS("{}") "}", "input", "must be a string"},
        {EMBEDDINGS("\"a\"") ",\"dimensions\":0}", "dimensions", "must be from 1 to"},
        {EMBEDDINGS("\"a\"") ",\"encoding_format\":\"int8\"}", "encoding_format",
         "must be 'float' or 'base64'"},
        {EMBEDDINGS("\"a\"") ",\"encoding_format\":1}", "encoding_format", "must be a string"},
        {EMBEDDINGS("\"a\"") ",\"temperature\":1}", NULL, "is not a parameter"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (request_fixture_parse(fixture, ENDPOINT_EMBEDDINGS, rows[i].body)) {
            fail_msg("accepted: %s", rows[i].body);
        }
        if (strstr(fixture->error.message, rows[i].message) == NULL) {
            fail_msg("\"%s\" does not say \"%s\"", fixture->error.message, rows[i].message);
        }
        assert_true(rows[i].param == NULL ? fixture->error.param == NULL
                                          : strcmp(fixture->error.param, rows[i].param) == 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_embeddings_take_texts_and_ids, request_fixture_setup,
                                        request_fixture_teardown),
        cmocka_unit_test_setup_teardown(test_embeddings_refuse_what_openai_refuses,
                                        request_fixture_setup, request_fixture_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
