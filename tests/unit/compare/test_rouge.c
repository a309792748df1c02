/* ROUGE against rouge-score, subsequences against the textbook, and hostile texts. */
#include "pipeline/compare/rouge.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "pipeline/compare/lcs.h"
#include "tests/support/cmocka.h"
#include "tests/support/seed.h"

enum { ARENA_BYTES_MAX = 512 << 20, LINE_BYTES_MAX = 1 << 16, ROWS = 90, COLUMNS = 200 };

static struct words_cutter cutter;

static struct rouges compute(enum words_mode mode, struct bytes reference, struct bytes candidate)
{
    const struct bytes texts[2] = {reference, candidate};
    struct arena *arena = arena_open(ARENA_BYTES_MAX);
    struct words_pair pair;
    struct rouges rouges;
    struct error error = {0};
    if (!words_cut(&cutter, mode, texts, arena, &pair, &error) ||
        !rouge_compute(&pair, arena, &rouges, &error)) {
        fail_msg("%s", error.message);
    }
    arena_close(arena);
    return rouges;
}

static struct bytes member(const json_t *line, const char *name)
{
    const json_t *text = json_object_get(line, name);
    return (struct bytes){json_string_value(text), json_string_length(text)};
}

static void check_line(const json_t *line)
{
    const json_t *expected = json_object_get(line, "rouge");
    assert_int_equal(json_array_size(expected), 36);
    size_t index = 0;
    for (int mode = WORDS_ROUGE; mode <= WORDS_UNICODE; mode++) {
        struct rouges rouges =
            compute((enum words_mode)mode, member(line, "reference"), member(line, "candidate"));
        const struct rouge all[4] = {rouges.n1, rouges.n2, rouges.l, rouges.lsum};
        assert_true(rouges.has_l && rouges.has_lsum);
        for (size_t i = 0; i < 4; i++) {
            const double given[3] = {all[i].precision, all[i].recall, all[i].f};
            for (size_t j = 0; j < 3; j++, index++) {
                double wanted = json_number_value(json_array_get(expected, index));
                if (fabs(given[j] - wanted) > 1e-6) {
                    fail_msg("mode %d, type %zu, %zu: %g, must be %g: %s", mode, i, j, given[j],
                             wanted, member(line, "reference").data);
                }
            }
        }
    }
}

static void test_agrees_with_rouge_score_in_all_modes(void **state)
{
    (void)state;
    static char text[LINE_BYTES_MAX];
    size_t count = 0;
    FILE *file = fopen(SOURCE_DIR "/tests/golden/compare/pairs.jsonl", "rb");
    assert_non_null(file);
    while (fgets(text, sizeof text, file) != NULL) {
        json_t *line = json_loads(text, JSON_ALLOW_NUL, NULL);
        assert_non_null(line);
        check_line(line);
        json_decref(line);
        count++;
    }
    (void)fclose(file);
    assert_true(count > 40);
}

/* --- Subsequences --- */

static size_t table[ROWS + 1][COLUMNS + 1];

/* The textbook's table, and rouge-score's way back through it. */
static size_t walk_table(struct lcs_list a, struct lcs_list b, bool *marks)
{
    for (size_t i = 1; i <= a.count; i++) {
        for (size_t j = 1; j <= b.count; j++) {
            size_t up = table[i - 1][j];
            size_t left = table[i][j - 1];
            table[i][j] = a.numbers[i - 1] == b.numbers[j - 1] ? table[i - 1][j - 1] + 1
                          : up > left                          ? up
                                                               : left;
        }
    }
    for (size_t i = a.count, j = b.count; i > 0 && j > 0;) {
        if (a.numbers[i - 1] == b.numbers[j - 1]) {
            marks[--i] = true;
            j--;
        } else if (table[i][j - 1] > table[i - 1][j]) {
            j--;
        } else {
            i--;
        }
    }
    return table[a.count][b.count];
}

static void test_subsequences_are_those_of_the_textbook(void **state)
{
    (void)state;
    seed_random();
    for (int round = 0; round < 300; round++) {
        uint32_t numbers[2][COLUMNS];
        size_t distinct = 1 + random_below(round % 2 == 0 ? 4 : 60);
        for (size_t i = 0; i < COLUMNS; i++) {
            numbers[0][i] = (uint32_t)random_below(distinct);
            numbers[1][i] = (uint32_t)random_below(distinct);
        }
        struct lcs_list a = {numbers[0], random_below(ROWS + 1)};
        struct lcs_list b = {numbers[1], random_below(COLUMNS + 1)};
        bool expected[ROWS + 1] = {false};
        bool given[ROWS + 1] = {false};
        struct arena *arena = arena_open(ARENA_BYTES_MAX);
        struct lcs lcs;
        assert_true(lcs_init(&lcs, ROWS, COLUMNS, distinct, true, arena));
        assert_int_equal(lcs_length(&lcs, a, b), walk_table(a, b, expected));
        lcs_mark(&lcs, a, b, given);
        assert_memory_equal(given, expected, sizeof given);
        arena_close(arena);
    }
}

/* --- Limits --- */

static double now_s(void)
{
    struct timespec time;
    assert_int_equal(clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time), 0);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static char *repeat(const char *unit, size_t size)
{
    char *text = malloc(size);
    assert_non_null(text);
    size_t length = strlen(unit);
    for (size_t i = 0; i < size; i++) {
        text[i] = unit[i % length];
    }
    return text;
}

static void test_texts_of_a_megabyte_have_no_subsequences_but_all_counts(void **state)
{
    (void)state;
    static const char *const units[] = {"a b ", "a\n", "\xC3\x84 "};
    double start_s = now_s();
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
        char *text = repeat(units[i], WORDS_TEXT_BYTES_MAX);
        size_t size = WORDS_TEXT_BYTES_MAX - WORDS_TEXT_BYTES_MAX % strlen(units[i]);
        struct bytes bytes = {text, size};
        struct rouges rouges = compute(WORDS_UNICODE, bytes, bytes);
        assert_false(rouges.has_l || rouges.has_lsum);
        assert_true(rouges.n1.f == 1 && rouges.n2.f == 1);
        free(text);
    }
    assert_true(now_s() - start_s < 20); // quadratic, it would be hours
}

static void test_the_limit_allows_sixteen_thousand_words(void **state)
{
    (void)state;
    char *text = repeat("word pair ", 16000 * 5);
    struct bytes bytes = {text, 16000 * 5};
    struct rouges rouges = compute(WORDS_STEM, bytes, bytes);
    assert_true(rouges.has_l && rouges.has_lsum);
    assert_true(rouges.l.f == 1 && rouges.lsum.f == 1);
    free(text);
}

static void test_larger_texts_are_refused(void **state)
{
    (void)state;
    char *text = repeat("a", WORDS_TEXT_BYTES_MAX + 1);
    const struct bytes texts[2] = {bytes_of(""), {text, WORDS_TEXT_BYTES_MAX + 1}};
    struct arena *arena = arena_open(ARENA_BYTES_MAX);
    struct words_pair pair;
    struct error error = {0};
    assert_false(words_cut(&cutter, WORDS_ROUGE, texts, arena, &pair, &error));
    assert_int_equal(error.kind, ERROR_TOO_LARGE);
    arena_close(arena);
    arena = arena_open(4096);
    const struct bytes small[2] = {bytes_of(""), {text, 100000}};
    assert_false(words_cut(&cutter, WORDS_ROUGE, small, arena, &pair, &error));
    assert_int_equal(error.kind, ERROR_TOO_LARGE);
    arena_close(arena);
    free(text);
}

int main(void)
{
    words_cutter_init(&cutter);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_agrees_with_rouge_score_in_all_modes),
        cmocka_unit_test(test_subsequences_are_those_of_the_textbook),
        cmocka_unit_test(test_texts_of_a_megabyte_have_no_subsequences_but_all_counts),
        cmocka_unit_test(test_the_limit_allows_sixteen_thousand_words),
        cmocka_unit_test(test_larger_texts_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
