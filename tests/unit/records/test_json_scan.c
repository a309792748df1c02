/* json_scan: RFC 8259's grammar to the letter, held against jansson where both must agree. */
#include "schemas/records/json_scan.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#include "schemas/base/buffer.h"
#include "tests/support/cmocka.h"
#include "tests/unit/records/samples.h"

static bool is_object(struct bytes text)
{
    struct error error = {.kind = ERROR_NONE};
    bool ok = scan_is_object(text, &error);
    assert_int_equal(error.kind, ok ? ERROR_NONE : ERROR_UNDECODABLE);
    return ok;
}

/* Whether {"a":VALUE} is accepted. */
static bool accepts(struct bytes value)
{
    struct buffer text;
    buffer_init(&text, 1 << 16);
    buffer_append_text(&text, "{\"a\":");
    buffer_append_bytes(&text, value);
    buffer_append_text(&text, "}");
    bool ok = is_object(buffer_bytes(&text));
    buffer_close(&text);
    return ok;
}

static void what_the_grammar_has_is_accepted(void **state)
{
    (void)state;
    static const struct bytes values[] = {
        BYTES("null"),
        BYTES("true"),
        BYTES("false"),
        BYTES("0"),
        BYTES("-0"),
        BYTES("-0.0e-0"),
        BYTES("10"),
        BYTES("1.5E+300"),
        BYTES("1e999"),
        BYTES("\"\""),
        BYTES("\"\\u0000\\uD800\\/\""),
        BYTES("\"\x7F\xC2\x80\xF4\x8F\xBF\xBF\""),
        BYTES("[]"),
        BYTES("[[],{},\"\"]"),
        BYTES(" [ 1 , 2 ] "),
        BYTES("\t{\r\n}\n"),
        BYTES("{\"a\":1,\"a\":2}"),
        BYTES("{\"\":0}"),
    };
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        if (!accepts(values[i])) {
            fail_msg("%.*s is refused", (int)values[i].size, values[i].data);
        }
    }
}

static void what_the_grammar_lacks_is_refused(void **state)
{
    (void)state;
    static const struct bytes values[] = {
        BYTES(""),
        BYTES("nul"),
        BYTES("True"),
        BYTES("nullx"),
        BYTES("NaN"),
        BYTES("Infinity"),
        BYTES("01"),
        BYTES("-"),
        BYTES("+1"),
        BYTES("1."),
        BYTES(".5"),
        BYTES("1e"),
        BYTES("1e+"),
        BYTES("0x10"),
        BYTES("--1"),
        BYTES("'a'"),
        BYTES("\"a"),
        BYTES("\"\n\""),
        BYTES("\"\0\""),
        BYTES("\"\\x\""),
        BYTES("\"\\u12g4\""),
        BYTES("\"\\u12\""),
        BYTES("\"\\"),
        BYTES("\"\\\0\""),
        BYTES("[1,]"),
        BYTES("[,1]"),
        BYTES("[1 2]"),
        BYTES("["),
        BYTES("]"),
        BYTES("{\"a\":1,}"),
        BYTES("{,}"),
        BYTES("{\"a\"}"),
        BYTES("{\"a\" 1}"),
        BYTES("{a:1}"),
        BYTES("{1:1}"),
        BYTES("{\"a\":}"),
        BYTES("1 // x"),
        BYTES("/**/1"),
        BYTES("\xEF\xBB\xBF"
              "1"),
        BYTES("\v1"),
        BYTES("\xC2\xA0"
              "1"),
        BYTES("\"\xC0\x80\""),
        BYTES("\"\xED\xA0\x80\""),
        BYTES("\"\xF4\x90\x80\x80\""),
        BYTES("\"\xC3\""),
        BYTES("\"\x80\""),
    };
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        if (accepts(values[i])) {
            fail_msg("%.*s is accepted", (int)values[i].size, values[i].data);
        }
    }
}

static void only_one_object_is_an_object(void **state)
{
    (void)state;
    static const char *const refused[] = {"",     " ",   "[]", "null", "\"{}\"",
                                          "{}{}", "{},", "{",  "}",    "{}x"};
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        assert_false(is_object(bytes_of(refused[i])));
    }
    assert_false(is_object((struct bytes){NULL, 0}));
    assert_true(is_object(bytes_of(" \n{}\r\n\t ")));
}

static void nesting_is_bounded(void **state)
{
    (void)state;
    char text[3 * SCAN_DEPTH_MAX];
    for (size_t depth = SCAN_DEPTH_MAX - 1; depth <= SCAN_DEPTH_MAX; depth++) {
        memset(text, '[', depth);
        memset(text + depth, ']', depth);
        assert_int_equal(accepts((struct bytes){text, 2 * depth}), depth < SCAN_DEPTH_MAX);
    }
    memset(text, '[', sizeof text); // and does not cost the stack when nothing closes
    assert_false(accepts((struct bytes){text, sizeof text}));
}

static void members_are_slices_of_the_text(void **state)
{
    (void)state;
    struct arena *arena = arena_open(1 << 16);
    struct scan_items members;
    struct error error;
    struct bytes text = BYTES(" { \"a\" : [ 1 , 2 ] , \"\\u0062\\n\":\"x\\\"}\" ,\"c\":-1.5e3} ");
    assert_true(scan_object(text, arena, &members, &error));
    assert_int_equal(members.count, 3);
    assert_true(bytes_equal_text(*scan_find(&members, "a"), "[ 1 , 2 ]"));
    assert_true(bytes_equal_text(*scan_find(&members, "b\n"), "\"x\\\"}\""));
    assert_true(bytes_equal_text(*scan_find(&members, "c"), "-1.5e3"));
    assert_null(scan_find(&members, "d"));
    const struct bytes *a = scan_find(&members, "a");
    assert_true(a->data > text.data && a->data < text.data + text.size);
    struct scan_items elements;
    assert_true(scan_array(*a, arena, &elements, &error));
    assert_int_equal(elements.count, 2);
    assert_true(bytes_equal_text(elements.items[1].value, "2"));
    arena_close(arena);
}

static void a_name_may_not_come_twice_however_it_is_written(void **state)
{
    (void)state;
    struct arena *arena = arena_open(1 << 16);
    struct scan_items members;
    struct error error;
    assert_false(
        scan_object(bytes_of("{\"ab\":1,\"c\":2,\"\\u0061b\":3}"), arena, &members, &error));
    assert_non_null(strstr(error.message, "twice"));
    arena_close(arena);
}

static void members_are_bounded(void **state)
{
    (void)state;
    for (int count = SCAN_ITEMS_MAX; count <= SCAN_ITEMS_MAX + 1; count++) {
        struct arena *arena = arena_open(1 << 20);
        struct buffer text;
        struct scan_items members;
        struct error error;
        buffer_init(&text, 1 << 20);
        for (int i = 0; i < count; i++) {
            buffer_printf(&text, "%s\"%d\":0", i == 0 ? "{" : ",", i);
        }
        buffer_append_char(&text, '}');
        assert_int_equal(scan_object(buffer_bytes(&text), arena, &members, &error),
                         count == SCAN_ITEMS_MAX);
        assert_true(is_object(buffer_bytes(&text))); // a body is not
        buffer_close(&text);
        arena_close(arena);
    }
}

/* jansson is stricter in two things, which the fragments leave out: huge numbers and lone
 * surrogates. */
static void it_agrees_with_jansson_on_random_texts(void **state)
{
    (void)state;
    static const char *const fragments[] = {
        "{",        "}",  "[",    "]",       ",",           ":",       "\"a\"",
        "\"b\":",   "1",  "-0.5", "01",      "-",           "true",    "null",
        "nul",      " ",  "\n",   "\"\\n\"", "\"\\u00e9\"", "\"\\q\"", "\"\xC3\xA9\"",
        "\"\xC3\"", "\"", "\t"};
    const char *given = getenv("TEST_SEED");
    unsigned seed = given == NULL ? 8259 : (unsigned)strtoul(given, NULL, 10);
    printf("TEST_SEED=%u\n", seed);
    struct buffer text;
    buffer_init(&text, 1 << 16);
    int accepted = 0;
    for (int round = 0; round < 300000; round++) {
        buffer_clear(&text);
        buffer_append_char(&text, '{');
        seed = seed * 1664525U + 1013904223U;
        for (unsigned i = 0; i < (seed >> 20) % 8; i++) {
            seed = seed * 1664525U + 1013904223U;
            buffer_append_text(&text,
                               fragments[(seed >> 10) % (sizeof fragments / sizeof fragments[0])]);
        }
        buffer_append_char(&text, '}');
        json_t *parsed = json_loadb(text.data, text.size, 0, NULL);
        bool is_valid = json_is_object(parsed);
        json_decref(parsed);
        if (is_object(buffer_bytes(&text)) != is_valid) {
            fail_msg("%s: jansson says %d", text.data, is_valid);
        }
        accepted += is_valid;
    }
    assert_true(accepted > 1000); // the texts are not all nonsense
    buffer_close(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_the_grammar_has_is_accepted),
        cmocka_unit_test(what_the_grammar_lacks_is_refused),
        cmocka_unit_test(only_one_object_is_an_object),
        cmocka_unit_test(nesting_is_bounded),
        cmocka_unit_test(members_are_slices_of_the_text),
        cmocka_unit_test(a_name_may_not_come_twice_however_it_is_written),
        cmocka_unit_test(members_are_bounded),
        cmocka_unit_test(it_agrees_with_jansson_on_random_texts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
