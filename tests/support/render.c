/* render: chat templates in tests. */
#include "tests/support/render.h"

#include <stdio.h>
#include <string.h>

#include "pipeline/text/chat_template.h"
#include "tests/support/cmocka.h"

#define ERROR_MARK "error: "

enum { OUTPUT_BYTES_MAX = 1 << 20 };

/* Parses and renders; what fails is told in *error. */
static bool render(const char *source, const char *variables, struct buffer *out,
                   struct error *error)
{
    struct chat_template *chat_template = NULL;
    if (!chat_template_parse(bytes_of(source), &chat_template, error)) {
        return false;
    }
    chat_template_fix_time(chat_template, 1721995200); // 2024-07-26 12:00:00
    json_t *values = json_loads(variables, 0, NULL);
    assert_non_null(values);
    bool rendered = chat_template_render(chat_template, values, out, error);
    json_decref(values);
    chat_template_close(chat_template);
    return rendered;
}

void expect_render(const char *source, const char *variables, const char *expected)
{
    struct buffer out;
    struct error error = {0};
    buffer_init(&out, OUTPUT_BYTES_MAX);
    bool rendered = render(source, variables, &out, &error);
    bool is_right = false;
    if (strncmp(expected, ERROR_MARK, strlen(ERROR_MARK)) == 0) {
        is_right = !rendered && strstr(error.message, expected + strlen(ERROR_MARK)) != NULL;
    } else {
        is_right = rendered && bytes_equal_text(buffer_bytes(&out), expected);
    }
    if (!is_right) {
        print_error("template: %s\n  wanted: %s\n  got:    %s%s\n", source, expected,
                    rendered ? "" : ERROR_MARK, rendered ? buffer_bytes(&out).data : error.message);
    }
    buffer_close(&out);
    assert_true(is_right);
}

void expect_renders(const struct render_case *cases, size_t count, const char *variables)
{
    for (size_t i = 0; i < count; i++) {
        expect_render(cases[i].source, variables, cases[i].expected);
    }
}

void expect_values(const struct render_case *cases, size_t count, const char *variables)
{
    for (size_t i = 0; i < count; i++) {
        char source[2000];
        int size = snprintf(source, sizeof source, "{{ %s }}", cases[i].source);
        assert_true(size > 0 && (size_t)size < sizeof source);
        expect_render(source, variables, cases[i].expected);
    }
}
