/* WordPiece: longest first, a word that does not come out even is unknown. */
#include "pipeline/text/wordpiece.h"

#include <stdlib.h>
#include <string.h>

#include "tests/support/cmocka.h"

static const char *const names[] = {"[UNK]", "un", "##aff", "##able", "##a", "##f",
                                    "##ü",   "u",  "mühle", "##ly",   "a"};
enum { NAMES = sizeof names / sizeof names[0] };

static struct wordpiece load(const char *model, const char *message)
{
    struct wordpiece wordpiece = {0};
    struct vocabulary vocabulary;
    struct error error = {0};
    json_t *json = json_loads(model, 0, NULL);
    assert_non_null(json);
    assert_true(vocabulary_init(&vocabulary, NAMES, &error));
    for (int i = 0; i < NAMES; i++) {
        assert_true(vocabulary_add(&vocabulary, i, bytes_of(names[i]), true, &error));
    }
    bool is_loaded = wordpiece_load(&wordpiece, json, &vocabulary, &error);
    assert_int_equal(is_loaded, message == NULL);
    if (message != NULL) {
        assert_non_null(strstr(error.message, message));
    }
    vocabulary_close(&vocabulary);
    json_decref(json);
    return wordpiece;
}

static void check(const char *model, const char *word, const int32_t *ids, size_t count)
{
    struct wordpiece wordpiece = load(model, NULL);
    struct token_list list;
    struct error error = {0};
    token_list_init(&list, 100);
    assert_true(wordpiece_encode(&wordpiece, bytes_of(word), &list, &error));
    assert_int_equal(list.count, count);
    assert_memory_equal(list.ids, ids, count * sizeof *ids);
    token_list_close(&list);
    wordpiece_close(&wordpiece);
}

static void test_the_longest_token_comes_first(void **state)
{
    (void)state;
    check("{}", "unaffable", (int32_t[]){1, 2, 3}, 3);
    check("{}", "mühle", (int32_t[]){8}, 1);
    check("{}", "uaü", (int32_t[]){7, 4, 6}, 3);
}

static void test_a_word_that_does_not_come_out_even_is_one_unknown_token(void **state)
{
    (void)state;
    check("{}", "unaffablex", (int32_t[]){0}, 1);
    check("{}", "##aff", (int32_t[]){2}, 1); // as the file spells it
}

static void test_a_word_of_too_many_characters_is_unknown(void **state)
{
    (void)state;
    check("{\"max_input_chars_per_word\": 5}", "mühle", (int32_t[]){8}, 1);
    check("{\"max_input_chars_per_word\": 4}", "mühle", (int32_t[]){0}, 1);
}

static void test_a_broken_model_is_refused(void **state)
{
    (void)state;
    struct wordpiece wordpiece = load("{\"unk_token\": \"<unk>\"}", "\"unk_token\" is not in");
    wordpiece_close(&wordpiece);
    wordpiece = load("{\"max_input_chars_per_word\": 1000000}", "must be 1 to 1000");
    wordpiece_close(&wordpiece);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_longest_token_comes_first),
        cmocka_unit_test(test_a_word_that_does_not_come_out_even_is_one_unknown_token),
        cmocka_unit_test(test_a_word_of_too_many_characters_is_unknown),
        cmocka_unit_test(test_a_broken_model_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
