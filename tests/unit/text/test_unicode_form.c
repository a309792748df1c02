/* Normal forms against utf8proc's own (quadratic) way, on random text, and known examples. */
#include "pipeline/text/unicode_form.h"

#include <utf8proc.h>

#include "pipeline/text/unicode_classes.h"
#include "pipeline/text/utf8.h"
#include "tests/support/cmocka.h"
#include "tests/support/seed.h"

static const utf8proc_option_t options[] = {
    [FORM_NFC] = UTF8PROC_STABLE | UTF8PROC_COMPOSE,
    [FORM_NFD] = UTF8PROC_STABLE | UTF8PROC_DECOMPOSE,
    [FORM_NFKC] = UTF8PROC_STABLE | UTF8PROC_COMPOSE | UTF8PROC_COMPAT,
    [FORM_NFKD] = UTF8PROC_STABLE | UTF8PROC_DECOMPOSE | UTF8PROC_COMPAT,
};

static void check_form(const struct unicode_form *form, struct bytes text, const char *expected)
{
    struct buffer out;
    struct error error = {0};
    bool is_changed = false;
    buffer_init(&out, 1 << 20);
    assert_true(unicode_form_run(form, text, &out, &is_changed, &error));
    assert_true(is_changed || out.size == 0);
    struct bytes result = is_changed ? buffer_bytes(&out) : text;
    if (!bytes_equal_text(result, expected)) {
        fail_msg("form %d of \"%.*s\" is not \"%s\"", (int)form->kind, (int)text.size, text.data,
                 expected);
    }
    buffer_close(&out);
}

/* Mostly what normalization changes: marks, letters with marks, jamo, ligatures. */
static int32_t random_code_point(void)
{
    static const int32_t ranges[][2] = {{0x20, 0x7F},       {0xA0, 0x180},      {0x300, 0x370},
                                        {0x5B0, 0x5C0},     {0x900, 0xA00},     {0x1100, 0x1200},
                                        {0x1E00, 0x2000},   {0x2100, 0x2200},   {0x3040, 0x3100},
                                        {0xAC00, 0xAD00},   {0xF900, 0xFB50},   {0x11000, 0x11200},
                                        {0x1D100, 0x1D200}, {0x1F600, 0x1F610}, {0x2F800, 0x2F900}};
    const int32_t *range = ranges[random_below(sizeof ranges / sizeof ranges[0])];
    int32_t c = range[0] + (int32_t)random_below((size_t)(range[1] - range[0]));
    // utf8proc 2.8 loses the one, see below; the others are left alone here.
    return c == 0x11A7 || unicode_is_later_form(c) ? 'a' : c;
}

static void check_random(const struct unicode_form *form)
{
    char text[24 * UTF8_SIZE_MAX + 1];
    size_t size = 0;
    size_t count = 1 + random_below(24);
    for (size_t i = 0; i < count; i++) {
        size += utf8_encode(random_code_point(), text + size);
    }
    utf8proc_uint8_t *expected = NULL;
    assert_true(utf8proc_map((const utf8proc_uint8_t *)text, (utf8proc_ssize_t)size, &expected,
                             options[form->kind]) >= 0);
    check_form(form, (struct bytes){text, size}, (const char *)expected);
    free(expected);
}

static void test_agrees_with_utf8proc_on_random_text(void **state)
{
    (void)state;
    seed_random();
    for (int kind = FORM_NFC; kind <= FORM_NFKD; kind++) {
        struct unicode_form form;
        unicode_form_init(&form, (enum unicode_form_kind)kind);
        for (size_t round = 0; round < 5000; round++) {
            check_random(&form);
        }
    }
}

static void test_composes_and_decomposes_known_examples(void **state)
{
    (void)state;
    struct unicode_form form;
    unicode_form_init(&form, FORM_NFC);
    check_form(&form, bytes_of("plain ASCII"), "plain ASCII");
    check_form(&form, bytes_of("cafe\xCC\x81!"), "caf\xC3\xA9!");
    check_form(&form, bytes_of("\xE2\x84\xAB"), "\xC3\x85");     // the Angstrom sign
    check_form(&form, bytes_of("\xEF\xAC\x81"), "\xEF\xAC\x81"); // a ligature stays
    // U+11A7 is not a final consonant; utf8proc 2.8 takes it for one and swallows it.
    check_form(&form, bytes_of("\xEA\xB3\xA0\xE1\x86\xA7"), "\xEA\xB3\xA0\xE1\x86\xA7");
    // U+08D3 is too new to combine: an acute accent behind it stays.
    check_form(&form, bytes_of("a\xE0\xA3\x93\xCC\x81"), "a\xE0\xA3\x93\xCC\x81");
    unicode_form_init(&form, FORM_NFKC);
    check_form(&form, bytes_of("\xE3\x8B\xBF"), "\xE3\x8B\xBF"); // likewise
    check_form(&form, bytes_of("\xEF\xAC\x81"), "fi");
    unicode_form_init(&form, FORM_NFD);
    check_form(&form, bytes_of("\xEA\xB0\x81"), "\xE1\x84\x80\xE1\x85\xA1\xE1\x86\xA8"); // Hangul
}

static void test_orders_a_long_run_of_marks(void **state)
{
    (void)state;
    struct unicode_form form;
    struct buffer text;
    struct buffer expected;
    unicode_form_init(&form, FORM_NFD);
    buffer_init(&text, 1 << 20);
    buffer_init(&expected, 1 << 20);
    for (size_t i = 0; i < 100; i++) { // acute (230) before cedilla (202)
        buffer_append_text(&text, "\xCC\x81\xCC\xA7");
    }
    for (size_t i = 0; i < 200; i++) {
        buffer_append_text(&expected, i < 100 ? "\xCC\xA7" : "\xCC\x81");
    }
    check_form(&form, buffer_bytes(&text), expected.data);
    buffer_close(&text);
    buffer_close(&expected);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_agrees_with_utf8proc_on_random_text),
        cmocka_unit_test(test_composes_and_decomposes_known_examples),
        cmocka_unit_test(test_orders_a_long_run_of_marks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
