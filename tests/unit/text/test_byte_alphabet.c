/* The 256 stand-ins for bytes. */
#include "pipeline/text/byte_alphabet.h"

#include "pipeline/text/utf8.h"
#include "tests/support/cmocka.h"

static void test_every_byte_has_one_character(void **state)
{
    (void)state;
    bool has_seen[256] = {false};
    size_t count = 0;
    for (int32_t c = 0; c < 0x800; c++) {
        char text[UTF8_SIZE_MAX];
        struct buffer out;
        buffer_init(&out, 10);
        if (byte_alphabet_decode((struct bytes){text, utf8_encode(c, text)}, &out)) {
            assert_int_equal(out.size, 1);
            assert_false(has_seen[(unsigned char)out.data[0]]);
            has_seen[(unsigned char)out.data[0]] = true;
            count++;
        }
        buffer_close(&out);
    }
    assert_int_equal(count, 256);
}

static void check(const char *text, const char *expected)
{
    struct buffer out;
    buffer_init(&out, 100);
    buffer_append_text(&out, "-");
    bool is_inside = byte_alphabet_decode(bytes_of(text), &out);
    assert_int_equal(is_inside, expected != NULL);
    assert_string_equal(out.data + 1, expected == NULL ? "" : expected);
    buffer_close(&out);
}

static void test_known_spellings(void **state)
{
    (void)state;
    check("\xC4\xA0the", " the");          // U+0120 is the space
    check("\xC4\x8A", "\n");               // U+010A
    check("\xC3\x83\xC2\xA9", "\xC3\xA9"); // e acute, two bytes
    check("\xC5\x83", "\xAD");             // U+0143, the last one
    check("a b", NULL);                    // a space does not stand for itself
    check("\xE6\xB0\xB4", NULL);
    check("a\xC5\x84", NULL); // U+0144
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_byte_has_one_character),
        cmocka_unit_test(test_known_spellings),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
