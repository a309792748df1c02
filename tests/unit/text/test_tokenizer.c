/* Encoding and decoding against what other implementations gave: the small goldens of
 * tests/golden/text (Hugging Face tokenizers) and, where it is present, llama.cpp's vectors. */
#include "pipeline/text/tokenizer.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "pipeline/text/detokenizer.h"
#include "tests/support/cmocka.h"

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

static struct token_list encode(const struct tokenizer *tokenizer, struct bytes text,
                                bool add_special_tokens)
{
    struct token_list list;
    struct error error = {0};
    token_list_init(&list, SIZE_MAX);
    if (!tokenizer_encode(tokenizer, text, add_special_tokens, &list, &error)) {
        fail_msg("%s", error.message);
    }
    return list;
}

static void check_decoded(const struct tokenizer *tokenizer, const struct token_list *list,
                          bool skip_special_tokens, const json_t *expected)
{
    struct buffer text;
    buffer_init(&text, SIZE_MAX);
    tokenizer_decode(tokenizer, list->ids, list->count, skip_special_tokens, &text);
    assert_false(buffer_failed(&text));
    assert_string_equal(buffer_bytes(&text).data, json_string_value(expected));
    buffer_close(&text);
}

static void check_golden(const struct tokenizer *tokenizer, const json_t *golden)
{
    const json_t *text = json_object_get(golden, "text");
    const json_t *ids = json_object_get(golden, "ids");
    struct bytes bytes = {json_string_value(text), json_string_length(text)};
    struct token_list list =
        encode(tokenizer, bytes, json_is_true(json_object_get(golden, "add_special_tokens")));
    if (list.count != json_array_size(ids)) {
        fail_msg("%zu ids instead of %zu: %s", list.count, json_array_size(ids), bytes.data);
    }
    for (size_t i = 0; i < list.count; i++) {
        assert_int_equal(list.ids[i], json_integer_value(json_array_get(ids, i)));
    }
    check_decoded(tokenizer, &list, false, json_object_get(golden, "decoded"));
    check_decoded(tokenizer, &list, true, json_object_get(golden, "decoded_plain"));
    token_list_close(&list);
}

static void test_small_tokenizers_agree_with_hugging_face(void **state)
{
    (void)state;
    struct tokenizer *byte_level = open_tokenizer(GOLDEN_DIR "byte-level.json");
    struct tokenizer *metaspace = open_tokenizer(GOLDEN_DIR "metaspace.json");
    struct tokenizer *wordpiece = open_tokenizer(GOLDEN_DIR "wordpiece.json");
    FILE *file = fopen(GOLDEN_DIR "goldens.jsonl", "r");
    assert_non_null(file);
    size_t count = 0;
    json_t *golden = NULL;
    while ((golden = json_loadf(file, JSON_DISABLE_EOF_CHECK, NULL)) != NULL) {
        const char *name = json_string_value(json_object_get(golden, "tokenizer"));
        check_golden(strcmp(name, "metaspace") == 0   ? metaspace
                     : strcmp(name, "wordpiece") == 0 ? wordpiece
                                                      : byte_level,
                     golden);
        json_decref(golden);
        count++;
    }
    assert_int_equal(count, 258);
    assert_int_equal(fclose(file), 0);
    tokenizer_close(byte_level);
    tokenizer_close(metaspace);
    tokenizer_close(wordpiece);
}

/* --- llama.cpp's vectors --- */

static struct buffer read_file(const char *path)
{
    struct buffer content;
    buffer_init(&content, 1 << 20);
    FILE *file = fopen(path, "rb");
    if (file != NULL) {
        char chunk[4096];
        size_t size = 0;
        while ((size = fread(chunk, 1, sizeof chunk, file)) > 0) {
            buffer_append(&content, chunk, size);
        }
        (void)fclose(file);
    }
    return content;
}

/* Compares the ids of a text with one line of an .out file; returns the line after it. */
static const char *check_line(const struct tokenizer *tokenizer, struct bytes text,
                              const char *line)
{
    struct token_list list = encode(tokenizer, text, false);
    for (size_t i = 0; i < list.count; i++) {
        char *end = NULL;
        assert_int_equal(list.ids[i], strtol(line, &end, 10));
        assert_true(end > line);
        line = end;
    }
    while (*line == ' ') {
        line++;
    }
    assert_true(*line == '\n' || *line == '\0');
    token_list_close(&list);
    return *line == '\n' ? line + 1 : line;
}

static void check_vectors(const char *vectors, const char *folder)
{
    static const char separator[] = "\n__ggml_vocab_test__\n";
    char path[512];
    (void)snprintf(path, sizeof path, DATA_DIR "/golden-tokenization/%s.inp", vectors);
    struct buffer input = read_file(path);
    (void)snprintf(path, sizeof path, DATA_DIR "/golden-tokenization/%s.out", vectors);
    struct buffer output = read_file(path);
    if (input.size == 0 || output.size == 0) {
        print_message("skipped: no %s\n", path);
        skip();
    }
    (void)snprintf(path, sizeof path, DATA_DIR "/tokenizers/%s", folder);
    struct tokenizer *tokenizer = open_tokenizer(path);
    const char *text = input.data;
    const char *line = output.data;
    size_t count = 0;
    for (const char *end = text; end != NULL; count++) {
        end = strstr(text, separator);
        struct bytes one = {text, end == NULL ? strlen(text) : (size_t)(end - text)};
        line = check_line(tokenizer, one, line);
        text = end == NULL ? text : end + sizeof separator - 1;
    }
    assert_int_equal(count, 47);
    tokenizer_close(tokenizer);
    buffer_close(&input);
    buffer_close(&output);
}

static void test_gpt2_agrees_with_the_vectors(void **state)
{
    (void)state;
    check_vectors("gpt-2", "gpt-2");
}

static void test_llama3_agrees_with_the_vectors(void **state)
{
    (void)state;
    check_vectors("llama-bpe", "llama-3.1");
}

static void test_llama2_agrees_with_the_vectors(void **state)
{
    (void)state;
    check_vectors("llama-spm", "llama-2");
}

static void test_qwen2_agrees_with_the_vectors(void **state)
{
    (void)state;
    check_vectors("qwen2", "qwen2.5");
}

/* --- Limits and edges --- */

static void test_names_the_limit_when_there_are_too_many_tokens(void **state)
{
    (void)state;
    struct tokenizer *tokenizer = open_tokenizer(GOLDEN_DIR "byte-level.json");
    struct token_list list;
    token_list_init(&list, 5);
    struct error error = {0};
    assert_true(tokenizer_encode(tokenizer, bytes_of("The"), false, &list, &error));
    size_t count = list.count;
    assert_false(tokenizer_encode(tokenizer, bytes_of("1 2 3 4 5 6 7 8 9"), false, &list, &error));
    assert_int_equal(error.kind, ERROR_INVALID);
    assert_string_equal(error.code, "context_length_exceeded");
    assert_non_null(strstr(error.message, "more than 5 tokens"));
    assert_int_equal(list.count, count);
    token_list_close(&list);
    tokenizer_close(tokenizer);
}

static void test_broken_utf8_is_read_as_replacement_characters(void **state)
{
    (void)state;
    struct tokenizer *tokenizer = open_tokenizer(GOLDEN_DIR "byte-level.json");
    struct token_list broken = encode(tokenizer, bytes_of("a\xE2\x82z\xFF\xC0\x80"), false);
    struct token_list repaired =
        encode(tokenizer, bytes_of("a\xEF\xBF\xBDz\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD"), false);
    assert_int_equal(broken.count, repaired.count);
    assert_memory_equal(broken.ids, repaired.ids, broken.count * sizeof *broken.ids);
    token_list_close(&broken);
    token_list_close(&repaired);
    tokenizer_close(tokenizer);
}

static void test_a_nul_byte_is_text_like_any_other(void **state)
{
    (void)state;
    struct tokenizer *tokenizer = open_tokenizer(GOLDEN_DIR "byte-level.json");
    struct token_list list = encode(tokenizer, (struct bytes){"a\0b", 3}, false);
    struct buffer text;
    buffer_init(&text, 100);
    tokenizer_decode(tokenizer, list.ids, list.count, false, &text);
    assert_int_equal(text.size, 3);
    assert_memory_equal(text.data, "a\0b", 3);
    buffer_close(&text);
    token_list_close(&list);
    tokenizer_close(tokenizer);
}

static void test_knows_its_tokens_by_name_and_by_id(void **state)
{
    (void)state;
    struct tokenizer *tokenizer = open_tokenizer(GOLDEN_DIR "byte-level.json");
    int32_t end = tokenizer_find(tokenizer, bytes_of("<|im_end|>"));
    assert_int_equal(end, 602);
    assert_true(tokenizer_is_special(tokenizer, end));
    assert_false(tokenizer_is_special(tokenizer, 0));
    assert_false(tokenizer_is_special(tokenizer, -1));
    assert_false(tokenizer_is_special(tokenizer, INT32_MAX));
    assert_true(bytes_equal_text(tokenizer_token(tokenizer, end), "<|im_end|>"));
    assert_null(tokenizer_token(tokenizer, 1 << 20).data);
    assert_int_equal(tokenizer_find(tokenizer, bytes_of("<|nothing|>")), -1);
    assert_int_equal(tokenizer_ids_count(tokenizer), 607);
    tokenizer_close(tokenizer);
}

static void test_ids_that_do_not_exist_decode_to_nothing(void **state)
{
    (void)state;
    struct tokenizer *tokenizer = open_tokenizer(GOLDEN_DIR "byte-level.json");
    const int32_t ids[] = {-5, 607, INT32_MAX, INT32_MIN};
    struct buffer text;
    buffer_init(&text, 100);
    tokenizer_decode(tokenizer, ids, 4, false, &text);
    assert_int_equal(text.size, 0);
    buffer_close(&text);
    tokenizer_close(tokenizer);
}

/* --- Time --- */

static double seconds_to_encode(const struct tokenizer *tokenizer, struct bytes text)
{
    struct timespec start;
    struct timespec end;
    assert_int_equal(clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &start), 0);
    struct token_list list = encode(tokenizer, text, false);
    assert_int_equal(clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &end), 0);
    token_list_close(&list);
    return (double)(end.tv_sec - start.tv_sec) + (double)(end.tv_nsec - start.tv_nsec) / 1e9;
}

/* A megabyte of one unit as one word. Quadratic time would take hours; the bound has room for
 * sanitizers and a busy machine. */
static void check_time(const struct tokenizer *tokenizer, const char *unit)
{
    struct buffer text;
    buffer_init(&text, 2 << 20);
    while (text.size < 1 << 20) {
        buffer_append_text(&text, unit);
    }
    assert_true(seconds_to_encode(tokenizer, buffer_bytes(&text)) < 20);
    buffer_close(&text);
}

static void test_a_megabyte_without_a_break_takes_no_quadratic_time(void **state)
{
    (void)state;
    static const char *const files[] = {GOLDEN_DIR "byte-level.json", GOLDEN_DIR "metaspace.json"};
    static const char *const units[] = {
        "a", " ",         "\n", "\xF0\x9F\x99\x82", "the", "a\xCC\x81\xCC\xA7", "\xCC\x81\xCC\xA7",
        "<", "<|im_end|>"};
    for (size_t i = 0; i < 2; i++) {
        struct tokenizer *tokenizer = open_tokenizer(files[i]);
        for (size_t k = 0; k < sizeof units / sizeof units[0]; k++) {
            check_time(tokenizer, units[k]);
        }
        tokenizer_close(tokenizer);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_small_tokenizers_agree_with_hugging_face),
        cmocka_unit_test(test_gpt2_agrees_with_the_vectors),
        cmocka_unit_test(test_llama3_agrees_with_the_vectors),
        cmocka_unit_test(test_llama2_agrees_with_the_vectors),
        cmocka_unit_test(test_qwen2_agrees_with_the_vectors),
        cmocka_unit_test(test_names_the_limit_when_there_are_too_many_tokens),
        cmocka_unit_test(test_broken_utf8_is_read_as_replacement_characters),
        cmocka_unit_test(test_a_nul_byte_is_text_like_any_other),
        cmocka_unit_test(test_knows_its_tokens_by_name_and_by_id),
        cmocka_unit_test(test_ids_that_do_not_exist_decode_to_nothing),
        cmocka_unit_test(test_a_megabyte_without_a_break_takes_no_quadratic_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
