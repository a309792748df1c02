/* The tools of a chat request: what is taken, what is refused, what the template sees. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pipeline/openai/request.h"
#include "tests/support/cmocka.h"

#define CHAT "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],"
#define TOOL(function) "\"tools\":[{\"type\":\"function\",\"function\":{" function "}}]"

/* What a template would see of a body, as JSON; the caller's. NULL: refused. */
static char *variables_of(const char *body, struct error *error)
{
    struct arena *arena = arena_open(1 << 20);
    struct openai_request request;
    char *text = NULL;
    *error = (struct error){0};
    assert_non_null(arena);
    if (openai_request_parse(ENDPOINT_CHAT, bytes_of(body), arena, &request, error)) {
        json_t *variables = openai_template_variables(&request);
        text = json_dumps(variables, JSON_COMPACT);
        json_decref(variables);
    }
    openai_request_close(&request);
    arena_close(arena);
    return text;
}

static void check(const char *members, const char *wanted)
{
    char body[1024];
    char expected[1024];
    struct error error;
    (void)snprintf(body, sizeof body, CHAT "%s}", members);
    (void)snprintf(expected, sizeof expected,
                   "{\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],"
                   "\"add_generation_prompt\":true%s}",
                   wanted);
    char *text = variables_of(body, &error);
    if (text == NULL) {
        fail_msg("%s", error.message);
    }
    assert_string_equal(text, expected);
    free(text);
}

static void test_tools_reach_the_template_as_they_came(void **state)
{
    (void)state;
#define TOOLS TOOL("\"name\":\"a-B_1\",\"parameters\":{\"z\":1,\"a\":[]},\"strict\":false")
    check(TOOLS, "," TOOLS);
    check("\"tool_choice\":\"auto\"," TOOLS, "," TOOLS);
#undef TOOLS
}

static void test_without_tools_the_template_sees_none(void **state)
{
    (void)state;
    check("\"tools\":[]", "");
    check("\"tools\":null", "");
    check("\"tool_choice\":\"none\"," TOOL("\"name\":\"a\""), "");
}

static void test_response_format_reaches_the_template(void **state)
{
    (void)state;
    check("\"response_format\":{\"type\":\"text\"}", ",\"response_format\":{\"type\":\"text\"}");
}

static void test_broken_tools_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *members;
        const char *message;
    } rows[] = {
        {"\"tools\":{}", "tools is an object, must be an array"},
        {"\"tools\":[{}]", "tools[0] must be {\"type\""},
        {"\"tools\":[{\"type\":\"custom\",\"custom\":{}}]", "tools[0] must be {\"type\""},
        {"\"tools\":[1]", "tools[0] must be {\"type\""},
        {TOOL("\"name\":\"a b\""), "tools[0].function.name must"},
        {TOOL("\"name\":\"\""), "tools[0].function.name must"},
        {TOOL("\"name\":\"a\\u0000\""), "tools[0].function.name must"},
        {TOOL("\"name\":\"a\",\"description\":1"), "tools[0].function.description must"},
        {TOOL("\"name\":\"a\",\"parameters\":[]"), "tools[0].function.parameters must"},
        {TOOL("\"name\":\"a\",\"strict\":true"), "tools[0].function.strict must"},
        {"\"tool_choice\":\"required\"", "must be 'none' or 'auto'"},
        {"\"tool_choice\":{\"type\":\"function\"}", "must be 'none' or 'auto'"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char body[512];
        struct error error;
        (void)snprintf(body, sizeof body, CHAT "%s}", rows[i].members);
        assert_null(variables_of(body, &error));
        assert_int_equal(error.kind, ERROR_INVALID);
        if (strstr(error.message, rows[i].message) == NULL) {
            fail_msg("\"%s\" does not say \"%s\"", error.message, rows[i].message);
        }
    }
}

static void test_more_than_128_tools_are_too_many(void **state)
{
    (void)state;
    char body[16384];
    struct error error;
    size_t used = (size_t)snprintf(body, sizeof body, CHAT "\"tools\":[");
    for (int i = 0; i < 129; i++) {
        used += (size_t)snprintf(body + used, sizeof body - used,
                                 "%s{\"type\":\"function\",\"function\":{\"name\":\"f%d\"}}",
                                 i > 0 ? "," : "", i);
    }
    (void)snprintf(body + used, sizeof body - used, "]}");
    assert_null(variables_of(body, &error));
    assert_string_equal(error.message, "tools has 129 items, must have at most 128");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tools_reach_the_template_as_they_came),
        cmocka_unit_test(test_without_tools_the_template_sees_none),
        cmocka_unit_test(test_response_format_reaches_the_template),
        cmocka_unit_test(test_broken_tools_are_refused),
        cmocka_unit_test(test_more_than_128_tools_are_too_many),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
