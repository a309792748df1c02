/* The map between texts and ids. */
#include "pipeline/text/vocabulary.h"

#include <stdio.h>

#include "tests/support/cmocka.h"

static void add(struct vocabulary *vocabulary, int32_t id, struct bytes text, bool is_findable)
{
    struct error error = {0};
    assert_true(vocabulary_add(vocabulary, id, text, is_findable, &error));
}

static int32_t find(const struct vocabulary *vocabulary, const char *text)
{
    return vocabulary_find(vocabulary, text, strlen(text));
}

static void test_finds_every_text_by_its_bytes(void **state)
{
    (void)state;
    enum { COUNT = 5000 };
    struct vocabulary vocabulary;
    struct error error = {0};
    char text[32];
    assert_true(vocabulary_init(&vocabulary, COUNT, &error));
    for (int32_t id = 0; id < COUNT; id++) {
        // Lengths of 1 to 20 bytes, so that every path of the hash is taken.
        int size =
            snprintf(text, sizeof text, "%d%.*s", (int)id, (int)(id % 17), "abcdefghijklmnopq");
        add(&vocabulary, id, (struct bytes){text, (size_t)size}, true);
    }
    for (int32_t id = 0; id < COUNT; id++) {
        struct bytes found = vocabulary_text(&vocabulary, id);
        assert_int_equal(vocabulary_find(&vocabulary, found.data, found.size), id);
    }
    assert_int_equal(find(&vocabulary, "5000"), -1);
    assert_int_equal(find(&vocabulary, "a text longer than any"), -1);
    vocabulary_close(&vocabulary);
}

static void test_ids_may_be_sparse_and_texts_equal(void **state)
{
    (void)state;
    struct vocabulary vocabulary;
    struct error error = {0};
    assert_true(vocabulary_init(&vocabulary, 10, &error));
    add(&vocabulary, 7, bytes_of("x"), true);
    add(&vocabulary, 3, bytes_of("x"), true);
    add(&vocabulary, 5, bytes_of("hidden"), false);
    add(&vocabulary, 9, (struct bytes){"a\0b", 3}, true);
    assert_int_equal(find(&vocabulary, "x"), 7);
    assert_int_equal(find(&vocabulary, "hidden"), -1);
    assert_true(bytes_equal_text(vocabulary_text(&vocabulary, 5), "hidden"));
    assert_int_equal(vocabulary_find(&vocabulary, "a\0b", 3), 9);
    assert_int_equal(vocabulary_find(&vocabulary, "a\0c", 3), -1);
    assert_null(vocabulary_text(&vocabulary, 4).data);
    assert_null(vocabulary_text(&vocabulary, 10).data);
    assert_null(vocabulary_text(&vocabulary, -1).data);
    vocabulary_close(&vocabulary);
}

static void test_an_empty_one_finds_nothing(void **state)
{
    (void)state;
    struct vocabulary vocabulary;
    struct error error = {0};
    assert_true(vocabulary_init(&vocabulary, 0, &error));
    assert_int_equal(find(&vocabulary, "a"), -1);
    assert_int_equal(vocabulary_find(&vocabulary, "", 0), -1);
    vocabulary_close(&vocabulary);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_finds_every_text_by_its_bytes),
        cmocka_unit_test(test_ids_may_be_sparse_and_texts_equal),
        cmocka_unit_test(test_an_empty_one_finds_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
