/* Code points in and out, and the repair of broken text, against Python's decode("replace"). */
#include "pipeline/text/utf8.h"

#include "tests/support/cmocka.h"

static void test_every_code_point_goes_out_and_in(void **state)
{
    (void)state;
    for (int32_t c = 0; c <= 0x10FFFF; c++) {
        if (c >= 0xD800 && c <= 0xDFFF) {
            continue;
        }
        char bytes[UTF8_SIZE_MAX];
        size_t size = utf8_encode(c, bytes);
        size_t read = 0;
        assert_true(utf8_is_valid((struct bytes){bytes, size}));
        assert_int_equal(utf8_decode(bytes, &read), c);
        assert_int_equal(read, size);
        assert_int_equal(utf8_decode_last(bytes, size, &read), c);
        assert_int_equal(read, size);
    }
}

static void test_refuses_what_is_not_utf8(void **state)
{
    (void)state;
    static const char *const broken[] = {
        "\x80",         "\xC0\x80",         "\xC1\xBF",         "\xE0\x9F\xBF",
        "\xED\xA0\x80", "\xF0\x8F\xBF\xBF", "\xF4\x90\x80\x80", "\xF5\x80\x80\x80",
        "\xC3",         "a\xE2\x82",        "12345678\xFF"};
    for (size_t i = 0; i < sizeof broken / sizeof broken[0]; i++) {
        assert_false(utf8_is_valid(bytes_of(broken[i])));
    }
}

#define R UTF8_REPLACEMENT

static void test_every_maximal_broken_part_becomes_one_replacement(void **state)
{
    (void)state;
    // Right sides by Python 3.11: bytes.decode(errors="replace").
    static const char *const cases[][2] = {
        {"\xE2\x82", R},
        {"a\xE2\x82z", "a" R "z"},
        {"\xC0\x80", R R},
        {"\xED\xA0\x80", R R R},
        {"\xF0\x9F\x99", R},
        {"\xF0\x9F\x99\xF0\x9F\x99\x82", R "\xF0\x9F\x99\x82"},
        {"\xF5\x80", R R},
        {"\xE2\xE2\x82\xAC", R "\xE2\x82\xAC"},
        {"\xF4\x90\x80\x80", R R R R},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct buffer out;
        buffer_init(&out, 100);
        struct bytes text = bytes_of(cases[i][0]);
        assert_int_equal(utf8_append_repaired(&out, text, true), text.size);
        assert_string_equal(buffer_bytes(&out).data, cases[i][1]);
        buffer_close(&out);
    }
}

static void test_an_unfinished_character_waits_for_its_end(void **state)
{
    (void)state;
    struct buffer out;
    buffer_init(&out, 100);
    assert_int_equal(utf8_append_repaired(&out, bytes_of("ab\xF0\x9F\x99"), false), 2);
    assert_string_equal(out.data, "ab");
    assert_int_equal(utf8_append_repaired(&out, bytes_of("\xF0\x9F\x99\x82"), false), 4);
    assert_string_equal(out.data, "ab\xF0\x9F\x99\x82");
    buffer_close(&out);
}

static void test_white_space_is_unicodes(void **state)
{
    (void)state;
    size_t count = 0;
    for (int32_t c = 0; c <= 0x10FFFF; c++) {
        count += utf8_is_space(c) ? 1 : 0;
    }
    assert_int_equal(count, 25); // PropList.txt, White_Space
    assert_false(utf8_is_space(0x180E));
    assert_false(utf8_is_space(0x200B));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_code_point_goes_out_and_in),
        cmocka_unit_test(test_refuses_what_is_not_utf8),
        cmocka_unit_test(test_every_maximal_broken_part_becomes_one_replacement),
        cmocka_unit_test(test_an_unfinished_character_waits_for_its_end),
        cmocka_unit_test(test_white_space_is_unicodes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
