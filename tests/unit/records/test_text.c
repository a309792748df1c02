/* text: UTF-8 held against a slow reference, and JSON strings there and back. */
#include "schemas/records/text.h"

#include <stdio.h>
#include <stdlib.h>

#include "tests/support/cmocka.h"
#include "tests/unit/records/samples.h"

/* By the definition: decode, then see whether that was the shortest form of a scalar value. */
static bool reference_is_utf8(const unsigned char *at, size_t size)
{
    for (size_t i = 0; i < size;) {
        unsigned char lead = at[i];
        size_t more = lead < 0x80       ? 0
                      : lead >> 5 == 6  ? 1
                      : lead >> 4 == 14 ? 2
                      : lead >> 3 == 30 ? 3
                                        : 9;
        unsigned point = more == 0 ? lead : lead & (0x3FU >> more);
        if (more > 3 || i + more >= size) {
            return false;
        }
        for (size_t j = 1; j <= more; j++) {
            if (at[i + j] >> 6 != 2) {
                return false;
            }
            point = point << 6 | (at[i + j] & 0x3FU);
        }
        static const unsigned least[] = {0, 0x80, 0x800, 0x10000};
        if (point < least[more] || point > 0x10FFFF || (point >= 0xD800 && point <= 0xDFFF)) {
            return false;
        }
        i += more + 1;
    }
    return true;
}

static unsigned seed_of(void)
{
    const char *text = getenv("TEST_SEED");
    unsigned seed = text == NULL ? 20260131 : (unsigned)strtoul(text, NULL, 10);
    printf("TEST_SEED=%u\n", seed);
    return seed;
}

static unsigned next(unsigned *state)
{
    *state = *state * 1664525U + 1013904223U;
    return *state >> 8;
}

static void utf8_is_what_the_definition_says(void **state)
{
    (void)state;
    static const unsigned char edges[] = {0x00, 0x41, 0x7F, 0x80, 0x8F, 0x90, 0x9F,
                                          0xA0, 0xBF, 0xC0, 0xC1, 0xC2, 0xDF, 0xE0,
                                          0xE1, 0xED, 0xEF, 0xF0, 0xF4, 0xF5, 0xFF};
    enum { EDGES = sizeof edges };
    for (unsigned i = 0; i < EDGES * EDGES * EDGES * EDGES; i++) {
        unsigned char text[4] = {edges[i % EDGES], edges[i / EDGES % EDGES],
                                 edges[i / EDGES / EDGES % EDGES],
                                 edges[i / EDGES / EDGES / EDGES]};
        for (size_t size = 1; size <= 4; size++) {
            struct bytes bytes = {(const char *)text, size};
            assert_int_equal(text_is_utf8(bytes), reference_is_utf8(text, size));
        }
    }
}

static void plain_runs_end_at_the_first_special_byte(void **state)
{
    (void)state;
    unsigned seed = seed_of();
    for (int round = 0; round < 20000; round++) {
        unsigned char text[40];
        size_t size = next(&seed) % sizeof text;
        for (size_t i = 0; i < size; i++) {
            text[i] = next(&seed) % 16 == 0 ? (unsigned char)next(&seed)
                                            : (unsigned char)('a' + next(&seed) % 26);
        }
        size_t expected = 0;
        while (expected < size && text[expected] >= 0x20 && text[expected] < 0x80 &&
               text[expected] != '"' && text[expected] != '\\') {
            expected++;
        }
        assert_ptr_equal(text_skip_plain(text, text + size), text + expected);
    }
}

static void escapes_are_undone(void **state)
{
    (void)state;
    static const struct {
        struct bytes quoted;
        struct bytes text;
    } cases[] = {
        {BYTES(""), BYTES("")},
        {BYTES("plain"), BYTES("plain")},
        {BYTES("\\\"\\\\\\/\\b\\f\\n\\r\\t"), BYTES("\"\\/\b\f\n\r\t")},
        {BYTES("\\u0041\\u00e9\\u20AC"), BYTES("A\xC3\xA9\xE2\x82\xAC")},
        {BYTES("\\ud83d\\uDE00!"), BYTES("\xF0\x9F\x98\x80!")},
        {BYTES("\\u0000x"), BYTES("\0x")},
    };
    struct arena *arena = arena_open(1 << 16);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct bytes text;
        assert_true(text_unescape(cases[i].quoted, arena, &text));
        assert_true(bytes_equal(text, cases[i].text));
    }
    arena_close(arena);
}

static void half_a_surrogate_pair_is_refused(void **state)
{
    (void)state;
    static const char *const cases[] = {"\\ud83d",    "\\ude00",        "\\ud83dx",
                                        "\\ud83d\\n", "\\ud83d\\u0041", "\\ud83d\\ud83d"};
    struct arena *arena = arena_open(1 << 16);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct bytes text;
        assert_false(text_unescape(bytes_of(cases[i]), arena, &text));
        assert_null(text.data);
    }
    arena_close(arena);
}

static void every_text_survives_quoting(void **state)
{
    (void)state;
    unsigned seed = seed_of();
    struct buffer quoted;
    buffer_init(&quoted, 4096);
    for (int round = 0; round < 20000; round++) {
        char text[32];
        size_t size = next(&seed) % sizeof text;
        for (size_t i = 0; i < size; i++) {
            text[i] = next(&seed) % 4 == 0 ? "\"\\\n\x01\x1F\x7F/u"[next(&seed) % 8]
                                           : (char)(next(&seed) % 128);
        }
        struct arena *arena = arena_open(1 << 16);
        struct bytes back;
        buffer_clear(&quoted);
        text_append_quoted(&quoted, (struct bytes){text, size});
        assert_true(quoted.data[0] == '"' && quoted.data[quoted.size - 1] == '"');
        assert_true(text_unescape((struct bytes){quoted.data + 1, quoted.size - 2}, arena, &back));
        assert_true(bytes_equal(back, (struct bytes){text, size}));
        arena_close(arena);
    }
    buffer_close(&quoted);
}

static void control_characters_are_escaped_and_an_absent_text_is_empty(void **state)
{
    (void)state;
    struct buffer quoted;
    buffer_init(&quoted, 4096);
    text_append_quoted(&quoted, (struct bytes)BYTES("a\x01\n\xC3\xA9\xC3\xA9\"\0"));
    text_append_quoted(&quoted, (struct bytes){NULL, 0});
    assert_string_equal(quoted.data, "\"a\\u0001\\n\xC3\xA9\xC3\xA9\\\"\\u0000\"\"\"");
    buffer_close(&quoted);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(utf8_is_what_the_definition_says),
        cmocka_unit_test(plain_runs_end_at_the_first_special_byte),
        cmocka_unit_test(escapes_are_undone),
        cmocka_unit_test(half_a_surrogate_pair_is_refused),
        cmocka_unit_test(every_text_survives_quoting),
        cmocka_unit_test(control_characters_are_escaped_and_an_absent_text_is_empty),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
