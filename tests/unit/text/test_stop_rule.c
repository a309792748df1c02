/* Stop strings in growing text, also against a search of the whole text. */
#include "pipeline/text/stop_rule.h"

#include "tests/support/cmocka.h"
#include "tests/support/seed.h"

static int setup(void **state)
{
    *state = arena_open(1 << 20);
    return *state == NULL;
}

static int teardown(void **state)
{
    arena_close(*state);
    return 0;
}

static struct stop_rule rule_of(struct arena *arena, const char *first, const char *second)
{
    const struct bytes strings[] = {bytes_of(first), bytes_of(second)};
    struct stop_rule rule;
    struct error error = {0};
    assert_true(stop_rule_init(&rule, arena, strings, second == NULL ? 1 : 2, &error));
    return rule;
}

static void test_finds_a_stop_string_that_spans_pieces(void **state)
{
    struct stop_rule rule = rule_of(*state, "\n\nQ:", NULL);
    assert_false(stop_rule_feed(&rule, bytes_of("answer\n")));
    assert_int_equal(stop_rule_safe_size(&rule), 6);
    assert_false(stop_rule_feed(&rule, bytes_of("\nQ")));
    assert_int_equal(stop_rule_safe_size(&rule), 6);
    assert_true(stop_rule_feed(&rule, bytes_of(": more")));
    assert_int_equal(stop_rule_safe_size(&rule), 6);
    assert_int_equal(rule.cut, 6);
}

static void test_lets_go_of_what_turns_out_not_to_stop(void **state)
{
    struct stop_rule rule = rule_of(*state, "STOP", NULL);
    assert_false(stop_rule_feed(&rule, bytes_of("a STO")));
    assert_int_equal(stop_rule_safe_size(&rule), 2);
    assert_false(stop_rule_feed(&rule, bytes_of("S")));
    assert_int_equal(stop_rule_safe_size(&rule), 5);
    assert_false(stop_rule_feed(&rule, bytes_of("x")));
    assert_int_equal(stop_rule_safe_size(&rule), 7);
}

static void test_the_string_that_is_complete_first_wins(void **state)
{
    struct stop_rule rule = rule_of(*state, "abcd", "c");
    assert_true(stop_rule_feed(&rule, bytes_of("xabcd")));
    assert_int_equal(rule.cut, 3);
}

static void test_of_two_complete_at_once_the_longest_wins(void **state)
{
    struct stop_rule rule = rule_of(*state, "c", "abc");
    assert_true(stop_rule_feed(&rule, bytes_of("xabc")));
    assert_int_equal(rule.cut, 1);
}

static void test_holds_back_whole_characters_only(void **state)
{
    struct stop_rule rule = rule_of(*state, "\xE2\x82\xAC\xE2\x82\xAC", NULL);
    assert_false(stop_rule_feed(&rule, bytes_of("5\xE2\x82\xAC")));
    assert_int_equal(stop_rule_safe_size(&rule), 1);
}

static void test_without_strings_everything_is_safe(void **state)
{
    struct stop_rule rule;
    struct error error = {0};
    assert_true(stop_rule_init(&rule, *state, NULL, 0, &error));
    assert_false(stop_rule_feed(&rule, bytes_of("text")));
    assert_int_equal(stop_rule_safe_size(&rule), 4);
}

static void test_refuses_empty_long_and_many_strings(void **state)
{
    struct bytes strings[STOP_STRINGS_MAX + 1];
    struct stop_rule rule;
    struct error error = {0};
    for (size_t i = 0; i <= STOP_STRINGS_MAX; i++) {
        strings[i] = bytes_of("x");
    }
    assert_false(stop_rule_init(&rule, *state, strings, STOP_STRINGS_MAX + 1, &error));
    assert_string_equal(error.param, "stop");
    strings[0] = bytes_of("");
    assert_false(stop_rule_init(&rule, *state, strings, 1, &error));
    static char text[STOP_STRING_SIZE_MAX + 1];
    memset(text, 'x', sizeof text);
    strings[0] = (struct bytes){text, sizeof text};
    assert_false(stop_rule_init(&rule, *state, strings, 1, &error));
    assert_int_equal(error.kind, ERROR_INVALID);
}

/* --- Against a search of the whole text --- */

static size_t random_text(char *text, size_t size_max)
{
    size_t size = random_below(size_max) + 1;
    for (size_t i = 0; i < size; i++) {
        text[i] = (char)('a' + random_below(2));
    }
    return size;
}

/* Where the text must be cut, by trying every end and every string. */
static size_t naive_cut(const struct bytes *strings, size_t count, struct bytes text)
{
    for (size_t end = 1; end <= text.size; end++) {
        size_t cut = SIZE_MAX;
        for (size_t k = 0; k < count; k++) {
            size_t size = strings[k].size;
            if (size <= end && memcmp(text.data + end - size, strings[k].data, size) == 0 &&
                end - size < cut) {
                cut = end - size;
            }
        }
        if (cut != SIZE_MAX) {
            return cut;
        }
    }
    return SIZE_MAX;
}

/* Feeds random pieces; what was once safe must stay in the text. */
static void check_random(struct arena *arena)
{
    char stops[3][6];
    struct bytes strings[3];
    char letters[64];
    for (size_t k = 0; k < 3; k++) {
        strings[k] = (struct bytes){stops[k], random_text(stops[k], sizeof stops[k])};
    }
    struct bytes text = {letters, random_text(letters, sizeof letters)};
    struct stop_rule rule;
    struct error error = {0};
    assert_true(stop_rule_init(&rule, arena, strings, 3, &error));
    size_t cut = naive_cut(strings, 3, text);
    for (size_t start = 0; start < text.size && !stop_rule_has_stopped(&rule);) {
        size_t size = random_below(5);
        size = size > text.size - start ? text.size - start : size;
        (void)stop_rule_feed(&rule, (struct bytes){text.data + start, size});
        assert_true(stop_rule_safe_size(&rule) <= cut);
        start += size;
    }
    assert_int_equal(rule.cut, cut);
}

static void test_agrees_with_a_search_of_the_whole_text(void **state)
{
    seed_random();
    (void)state;
    for (size_t i = 0; i < 2000; i++) {
        struct arena *arena = arena_open(1 << 16);
        assert_non_null(arena);
        check_random(arena);
        arena_close(arena);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_finds_a_stop_string_that_spans_pieces),
        cmocka_unit_test(test_lets_go_of_what_turns_out_not_to_stop),
        cmocka_unit_test(test_the_string_that_is_complete_first_wins),
        cmocka_unit_test(test_of_two_complete_at_once_the_longest_wins),
        cmocka_unit_test(test_holds_back_whole_characters_only),
        cmocka_unit_test(test_without_strings_everything_is_safe),
        cmocka_unit_test(test_refuses_empty_long_and_many_strings),
        cmocka_unit_test(test_agrees_with_a_search_of_the_whole_text),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
