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
    "\\p{N}{1,3}",
    "[\xE4\xB8\x80-\xE9\xBE\xA5\xE3\x81\x80-\xE3\x82\x9F\xE3\x82\xA0-\xE3\x83\xBF]+",
    "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|"
    "[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+[\\r\\n]*|"
    "\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+",
};

/* Few pieces, so that every order of them comes up. */
// clang-format off
static const char *const pieces[] = {
    "a", "b", "s", "S", "\xC3\xA9", "\xE6\xB0\xB4", "\xE3\x81\x82", "\xE3\x83\xBC", // letters
    "'", "'s", "'T", "'re", "'Ve", "'lL", "'d", "\xC5\xBF",    // contractions, the long s
    "1", "2", "9", "\xC2\xBD", "\xD9\xA3", "\xE2\x85\xA7",     // numbers: Nd, No and Nl
    " ", "  ", "\t", "\n", "\r", "\r\n", "\v", "\f",           // white space
    "\xC2\x85", "\xC2\xA0", "\xE3\x80\x80", "\xE2\x80\xA8",    // more of it
    "\xE1\xA0\x8E", "\xE2\x80\x8B", "\x1C", "\x01",            // what only looks like it
    ".", ",", "!", "-", "$", "+", "\xE2\x82\xAC", "\xF0\x9F\x99\x82", // signs
    "\xCC\x81", "\xEE\x80\x80", "\xCD\xB8",                    // a mark, private use, unassigned
};
// clang-format on

static void append_random(struct buffer *text)
{
    size_t count = 1 + random_below(24);
    for (size_t i = 0; i < count; i++) {
        buffer_append_text(text, pieces[random_below(sizeof pieces / sizeof pieces[0])]);
    }
}

/* Where the word at `start` ends: with the match, or before it. */
static size_t expected_end(const struct pattern_match *match, struct bytes text, size_t start)
{
    return match->start == SIZE_MAX ? text.size : match->start > start ? match->start : match->end;
}

static void check_text(enum word_scanner scanner, const struct pattern *pattern, struct bytes text)
{
    struct pattern_scratch scratch = {0};
    struct pattern_walk walk = PATTERN_WALK_BEGIN;
    struct pattern_match match = {0, 0};
    struct error error = {0};
    for (size_t start = 0; start < text.size;) {
        if (match.start != SIZE_MAX && match.end <= start) {
            assert_true(pattern_next(pattern, &scratch, text, &walk, &match, &error));
        }
        size_t end = word_scanner_next(scanner, text, start);
        size_t expected = expected_end(&match, text, start);
        if (end != expected) {
            fail_msg("from %zu to %zu instead of %zu in: %.*s", start, end, expected,
                     (int)text.size, text.data);
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
