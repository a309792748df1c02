/* Words by every kind of pre_tokenizer. The expected words are those of Hugging Face tokenizers. */
#include "pipeline/text/pre_tokenizer.h"

#include "tests/support/cmocka.h"

static bool append_word(void *context, struct bytes word, struct error *error)
{
    (void)error;
    struct buffer *words = context;
    buffer_append_char(words, '[');
    buffer_append_bytes(words, word);
    buffer_append_char(words, ']');
    return true;
}

static void check_words(const char *json, const char *text, bool is_first, const char *expected)
{
    json_t *root = json_loads(json, JSON_DECODE_ANY, NULL);
    struct pre_tokenizer *pre_tokenizer = NULL;
    struct pre_tokenizer_scratch scratch = {0};
    struct error error = {0};
    struct buffer words;
    buffer_init(&words, 1 << 12);
    if (!pre_tokenizer_open(root, &pre_tokenizer, &error)) {
        fail_msg("%s: %s", json, error.message);
    }
    struct word_sink sink = {append_word, &words};
    assert_true(pre_tokenizer_run(pre_tokenizer, &scratch, bytes_of(text), is_first, sink, &error));
    assert_string_equal(buffer_bytes(&words).data, expected);
    pre_tokenizer_scratch_close(&scratch);
    pre_tokenizer_close(pre_tokenizer);
    buffer_close(&words);
    json_decref(root);
}

#define SPLIT(behavior, invert)                                                                    \
    "{\"type\": \"Split\", \"pattern\": {\"String\": \"-\"}, \"behavior\": \"" behavior            \
    "\", \"invert\": " invert "}"

static void test_splits_by_every_behavior(void **state)
{
    (void)state;
    // "the-final--countdown", from the documentation of Hugging Face tokenizers.
    static const char text[] = "the-final--countdown";
    check_words(SPLIT("Removed", "false"), text, true, "[the][final][countdown]");
    check_words(SPLIT("Isolated", "false"), text, true, "[the][-][final][-][-][countdown]");
    check_words(SPLIT("MergedWithPrevious", "false"), text, true, "[the-][final-][-][countdown]");
    check_words(SPLIT("MergedWithNext", "false"), text, true, "[the][-final][-][-countdown]");
    check_words(SPLIT("Contiguous", "false"), text, true, "[the][-][final][--][countdown]");
    check_words(SPLIT("Removed", "true"), text, true, "[-][-][-]");
}

static void test_an_empty_match_cuts(void **state)
{
    (void)state;
    check_words("{\"type\": \"Split\", \"pattern\": {\"Regex\": \"x*\"}, \"behavior\": "
                "\"Contiguous\"}",
                "abxxc", true, "[a][b][xx][c]");
}

static void test_metaspace_prepends_by_its_scheme(void **state)
{
    (void)state;
#define METASPACE(members) "{\"type\": \"Metaspace\", \"replacement\": \"_\", " members "}"
    check_words(METASPACE("\"prepend_scheme\": \"always\""), "a b", false, "[_a][_b]");
    check_words(METASPACE("\"prepend_scheme\": \"first\""), "a b", true, "[_a][_b]");
    check_words(METASPACE("\"prepend_scheme\": \"first\""), "a b", false, "[a][_b]");
    check_words(METASPACE("\"prepend_scheme\": \"never\""), "a b", true, "[a][_b]");
    check_words(METASPACE("\"add_prefix_space\": true"), " a  b", true, "[_a][_][_b]");
    check_words(METASPACE("\"add_prefix_space\": false, \"split\": false"), "a b", true, "[a_b]");
}

static void test_byte_level_splits_and_prefixes(void **state)
{
    (void)state;
    check_words("{\"type\": \"ByteLevel\"}", "it's 12 o'clock", true,
                "[ it]['s][ 12][ o]['][clock]");
    check_words("{\"type\": \"ByteLevel\", \"add_prefix_space\": false, \"use_regex\": false}",
                "it's 12", true, "[it's 12]");
}

static void test_steps_of_a_sequence_run_on_each_word(void **state)
{
    (void)state;
    check_words(
        "{\"type\": \"Sequence\", \"pretokenizers\": [{\"type\": \"WhitespaceSplit\"}, "
        "{\"type\": \"Digits\", \"individual_digits\": true}, {\"type\": \"Punctuation\"}]}",
        "ab12  c.d!", true, "[ab][1][2][c][.][d][!]");
    check_words("{\"type\": \"Sequence\", \"pretokenizers\": [{\"type\": \"Digits\"}, {\"type\": "
                "\"Whitespace\"}]}",
                "ab12 c+d", true, "[ab][12][c][+][d]");
    check_words("null", "all of it", true, "[all of it]");
}

static bool refuse_word(void *context, struct bytes word, struct error *error)
{
    (void)word;
    ++*(int *)context;
    return error_set(error, ERROR_INVALID, NULL, NULL, "enough");
}

static void test_a_sink_that_fails_ends_the_run(void **state)
{
    (void)state;
    json_t *root = json_loads("{\"type\": \"WhitespaceSplit\"}", 0, NULL);
    struct pre_tokenizer *pre_tokenizer = NULL;
    struct pre_tokenizer_scratch scratch = {0};
    struct error error = {0};
    int calls = 0;
    assert_true(pre_tokenizer_open(root, &pre_tokenizer, &error));
    struct word_sink sink = {refuse_word, &calls};
    assert_false(pre_tokenizer_run(pre_tokenizer, &scratch, bytes_of("a b c"), true, sink, &error));
    assert_int_equal(calls, 1);
    assert_string_equal(error.message, "enough");
    pre_tokenizer_scratch_close(&scratch);
    pre_tokenizer_close(pre_tokenizer);
    json_decref(root);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_splits_by_every_behavior),
        cmocka_unit_test(test_an_empty_match_cuts),
        cmocka_unit_test(test_metaspace_prepends_by_its_scheme),
        cmocka_unit_test(test_byte_level_splits_and_prefixes),
        cmocka_unit_test(test_steps_of_a_sequence_run_on_each_word),
        cmocka_unit_test(test_a_sink_that_fails_ends_the_run),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
