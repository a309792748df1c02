/* Values, their text, and strings as sequences of code points. */
#include "pipeline/text/jinja_value.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pipeline/text/jinja_string.h"
#include "pipeline/text/jinja_text.h"
#include "tests/support/cmocka.h"

enum { ARENA_BYTES_MAX = 1 << 20 };

static void a_dict_keeps_its_order_and_replaces_equal_keys(void **state)
{
    (void)state;
    struct arena *arena = arena_open(ARENA_BYTES_MAX);
    struct jinja_dict *dict = jinja_dict_open(arena, 0);
    for (int64_t i = 0; i < 100; i++) {
        assert_true(jinja_dict_set(arena, dict, jinja_integer(i % 50), jinja_integer(i)));
    }
    assert_int_equal(dict->count, 50);
    assert_int_equal(dict->pairs[0].key.as.integer, 0);
    assert_int_equal(dict->pairs[0].value.as.integer, 50);
    // Python: 1 == 1.0 == True
    assert_int_equal(jinja_dict_find(dict, jinja_float(1))->as.integer, 51);
    assert_int_equal(jinja_dict_find(dict, jinja_bool(true))->as.integer, 51);
    assert_null(jinja_dict_find_text(dict, "1"));
    arena_close(arena);
}

static void a_list_fails_when_its_arena_is_full(void **state)
{
    (void)state;
    struct arena *arena = arena_open(10000);
    struct jinja_list *list = jinja_list_open(arena, 0);
    size_t count = 0;
    while (jinja_list_add(arena, list, jinja_none())) {
        count++;
    }
    assert_int_equal(count, list->count);
    assert_true(count > 10 && count < 10000);
    arena_close(arena);
}

static void floats_print_the_shortest_digits_that_read_back(void **state)
{
    (void)state;
    static const struct {
        double real;
        const char *text;
    } cases[] = {
        {0, "0.0"},
        {-0.0, "-0.0"},
        {0.1, "0.1"},
        {1.0 / 3, "0.3333333333333333"},
        {1e15, "1000000000000000.0"},
        {1e16, "1e+16"},
        {1e-4, "0.0001"},
        {1e-5, "1e-05"},
        {5e-324, "5e-324"},
        {1.7976931348623157e308, "1.7976931348623157e+308"},
        {123456.789, "123456.789"},
        {2e22, "2e+22"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct buffer out;
        buffer_init(&out, 100);
        jinja_print_float(&out, cases[i].real);
        assert_string_equal(out.data, cases[i].text);
        buffer_close(&out);
    }
}

static void random_floats_read_back_as_themselves(void **state)
{
    (void)state;
    const char *given = getenv("SEED");
    uint64_t seed = given != NULL ? strtoull(given, NULL, 10) : 20240726;
    print_message("seed %llu (SEED=... to choose)\n", (unsigned long long)seed);
    for (int i = 0; i < 20000; i++) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        double real;
        memcpy(&real, &seed, sizeof real);
        struct buffer out;
        buffer_init(&out, 100);
        jinja_print_float(&out, real);
        if (real <= 0 || real >= 0) { // not a NaN
            double back = strtod(out.data, NULL);
            assert_memory_equal(&back, &real, sizeof real);
        }
        buffer_close(&out);
    }
}

static void positions_in_strings_are_code_points(void **state)
{
    (void)state;
    struct bytes text = bytes_of("a\xC3\xA9\xF0\x9F\xA6\x99z");
    assert_int_equal(jinja_utf8_count(text), 4);
    assert_int_equal(jinja_utf8_offset(text, 2), 3);
    assert_int_equal(jinja_utf8_offset(text, 3), 7);
    assert_int_equal(jinja_utf8_offset(text, 9), text.size);
    size_t at = 3;
    assert_int_equal(jinja_utf8_take(text, &at), 0x1F999);
    assert_int_equal(at, 7);
}

static void strip_takes_pythons_white_space(void **state)
{
    (void)state;
    struct bytes all = {NULL, 0};
    struct bytes text = bytes_of("\x1C \xC2\xA0\xE3\x80\x80x\xE2\x80\x8By\xC2\x85\n");
    struct bytes stripped = jinja_strip(text, all, JINJA_SIDE_BOTH);
    assert_true(bytes_equal_text(stripped, "x\xE2\x80\x8By")); // a zero width space is none
    assert_int_equal(jinja_strip(bytes_of("  "), all, JINJA_SIDE_RIGHT).size, 0);
}

static void find_finds_what_is_there(void **state)
{
    (void)state;
    struct bytes text = bytes_of("aabaab");
    assert_int_equal(jinja_find(text, bytes_of("ab"), 0), 1);
    assert_int_equal(jinja_find(text, bytes_of("ab"), 2), 4);
    assert_true(jinja_find(text, bytes_of("ab"), 5) == SIZE_MAX);
    assert_int_equal(jinja_find(text, bytes_of(""), 6), 6);
    assert_true(jinja_find(bytes_of("a"), bytes_of("aa"), 0) == SIZE_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_dict_keeps_its_order_and_replaces_equal_keys),
        cmocka_unit_test(a_list_fails_when_its_arena_is_full),
        cmocka_unit_test(floats_print_the_shortest_digits_that_read_back),
        cmocka_unit_test(random_floats_read_back_as_themselves),
        cmocka_unit_test(positions_in_strings_are_code_points),
        cmocka_unit_test(strip_takes_pythons_white_space),
        cmocka_unit_test(find_finds_what_is_there),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
