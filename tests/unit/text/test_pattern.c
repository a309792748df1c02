/* Patterns: what Oniguruma means, within limits. */
#include "pipeline/text/pattern.h"

#include "schemas/base/buffer.h"
#include "tests/support/cmocka.h"

/* All matches of an expression, each in brackets. */
static void check(const char *expression, bool is_regex, const char *text, const char *expected)
{
    struct pattern *pattern = NULL;
    struct pattern_scratch scratch = {0};
    struct pattern_walk walk = PATTERN_WALK_BEGIN;
    struct error error = {0};
    struct buffer found;
    buffer_init(&found, 1 << 12);
    if (!pattern_open(bytes_of(expression), is_regex, &pattern, &error)) {
        fail_msg("%s: %s", expression, error.message);
    }
    for (;;) {
        struct pattern_match match = {0, 0};
        assert_true(pattern_next(pattern, &scratch, bytes_of(text), &walk, &match, &error));
        if (match.start == SIZE_MAX) {
            break;
        }
        buffer_printf(&found, "[%.*s]", (int)(match.end - match.start), text + match.start);
    }
    assert_string_equal(buffer_bytes(&found).data, expected);
    buffer_close(&found);
    pattern_scratch_close(&scratch);
    pattern_close(pattern);
}

static void test_a_plain_string_is_not_an_expression(void **state)
{
    (void)state;
    check("a.", false, "a.ab a.", "[a.][a.]");
    check("\xE2\x96\x81", false, "\xE2\x96\x82\xE2\x96\x81", "[\xE2\x96\x81]");
}

static void test_classes_are_unicodes_as_in_oniguruma(void **state)
{
    (void)state;
    check("\\s+", true,
          "a\xC2\x85\xE3\x80\x80"
          "b\xE1\xA0\x8E"
          "c",
          "[\xC2\x85\xE3\x80\x80]");
    check("[^\\s]+", true, "a b", "[a][b]");
    check("[\\S]+", true, "a b", "[a][b]");
    check("\\w+", true, "a\xCC\x81_1 \xD0\xB4!", "[a\xCC\x81_1][\xD0\xB4]");
    check("[\\w-]+", true, "a-b c", "[a-b][c]");
    check("\\h+", true, "xfF0y", "[fF0]");
    check("\\p{L}+|\\p{N}{1,2}", true, "ab123", "[ab][12][3]");
    check("[]a]+", true, "]a[", "[]a]");
    check("^b", true, "a\nb", "[b]"); // at every line, as in Ruby
}

static void test_an_empty_match_is_not_repeated_where_the_last_one_ended(void **state)
{
    (void)state;
    check("x*", true, "axb", "[][x][]");
    check("x*", true, "\xC3\xA9", "[][]");
}

static void test_refuses_what_it_cannot_translate(void **state)
{
    (void)state;
    static const char *const expressions[] = {
        "a{1,2}+", "[a&&b]", "[a[b]]", "[[:alpha:]]", "\\K", "[\\W]", "(", "[", "", "\\C"};
    for (size_t i = 0; i < sizeof expressions / sizeof expressions[0]; i++) {
        struct pattern *pattern = NULL;
        struct error error = {0};
        assert_false(pattern_open(bytes_of(expressions[i]), true, &pattern, &error));
        assert_int_equal(error.kind, ERROR_INVALID);
    }
}

static void test_a_runaway_expression_ends_in_an_error(void **state)
{
    (void)state;
    struct pattern *pattern = NULL;
    struct pattern_scratch scratch = {0};
    struct pattern_walk walk = PATTERN_WALK_BEGIN;
    struct pattern_match match = {0, 0};
    struct error error = {0};
    assert_true(pattern_open(bytes_of("(a|a)*b|(a+)+c"), true, &pattern, &error));
    assert_false(pattern_next(pattern, &scratch,
                              bytes_of("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!"), &walk,
                              &match, &error));
    assert_non_null(strstr(error.message, "fails on this text"));
    pattern_scratch_close(&scratch);
    pattern_close(pattern);
}

static enum pattern_found search(const char *expression, const char *text, uint32_t steps_max)
{
    struct pattern *pattern = NULL;
    struct pattern_scratch scratch = {0};
    struct error error = {0};
    if (!pattern_open_ecma(bytes_of(expression), &pattern, &error)) {
        fail_msg("%s: %s", expression, error.message);
    }
    enum pattern_found found = pattern_search(pattern, &scratch, bytes_of(text), steps_max);
    pattern_scratch_close(&scratch);
    pattern_close(pattern);
    return found;
}

static void test_ecma_s_syntax_differs_from_a_tokenizer_s(void **state)
{
    (void)state;
    assert_int_equal(search("^b$", "a\nb", 1000), PATTERN_ABSENT); // the ends are those of the text
    assert_int_equal(search("b$", "b\n", 1000), PATTERN_ABSENT);
    assert_int_equal(search("^\\d+$", "12", 1000), PATTERN_FOUND);
    assert_int_equal(search("^\\d$", "\xD9\xA1", 1000), PATTERN_ABSENT); // digits are ASCII
    assert_int_equal(search("^\\p{Letter}+$", "\xC3\x84h", 1000), PATTERN_FOUND);
    assert_int_equal(search("^\\P{Letter}$", "7", 1000), PATTERN_FOUND);
    assert_int_equal(search("\\u0041", "A", 1000), PATTERN_FOUND);
    assert_int_equal(search("[^]", "\n", 1000), PATTERN_FOUND);
    assert_int_equal(search("^\\s[\\s]\\S$", "\xC2\xA0\xE2\x80\xA8x", 1000), PATTERN_FOUND);
    assert_int_equal(search("^\\S$", "\xE2\x80\x83", 1000), PATTERN_ABSENT);
    assert_int_equal(search("\\\\s", "\\s", 1000), PATTERN_FOUND);
}

static void test_a_search_ends_at_its_number_of_steps(void **state)
{
    (void)state;
    const char *text = "aaaaaaaaaaaaaaaab";
    assert_int_equal(search("^(a+)+$", text, 1000), PATTERN_STEPS_EXCEEDED);
    assert_int_equal(search("^(a+)+$", text, 2000000), PATTERN_ABSENT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_plain_string_is_not_an_expression),
        cmocka_unit_test(test_classes_are_unicodes_as_in_oniguruma),
        cmocka_unit_test(test_an_empty_match_is_not_repeated_where_the_last_one_ended),
        cmocka_unit_test(test_refuses_what_it_cannot_translate),
        cmocka_unit_test(test_a_runaway_expression_ends_in_an_error),
        cmocka_unit_test(test_ecma_s_syntax_differs_from_a_tokenizer_s),
        cmocka_unit_test(test_a_search_ends_at_its_number_of_steps),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
