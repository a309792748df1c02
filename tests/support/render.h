/* render: chat templates in tests, from text to text. */
#ifndef TESTS_SUPPORT_RENDER_H
#define TESTS_SUPPORT_RENDER_H

#include <stddef.h>

struct render_case {
    const char *source;   // a template, or an expression for expect_values
    const char *expected; // the text, or "error: " and a part of the message
};

/* Fails the test, naming the source, unless it renders as expected. `variables` is JSON. */
void expect_render(const char *source, const char *variables, const char *expected);
void expect_renders(const struct render_case *cases, size_t count, const char *variables);
/* As above for expressions: each stands between {{ and }}. */
void expect_values(const struct render_case *cases, size_t count, const char *variables);

#endif
