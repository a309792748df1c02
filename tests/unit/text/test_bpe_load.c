/* Unknown characters, byte fallback and merges as the "model" of a file says. The expected ids are
 * those of Hugging Face tokenizers 0.23.3. */
#include "pipeline/text/bpe_load.h"

#include "tests/support/cmocka.h"

/* The model's names, filled from its vocabulary. */
static struct vocabulary names_of(const json_t *model)
{
    json_t *vocab = json_object_get(model, "vocab");
    struct vocabulary names;
    struct error error = {0};
    const char *key = NULL;
    json_t *value = NULL;
    assert_true(vocabulary_init(&names, json_object_size(vocab), &error));
    json_object_foreach (vocab, key, value) {
        assert_true(vocabulary_add(&names, (int32_t)json_integer_value(value), bytes_of(key), true,
                                   &error));
    }
    return names;
}

static void check(const char *json, const char *text, const char *expected)
{
    json_t *model = json_loads(json, 0, NULL);
    assert_non_null(model);
    struct vocabulary names = names_of(model);
    struct bpe bpe;
    struct bpe_scratch scratch = {0};
    struct token_list list;
    struct buffer ids;
    struct error error = {0};
    token_list_init(&list, 100);
    buffer_init(&ids, 1000);
    if (!bpe_load(&bpe, model, &names, false, &error)) {
        fail_msg("%s", error.message);
    }
    assert_true(bpe_encode(&bpe, &scratch, bytes_of(text), &list, &error));
    for (size_t i = 0; i < list.count; i++) {
        buffer_printf(&ids, "%d ", (int)list.ids[i]);
    }
    assert_string_equal(buffer_bytes(&ids).data, expected);
    buffer_close(&ids);
    token_list_close(&list);
    bpe_scratch_close(&scratch);
    bpe_close(&bpe);
    vocabulary_close(&names);
    json_decref(model);
}

#define MODEL(members)                                                                             \
    "{\"vocab\": {\"a\": 0, \"b\": 1, \"ab\": 2, \"abb\": 3, \"<unk>\": 4, \"<0xC3>\": 5, "        \
    "\"<0xA9>\": 6, \"bb\": 7}, \"merges\": [\"a b\", [\"ab\", \"b\"]], " members "}"

static void test_merges_in_either_spelling(void **state)
{
    (void)state;
    check(MODEL("\"unk_token\": null"), "abbab", "3 2 ");
    check(MODEL("\"unk_token\": null"), "bb", "1 1 "); // in the vocabulary, but no merge makes it
    check(MODEL("\"ignore_merges\": true"), "bb", "7 ");
    check(MODEL("\"ignore_merges\": true"), "bbb", "1 1 1 ");
}

static void test_unknown_characters(void **state)
{
    (void)state;
    check(MODEL("\"unk_token\": null"), "axxb", "2 "); // they vanish, and what is beside them meets
    check(MODEL("\"unk_token\": \"<unk>\""), "axxb", "0 4 4 1 ");
    check(MODEL("\"unk_token\": \"<unk>\", \"fuse_unk\": true"), "axxb", "0 4 1 ");
}

static void test_byte_fallback(void **state)
{
    (void)state;
    check(MODEL("\"byte_fallback\": true"), "a\xC3\xA9", "0 5 6 ");
    check(MODEL("\"byte_fallback\": true, \"unk_token\": \"<unk>\""), "\xC3\xAA", "4 ");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_merges_in_either_spelling),
        cmocka_unit_test(test_unknown_characters),
        cmocka_unit_test(test_byte_fallback),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
