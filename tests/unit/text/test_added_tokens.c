/* Added tokens in text: which one, where, and with which white space. */
#include "pipeline/text/added_tokens.h"

#include "tests/support/cmocka.h"

static struct added_tokens open_tokens(const struct added_token *tokens,
                                       const char *const *contents, size_t count)
{
    struct added_tokens added;
    struct error error = {0};
    assert_true(added_tokens_init(&added, count, &error));
    for (size_t i = 0; i < count; i++) {
        assert_true(added_tokens_add(&added, tokens[i], bytes_of(contents[i]), &error));
    }
    added_tokens_finish(&added);
    return added;
}

/* Writes "text<id:taken>text": what is between the tokens, and what each one takes. */
static void check(const struct added_tokens *added, const char *text, const char *expected)
{
    struct added_search search = {.tokens = added, .text = bytes_of(text)};
    struct added_match match = {0, 0, 0};
    struct buffer out;
    size_t done = 0;
    buffer_init(&out, 1 << 12);
    while (added_search_next(&search, &match)) {
        buffer_append(&out, text + done, match.start - done);
        buffer_printf(&out, "{%d:%.*s}", (int)match.id, (int)(match.end - match.start),
                      text + match.start);
        done = match.end;
    }
    buffer_append_text(&out, text + done);
    assert_string_equal(buffer_bytes(&out).data, expected);
    buffer_close(&out);
}

static void test_the_leftmost_and_then_the_longest_wins(void **state)
{
    (void)state;
    static const char *const contents[] = {"ab", "a", "abcd", "bcde", "\xC3\xA9"};
    static const struct added_token tokens[] = {
        {.id = 1}, {.id = 2}, {.id = 3}, {.id = 4}, {.id = 5}};
    struct added_tokens added = open_tokens(tokens, contents, 5);
    check(&added, "xabcde", "x{3:abcd}e");
    check(&added, "abc", "{1:ab}c");
    check(&added, "aab", "{2:a}{1:ab}");
    check(&added, "bcdbcde", "bcd{4:bcde}");
    check(&added, "\xC3\xA9\xC3\xA8", "{5:\xC3\xA9}\xC3\xA8");
    check(&added, "", "");
    added_tokens_close(&added);
}

static void test_takes_the_white_space_beside_it(void **state)
{
    (void)state;
    static const char *const contents[] = {"<l>", "<r>", "<b>"};
    static const struct added_token tokens[] = {
        {.id = 1, .strips_left = true},
        {.id = 2, .strips_right = true},
        {.id = 3, .strips_left = true, .strips_right = true}};
    struct added_tokens added = open_tokens(tokens, contents, 3);
    check(&added, "a  <l>  b", "a{1:  <l>}  b");
    check(&added, "a  <r> \n b", "a  {2:<r> \n }b");
    check(&added, "a \xE3\x80\x80<b> b", "a{3: \xE3\x80\x80<b> }b");
    check(&added, "<r>  <l>", "{2:<r>  }{1:<l>}");
    added_tokens_close(&added);
}

static void test_a_single_word_stands_alone(void **state)
{
    (void)state;
    static const char *const contents[] = {"word", "w"};
    static const struct added_token tokens[] = {{.id = 1, .is_single_word = true}, {.id = 2}};
    struct added_tokens added = open_tokens(tokens, contents, 2);
    check(&added, "word", "{1:word}");
    check(&added, "a word, word.", "a {1:word}, {1:word}.");
    // The longest match is dropped as a whole: the shorter one in it is not tried.
    check(&added, "words _word \xC3\xA9word", "words _word \xC3\xA9word");
    check(&added, "\xE1\xB2\x89word", "\xE1\xB2\x89word"); // a letter of Unicode 16
    added_tokens_close(&added);
}

static void test_refuses_a_token_over_the_limit(void **state)
{
    (void)state;
    static char text[ADDED_TOKEN_SIZE_MAX + 1];
    memset(text, 'x', sizeof text);
    struct added_tokens added;
    struct error error = {0};
    assert_true(added_tokens_init(&added, 1, &error));
    assert_false(added_tokens_add(&added, (struct added_token){.id = 7},
                                  (struct bytes){text, sizeof text}, &error));
    assert_non_null(strstr(error.message, "added token 7 has 1025 bytes"));
    added_tokens_close(&added);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_leftmost_and_then_the_longest_wins),
        cmocka_unit_test(test_takes_the_white_space_beside_it),
        cmocka_unit_test(test_a_single_word_stands_alone),
        cmocka_unit_test(test_refuses_a_token_over_the_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
