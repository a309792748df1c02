/* tokenizer.json as untrusted input: every fault is one clear error, none is a crash. */
#include "pipeline/text/tokenizer_internal.h"

#include <stdio.h>
#include <unistd.h>

#include "tests/support/cmocka.h"
#include "tests/support/seed.h"

#define GOLDEN_DIR SOURCE_DIR "/tests/golden/text/"

/* A whole file with the members that a case gives. */
#define MODEL(members) "{\"model\": {\"type\": \"BPE\", " members "}}"
#define VOCAB "\"vocab\": {\"a\": 0, \"b\": 1, \"ab\": 2}, \"merges\": [\"a b\"]"
#define FILE_WITH(members) "{\"model\": {" VOCAB "}, " members "}"
#define ADDED(members) FILE_WITH("\"added_tokens\": [{" members "}]")

static const struct {
    const char *json;
    const char *message; // what the error must say
} faults[] = {
    {"", "not valid JSON"},
    {"[]", "\"model\" is missing"},
    {"{\"model\": 1}", "\"model\" is missing"},
    {"{\"model\": {\"type\": \"Unigram\"}}", "model Unigram is not supported"},
    {"{\"model\": {\"type\": \"WordLevel\"}}", "model WordLevel is not supported"},
    {"{\"model\": {\"type\": 3}}", "\"type\" is of another type, must be a string"},
    {MODEL("\"merges\": []"), "\"vocab\" is missing"},
    {MODEL("\"vocab\": [], \"merges\": []"), "\"vocab\" is missing or not an object"},
    {MODEL("\"vocab\": {}"), "\"merges\" is missing, must be an array"},
    {MODEL("\"vocab\": {\"a\": -1}, \"merges\": []"), "not below 2097152"},
    {MODEL("\"vocab\": {\"a\": 99999999999}, \"merges\": []"), "not below 2097152"},
    {MODEL("\"vocab\": {\"a\": \"0\"}, \"merges\": []"), "a token has no id"},
    {MODEL("\"vocab\": {\"a\": 0, \"b\": 0}, \"merges\": []"), "two tokens have the id 0"},
    {MODEL("\"vocab\": {\"a\": 0, \"a\": 1}, \"merges\": []"), "duplicate object key"},
    {MODEL("\"vocab\": {\"a\": 0}, \"merges\": [\"a\"]"), "merge 0 is not two tokens"},
    {MODEL("\"vocab\": {\"a\": 0}, \"merges\": [\"a b c\"]"), "merge 0 is not two tokens"},
    {MODEL("\"vocab\": {\"a\": 0}, \"merges\": [[\"a\"]]"), "merge 0 is not two tokens"},
    {MODEL("\"vocab\": {\"a\": 0}, \"merges\": [7]"), "merge 0 is not two tokens"},
    {MODEL("\"vocab\": {\"a\": 0}, \"merges\": [\"a a\"]"), "not in the vocabulary"},
    {MODEL(VOCAB ", \"unk_token\": \"x\""), "\"unk_token\" is not in the vocabulary"},
    {MODEL(VOCAB ", \"unk_token\": 1"), "\"unk_token\" is of another type"},
    {MODEL(VOCAB ", \"fuse_unk\": 1"), "\"fuse_unk\" is of another type"},
    {MODEL(VOCAB ", \"dropout\": 0.1"), "\"dropout\" is not supported"},
    {MODEL(VOCAB ", \"end_of_word_suffix\": \"</w>\""), "\"end_of_word_suffix\""},
    {MODEL(VOCAB ", \"continuing_subword_prefix\": \"##\""), "\"continuing_subword_prefix\""},
    {FILE_WITH("\"added_tokens\": 1"), "\"added_tokens\" is not an array"},
    {FILE_WITH("\"added_tokens\": [1]"), "a token has no id"},
    {ADDED("\"id\": 3"), "\"content\" is missing"},
    {ADDED("\"id\": 1, \"content\": \"x\""), "two tokens have the id 1"},
    {ADDED("\"id\": 3, \"content\": \"a\""), "added token 3 has the id 0 in the vocabulary"},
    {ADDED("\"id\": 3, \"content\": \"x\", \"lstrip\": 1"), "\"lstrip\" is of another type"},
    {FILE_WITH("\"normalizer\": {}"), "\"type\" is missing"},
    {FILE_WITH("\"normalizer\": 1"), "\"type\" is missing"},
    {FILE_WITH("\"normalizer\": {\"type\": \"Precompiled\"}"), "normalizer Precompiled"},
    {FILE_WITH("\"normalizer\": {\"type\": \"Sequence\"}"), "\"normalizers\" is missing"},
    {FILE_WITH("\"normalizer\": {\"type\": \"Prepend\"}"), "\"prepend\" is missing"},
    {FILE_WITH("\"pre_tokenizer\": {\"type\": \"UnicodeScripts\"}"), "UnicodeScripts"},
    {FILE_WITH("\"pre_tokenizer\": {\"type\": \"Split\", \"behavior\": \"Isolated\", \"pattern\": "
               "{\"Regex\": \"(\"}}"),
     "a regular expression is not valid"},
    {FILE_WITH("\"pre_tokenizer\": {\"type\": \"Split\", \"behavior\": \"Thrown\"}"), "Thrown"},
    {FILE_WITH("\"pre_tokenizer\": {\"type\": \"Metaspace\", \"replacement\": \"ab\"}"),
     "must be one character"},
    {FILE_WITH("\"pre_tokenizer\": {\"type\": \"Sequence\", \"pretokenizers\": [{\"type\": "
               "\"ByteLevel\"}, {\"type\": \"ByteLevel\"}]}"),
     "after ByteLevel"},
    {FILE_WITH("\"post_processor\": {\"type\": \"TemplateProcessing\", \"single\": []}"),
     "has the text 0 times"},
    {FILE_WITH("\"post_processor\": {\"type\": \"TemplateProcessing\", \"single\": "
               "[{\"SpecialToken\": {\"id\": \"x\"}}]}"),
     "\"ids\" is missing"},
    {FILE_WITH(
         "\"post_processor\": {\"type\": \"TemplateProcessing\", \"single\": "
         "[{\"SpecialToken\": {\"id\": \"x\"}}], \"special_tokens\": {\"x\": {\"ids\": [3]}}}"),
     "has no id below 3"},
    {FILE_WITH("\"decoder\": {\"type\": \"CTC\"}"), "decoder CTC is not supported"},
    {FILE_WITH("\"decoder\": {\"type\": \"Strip\"}"), "right after Fuse"},
    {FILE_WITH(
         "\"decoder\": {\"type\": \"Sequence\", \"decoders\": [{\"type\": \"Fuse\"}, {\"type\": "
         "\"ByteFallback\"}]}"),
     "decoder ByteFallback is not supported at this place"},
};

static void test_every_fault_has_its_own_error(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++) {
        struct tokenizer *tokenizer = NULL;
        struct error error = {0};
        if (tokenizer_open_bytes(bytes_of(faults[i].json), &tokenizer, &error)) {
            fail_msg("accepted: %s", faults[i].json);
        }
        assert_int_equal(error.kind, ERROR_CONFIG);
        if (strstr(error.message, faults[i].message) == NULL) {
            fail_msg("\"%s\" does not say \"%s\"", error.message, faults[i].message);
        }
    }
}

static void test_a_deep_file_is_refused(void **state)
{
    (void)state;
    struct buffer json;
    buffer_init(&json, 1 << 20);
    buffer_append_text(&json, "{\"model\":{" VOCAB "},\"normalizer\":");
    for (size_t i = 0; i < 20000; i++) {
        buffer_append_text(&json, "{\"type\":\"Sequence\",\"normalizers\":[");
    }
    struct tokenizer *tokenizer = NULL;
    struct error error = {0};
    assert_false(tokenizer_open_bytes(buffer_bytes(&json), &tokenizer, &error));
    assert_non_null(strstr(error.message, "not valid JSON"));
    buffer_close(&json);
}

static void test_a_missing_file_is_named(void **state)
{
    (void)state;
    struct tokenizer *tokenizer = NULL;
    struct error error = {0};
    assert_false(tokenizer_open("/nowhere/model", &tokenizer, &error));
    assert_int_equal(error.kind, ERROR_CONFIG);
    assert_string_equal(error.message, "tokenizer /nowhere/model: there is no such file");
    assert_false(tokenizer_open(SOURCE_DIR, &tokenizer, &error));
    assert_non_null(strstr(error.message, "/tokenizer.json: there is no such file"));
}

static void test_a_file_over_the_limit_is_refused_unread(void **state)
{
    (void)state;
    char path[] = "/tmp/millrace-tokenizer-XXXXXX";
    int file = mkstemp(path);
    assert_true(file >= 0);
    assert_int_equal(ftruncate(file, TOKENIZER_FILE_SIZE_MAX + 1L), 0);
    struct tokenizer *tokenizer = NULL;
    struct error error = {0};
    assert_false(tokenizer_open(path, &tokenizer, &error));
    assert_non_null(strstr(error.message, "67108865 bytes, at most 67108864 are allowed"));
    assert_int_equal(close(file), 0);
    assert_int_equal(unlink(path), 0);
}

/* --- Mutations --- */

static struct buffer read_file(const char *path)
{
    struct buffer content;
    buffer_init(&content, 1 << 20);
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    char chunk[4096];
    size_t size = 0;
    while ((size = fread(chunk, 1, sizeof chunk, file)) > 0) {
        buffer_append(&content, chunk, size);
    }
    assert_int_equal(fclose(file), 0);
    return content;
}

/* Uses a tokenizer that a damaged file gave. */
static void use(const struct tokenizer *tokenizer)
{
    struct token_list list;
    struct buffer text;
    struct error error = {0};
    token_list_init(&list, 1000);
    buffer_init(&text, 1 << 16);
    if (tokenizer_encode(tokenizer, bytes_of("The mill's 12 \xC3\xA9 <s><|im_end|>\n\n x"), true,
                         &list, &error)) {
        tokenizer_decode(tokenizer, list.ids, list.count, true, &text);
    } else {
        assert_int_not_equal(error.kind, ERROR_NONE);
    }
    token_list_close(&list);
    buffer_close(&text);
}

static void check_mutation(const struct buffer *original)
{
    struct buffer json;
    buffer_init(&json, 1 << 20);
    buffer_append_bytes(&json, buffer_bytes(original));
    size_t changes = 1 + random_below(3);
    for (size_t i = 0; i < changes; i++) {
        // The members before and after the vocabulary are few bytes of many: aim at them.
        size_t near = random_below(2) == 0 ? random_below(1500 < json.size ? 1500 : json.size)
                                           : random_below(json.size);
        static const char bytes[] = "\"\\{}[],:0129-eatnul \x80\xFF";
        json.data[near] = bytes[random_below(sizeof bytes - 1)];
    }
    if (random_below(8) == 0) {
        buffer_truncate(&json, random_below(json.size));
    }
    struct tokenizer *tokenizer = NULL;
    struct error error = {0};
    if (tokenizer_open_bytes(buffer_bytes(&json), &tokenizer, &error)) {
        use(tokenizer);
        tokenizer_close(tokenizer);
    } else {
        assert_int_not_equal(error.kind, ERROR_NONE);
        assert_true(error.message[0] != '\0');
    }
    buffer_close(&json);
}

static void test_damaged_files_never_crash(void **state)
{
    (void)state;
    seed_random();
    static const char *const files[] = {GOLDEN_DIR "byte-level.json", GOLDEN_DIR "metaspace.json"};
    for (size_t i = 0; i < 2; i++) {
        struct buffer original = read_file(files[i]);
        for (size_t round = 0; round < 400; round++) {
            check_mutation(&original);
        }
        buffer_close(&original);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_fault_has_its_own_error),
        cmocka_unit_test(test_a_deep_file_is_refused),
        cmocka_unit_test(test_a_missing_file_is_named),
        cmocka_unit_test(test_a_file_over_the_limit_is_refused_unread),
        cmocka_unit_test(test_damaged_files_never_crash),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
