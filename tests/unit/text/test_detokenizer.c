/* Streaming decoding: whole characters only, and in sum the same as decoding at once. */
#include "pipeline/text/detokenizer.h"

#include "pipeline/text/utf8.h"
#include "tests/support/cmocka.h"
#include "tests/support/seed.h"

#define GOLDEN_DIR SOURCE_DIR "/tests/golden/text/"

static struct tokenizer *open_tokenizer(const char *path)
{
    struct tokenizer *tokenizer = NULL;
    struct error error = {0};
    if (!tokenizer_open(path, &tokenizer, &error)) {
        fail_msg("%s", error.message);
    }
    return tokenizer;
}

/* Feeds ids one by one; every part must be valid by itself. */
static void stream(const struct tokenizer *tokenizer, const int32_t *ids, size_t count,
                   bool skip_special_tokens, struct buffer *out)
{
    struct detokenizer detokenizer;
    detokenizer_init(&detokenizer, tokenizer, skip_special_tokens);
    for (size_t i = 0; i < count; i++) {
        size_t before = out->size;
        detokenizer_feed(&detokenizer, ids[i], out);
        struct bytes text = buffer_bytes(out);
        assert_true(utf8_is_valid((struct bytes){text.data + before, text.size - before}));
    }
    detokenizer_finish(&detokenizer, out);
    assert_true(utf8_is_valid(buffer_bytes(out)));
    detokenizer_close(&detokenizer);
}

static void check_random_ids(const struct tokenizer *tokenizer, int32_t low, int32_t high)
{
    int32_t ids[40];
    size_t count = random_below(41);
    for (size_t i = 0; i < count; i++) {
        ids[i] = low + (int32_t)random_below((size_t)(high - low));
    }
    bool skips_special = random_below(2) == 0;
    struct buffer whole;
    struct buffer streamed;
    buffer_init(&whole, SIZE_MAX);
    buffer_init(&streamed, SIZE_MAX);
    tokenizer_decode(tokenizer, ids, count, skips_special, &whole);
    stream(tokenizer, ids, count, skips_special, &streamed);
    assert_true(bytes_equal(buffer_bytes(&whole), buffer_bytes(&streamed)));
    buffer_close(&whole);
    buffer_close(&streamed);
}

static void test_streams_what_decoding_at_once_gives(void **state)
{
    (void)state;
    seed_random();
    static const char *const files[] = {GOLDEN_DIR "byte-level.json", GOLDEN_DIR "metaspace.json"};
    for (size_t i = 0; i < 2; i++) {
        struct tokenizer *tokenizer = open_tokenizer(files[i]);
        int32_t ids_count = (int32_t)tokenizer_ids_count(tokenizer);
        for (size_t round = 0; round < 500; round++) {
            check_random_ids(tokenizer, -2, ids_count + 2);
            check_random_ids(tokenizer, 0, 270); // mostly single bytes
        }
        tokenizer_close(tokenizer);
    }
}

static void test_holds_a_character_until_its_last_byte(void **state)
{
    (void)state;
    struct tokenizer *tokenizer = open_tokenizer(GOLDEN_DIR "metaspace.json");
    struct detokenizer detokenizer;
    struct buffer out;
    buffer_init(&out, 100);
    detokenizer_init(&detokenizer, tokenizer, true);
    static const char *const euro[] = {"<0xE2>", "<0x82>", "<0xAC>"};
    for (size_t i = 0; i < 3; i++) {
        detokenizer_feed(&detokenizer, tokenizer_find(tokenizer, bytes_of(euro[i])), &out);
        assert_int_equal(out.size, 0);
    }
    detokenizer_feed(&detokenizer, tokenizer_find(tokenizer, bytes_of("a")), &out);
    assert_string_equal(out.data, "\xE2\x82\xAC"
                                  "a");
    detokenizer_feed(&detokenizer, tokenizer_find(tokenizer, bytes_of("<0xE2>")), &out);
    detokenizer_feed(&detokenizer, tokenizer_find(tokenizer, bytes_of("<0x82>")), &out);
    detokenizer_finish(&detokenizer, &out);
    // Hugging Face's ByteFallback: one U+FFFD for each byte of a run that is not valid.
    assert_string_equal(out.data, "\xE2\x82\xAC"
                                  "a" UTF8_REPLACEMENT UTF8_REPLACEMENT);
    detokenizer_close(&detokenizer);
    buffer_close(&out);
    tokenizer_close(tokenizer);
}

static void test_a_text_that_continues_another_keeps_its_first_space(void **state)
{
    (void)state;
    struct tokenizer *tokenizer = open_tokenizer(GOLDEN_DIR "metaspace.json");
    struct error error = {0};
    struct token_list ids;
    struct buffer out[3];
    struct detokenizer detokenizer;
    token_list_init(&ids, 100);
    assert_true(tokenizer_encode(tokenizer, bytes_of("a b"), false, &ids, &error));
    for (int i = 0; i < 3; i++) {
        buffer_init(&out[i], 100);
    }
    tokenizer_decode(tokenizer, ids.ids, ids.count, true, &out[0]);
    assert_string_equal(out[0].data, "a b");
    detokenizer_init(&detokenizer, tokenizer, true);
    detokenizer_continue(&detokenizer);
    for (size_t i = 0; i < ids.count; i++) {
        detokenizer_feed(&detokenizer, ids.ids[i], &out[1]);
        tokenizer_append_piece(tokenizer, ids.ids[i], &out[2]);
    }
    detokenizer_finish(&detokenizer, &out[1]);
    assert_string_equal(out[1].data, " a b");
    assert_string_equal(out[2].data, " a b");
    detokenizer_close(&detokenizer);
    for (int i = 0; i < 3; i++) {
        buffer_close(&out[i]);
    }
    token_list_close(&ids);
    tokenizer_close(tokenizer);
}

static void test_a_piece_is_the_bytes_of_its_token(void **state)
{
    (void)state;
    struct tokenizer *tokenizer = open_tokenizer(GOLDEN_DIR "metaspace.json");
    struct buffer out;
    buffer_init(&out, 100);
    tokenizer_append_piece(tokenizer, tokenizer_find(tokenizer, bytes_of("<0xE2>")), &out);
    tokenizer_append_piece(tokenizer, -1, &out);
    tokenizer_append_piece(tokenizer, INT32_MAX, &out);
    assert_string_equal(out.data, "\xE2");
    buffer_close(&out);
    tokenizer_close(tokenizer);
}

static void test_a_full_buffer_fails_and_does_not_crash(void **state)
{
    (void)state;
    struct tokenizer *tokenizer = open_tokenizer(GOLDEN_DIR "byte-level.json");
    struct buffer out;
    buffer_init(&out, 3);
    const int32_t ids[] = {64, 65, 66, 67, 68};
    tokenizer_decode(tokenizer, ids, 5, false, &out);
    assert_true(buffer_failed(&out));
    assert_true(out.size <= 3);
    buffer_close(&out);
    tokenizer_close(tokenizer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_streams_what_decoding_at_once_gives),
        cmocka_unit_test(test_holds_a_character_until_its_last_byte),
        cmocka_unit_test(test_a_text_that_continues_another_keeps_its_first_space),
        cmocka_unit_test(test_a_piece_is_the_bytes_of_its_token),
        cmocka_unit_test(test_a_full_buffer_fails_and_does_not_crash),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
