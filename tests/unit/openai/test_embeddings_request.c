/* The body of an embeddings request: what is read, what is refused. */
#include <stdlib.h>
#include <string.h>

#include "pipeline/openai/request.h"
#include "tests/support/cmocka.h"

#define EMBEDDINGS(input) "{\"model\":\"m\",\"input\":" input

struct fixture {
    struct arena *arena;
    struct openai_request request;
    struct error error;
};

static int setup(void **state)
{
    struct fixture *fixture = calloc(1, sizeof *fixture);
    assert_non_null(fixture);
    fixture->arena = arena_open(1 << 20);
    assert_non_null(fixture->arena);
    *state = fixture;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;
    openai_request_close(&fixture->request);
    arena_close(fixture->arena);
    free(fixture);
    return 0;
}

static bool parse(struct fixture *fixture, const char *body)
{
    openai_request_close(&fixture->request);
    fixture->error = (struct error){0};
    return openai_request_parse(ENDPOINT_EMBEDDINGS, bytes_of(body), fixture->arena,
                                &fixture->request, &fixture->error);
}

static void test_embeddings_take_texts_and_ids(void **state)
{
    struct fixture *fixture = *state;
    const struct openai_request *request = &fixture->request;
    assert_true(parse(fixture, EMBEDDINGS("\"one\"") "}"));
    assert_int_equal(request->prompts_count, 1);
    assert_false(request->wants_base64);
    assert_int_equal(request->dimensions, 0);
    assert_true(parse(fixture, EMBEDDINGS("[\"a\",\"b\"]") ",\"encoding_format\":\"base64\","
                                                           "\"dimensions\":8,\"user\":\"u\"}"));
    assert_int_equal(request->prompts_count, 2);
    assert_true(request->wants_base64);
    assert_int_equal(request->dimensions, 8);
    assert_true(parse(fixture, EMBEDDINGS("[[1,2],[3]]") "}"));
    assert_int_equal(request->prompts[1].ids_count, 1);
}

static void test_embeddings_refuse_what_openai_refuses(void **state)
{
    struct fixture *fixture = *state;
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
        if (parse(fixture, rows[i].body)) {
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
        cmocka_unit_test_setup_teardown(test_embeddings_take_texts_and_ids, setup, teardown),
        cmocka_unit_test_setup_teardown(test_embeddings_refuse_what_openai_refuses, setup,
                                        teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
