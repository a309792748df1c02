/* Tokens of a template. */
#include "pipeline/text/jinja_lexer.h"

#include <stdio.h>
#include <string.h>

#include "tests/support/cmocka.h"

enum { ARENA_BYTES_MAX = 1 << 20 };

/* The tokens of `source` as "kind:text" words, or "! message". */
static void expect_tokens(const char *source, const char *expected)
{
    static const char letters[] = "D%%{}NSIFO."; // by enum jinja_token_kind
    struct arena *arena = arena_open(ARENA_BYTES_MAX);
    struct jinja_tokens tokens;
    struct error error = {0};
    char text[500];
    size_t size = 0;
    if (!jinja_lex(arena, bytes_of(source), &tokens, &error)) {
        size = (size_t)snprintf(text, sizeof text, "! %s", error.message);
    }
    for (size_t i = 0; error.kind == ERROR_NONE && tokens.items[i].kind != TOKEN_END; i++) {
        const struct jinja_token *token = &tokens.items[i];
        bool has_text = token->kind == TOKEN_DATA || token->kind >= TOKEN_NAME;
        size += (size_t)snprintf(text + size, sizeof text - size, "%s%c%s%.*s", i > 0 ? " " : "",
                                 letters[token->kind], has_text ? ":" : "",
                                 has_text ? (int)token->text.size : 0, token->text.data);
        assert_true(size < sizeof text);
    }
    text[size] = '\0';
    assert_string_equal(text, expected);
    arena_close(arena);
}

static void tags_are_told_from_data(void **state)
{
    (void)state;
    expect_tokens("", "");
    expect_tokens("a{{ b }}c", "D:a { N:b } D:c");
    expect_tokens("{% if x %}", "% N:if N:x %");
    expect_tokens("{ a } {", "D:{ a } {");
    expect_tokens("a{# {{ b }} #}c", "D:a D:c");
}

static void brackets_hide_the_end_of_a_tag(void **state)
{
    (void)state;
    expect_tokens("{{ {'a':{}} }}", "{ O:{ S:a O:: O:{ O:} O:} }");
    expect_tokens("{{ '}}' }}", "{ S:}} }");
}

static void literals_have_their_value(void **state)
{
    (void)state;
    struct arena *arena = arena_open(ARENA_BYTES_MAX);
    struct jinja_tokens tokens;
    struct error error = {0};
    assert_true(
        jinja_lex(arena, bytes_of("{{ 0x1F 1_000 2.5e1 'a\\n\\u00e9' }}"), &tokens, &error));
    assert_int_equal(tokens.items[1].integer, 31);
    assert_int_equal(tokens.items[2].integer, 1000);
    assert_true(tokens.items[3].real >= 25.0 && tokens.items[3].real <= 25.0);
    assert_true(bytes_equal_text(tokens.items[4].text, "a\n\xC3\xA9"));
    arena_close(arena);
}

static void tokens_know_their_line(void **state)
{
    (void)state;
    struct arena *arena = arena_open(ARENA_BYTES_MAX);
    struct jinja_tokens tokens;
    struct error error = {0};
    assert_true(jinja_lex(arena, bytes_of("a\r\nb\r{{ c\n + d }}"), &tokens, &error));
    assert_true(bytes_equal_text(tokens.items[0].text, "a\nb\n"));
    assert_int_equal(tokens.items[2].line, 3); // c
    assert_int_equal(tokens.items[4].line, 4); // d
    arena_close(arena);
}

static void what_is_not_a_template_is_refused(void **state)
{
    (void)state;
    expect_tokens("a\n{{ b", "! chat template, line 2: a tag has no end");
    expect_tokens("{{ 'b }}", "! chat template, line 1: a string has no end");
    expect_tokens("{# b", "! chat template, line 1: a comment has no end");
    expect_tokens("{% raw %}b", "! chat template, line 1: a raw block has no end");
    expect_tokens("{{ a ? b }}",
                  "! chat template, line 1: a character is not part of the language");
    expect_tokens("{{ ) }}", "! chat template, line 1: a closing bracket has no opening one");
    expect_tokens("{{ '\\ud800' }}",
                  "! chat template, line 1: a string has an escape that names no character");
    expect_tokens("\xFF", "! chat template, line 1: the template is not UTF-8");
    expect_tokens("{{ 99999999999999999999 }}",
                  "! chat template, line 1: an integer is above 64 bits");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tags_are_told_from_data),
        cmocka_unit_test(brackets_hide_the_end_of_a_tag),
        cmocka_unit_test(literals_have_their_value),
        cmocka_unit_test(tokens_know_their_line),
        cmocka_unit_test(what_is_not_a_template_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
