/* The hand-written scanners against their regular expressions, on random text. */
#include "pipeline/text/word_scanner.h"

#include "pipeline/text/pattern.h"
#include "pipeline/text/utf8.h"
#include "tests/support/cmocka.h"
#include "tests/support/seed.h"

static const char *const expressions[] = {
    WORD_SCANNER_GPT2_PATTERN,
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}|"
    " ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+",
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}|"
    " ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+",
};

/* Few pieces, so that every order of them comes up: letters, numbers, marks, signs and spaces. */
static const char *const pieces[] = {"a",
                                     "b",
                                     "s",
                                     "S",
                                     "'",
                                     "'s",
                                     "'T",
                                     "'re",
                                     "'Ve",
                                     "'lL",
                                     "'d",
                                     "\xC5\xBF", // long s
                                     "1",
                                     "2",
                                     "9",
                                     "\xC2\xBD", // one half
                                     " ",
                                     "  ",
                                     "\t",
                                     "\n",
                                     "\r",
                                     "\r\n",
                                     "\v",
                                     "\f",
                                     "\xC2\x85",
                                     "\xC2\xA0", // NEL, NBSP
                                     "\xE3\x80\x80",
                                     "\xE2\x80\xA8",
                                     "\xE1\xA0\x8E",
                                     "\xE2\x80\x8B", // spaces and what looks so
                                     ".",
                                     ",",
                                     "!",
                                     "-",
                                     "$",
                                     "\xE2\x82\xAC",
                                     "\xCC\x81",
                                     "\xF0\x9F\x99\x82",
                                     "\xC3\xA9",
                                     "\xE6\xB0\xB4",
                                     "\xD9\xA3",
                                     "\xE2\x85\xA7",
                                     "\xEE\x80\x80"};

static void append_random(struct buffer *text)
{
    size_t count = 1 + random_below(24);
    for (size_t i = 0; i < count; i++) {
        buffer_append_text(text, pieces[random_below(sizeof pieces / sizeof pieces[0])]);
    }
}

static void check_text(enum word_scanner scanner, const struct pattern *pattern, struct bytes text)
{
    struct pattern_scratch scratch = {0};
    struct pattern_walk walk = PATTERN_WALK_BEGIN;
    struct error error = {0};
    for (size_t start = 0; start < text.size;) {
        struct pattern_match match = {0, 0};
        assert_true(pattern_next(pattern, &scratch, text, &walk, &match, &error));
        size_t end = word_scanner_next(scanner, text, start);
        if (match.start != start || match.end != end) {
            fail_msg("%zu to %zu instead of %zu to %zu in: %.*s", start, end, match.start,
                     match.end, (int)text.size, text.data);
        }
        start = end;
    }
    pattern_scratch_close(&scratch);
}

static void test_scanners_cut_as_their_expressions_do(void **state)
{
    (void)state;
    seed_random();
    for (size_t i = 0; i < sizeof expressions / sizeof expressions[0]; i++) {
        struct bytes expression = bytes_of(expressions[i]);
        enum word_scanner scanner = word_scanner_for(expression);
        assert_int_not_equal(scanner, WORD_SCANNER_NONE);
        struct pattern *pattern = NULL;
        struct error error = {0};
        assert_true(pattern_open(expression, true, &pattern, &error));
        for (size_t round = 0; round < 5000; round++) {
            struct buffer text;
            buffer_init(&text, 1 << 10);
            append_random(&text);
            check_text(scanner, pattern, buffer_bytes(&text));
            buffer_close(&text);
        }
        pattern_close(pattern);
    }
}

static void test_other_expressions_have_no_scanner(void **state)
{
    (void)state;
    assert_int_equal(word_scanner_for(bytes_of("\\s+")), WORD_SCANNER_NONE);
    assert_int_equal(word_scanner_for(bytes_of("")), WORD_SCANNER_NONE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_scanners_cut_as_their_expressions_do),
        cmocka_unit_test(test_other_expressions_have_no_scanner),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
