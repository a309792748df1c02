/* The steps of a normalizer, alone and in sequence. */
#include "pipeline/text/normalizer.h"

#include "tests/support/cmocka.h"

static void check(const char *json, const char *given, const char *expected)
{
    json_t *root = json_loads(json, JSON_DECODE_ANY, NULL);
    struct normalizer *normalizer = NULL;
    struct pattern_scratch scratch = {0};
    struct buffer buffers[2];
    struct bytes text = bytes_of(given);
    struct error error = {0};
    buffer_init(&buffers[0], 1 << 12);
    buffer_init(&buffers[1], 1 << 12);
    if (!normalizer_open(root, &normalizer, &error)) {
        fail_msg("%s: %s", json, error.message);
    }
    assert_true(normalizer_run(normalizer, &scratch, buffers, &text, &error));
    if (!bytes_equal_text(text, expected)) {
        fail_msg("\"%.*s\" instead of \"%s\"", (int)text.size, text.data, expected);
    }
    pattern_scratch_close(&scratch);
    buffer_close(&buffers[0]);
    buffer_close(&buffers[1]);
    normalizer_close(normalizer);
    json_decref(root);
}

#define REPLACE(kind, pattern, content)                                                            \
    "{\"type\": \"Replace\", \"pattern\": {\"" kind "\": \"" pattern                               \
    "\"}, \"content\": \"" content "\"}"

static void test_without_steps_text_stays(void **state)
{
    (void)state;
    check("null", " a ", " a ");
    check("{\"type\": \"Sequence\", \"normalizers\": []}", " a ", " a ");
}

static void test_each_step_does_its_part(void **state)
{
    (void)state;
    check("{\"type\": \"NFC\"}", "e\xCC\x81", "\xC3\xA9");
    check("{\"type\": \"NFD\"}", "\xC3\xA9", "e\xCC\x81");
    check("{\"type\": \"Prepend\", \"prepend\": \"_\"}", "a", "_a");
    check("{\"type\": \"Prepend\", \"prepend\": \"_\"}", "", "");
    check("{\"type\": \"Strip\"}", " \xE3\x80\x80 a b\n", "a b");
    check("{\"type\": \"Strip\", \"strip_left\": false}", " a ", " a");
    check(REPLACE("String", " ", "_"), " a  b", "_a__b");
    check(REPLACE("String", "a", ""), "aaa", "");
    check(REPLACE("Regex", " {2,}", "_"), "a  b    c d", "a_b_c d");
    check(REPLACE("Regex", "x*", "-"), "abx", "-a-b-");
}

static void test_a_sequence_runs_in_order(void **state)
{
    (void)state;
    check("{\"type\": \"Sequence\", \"normalizers\": [{\"type\": \"Strip\"}, {\"type\": \"NFKC\"}, "
          "{\"type\": \"Sequence\", \"normalizers\": [{\"type\": \"Prepend\", \"prepend\": \" \"}, "
          "{\"type\": \"Replace\", \"pattern\": {\"String\": \" \"}, \"content\": \"_\"}]}]}",
          "  \xEF\xAC\x81 x ", "_fi_x");
}

static void test_too_large_a_result_is_an_error(void **state)
{
    (void)state;
    json_t *root = json_loads(REPLACE("String", "a", "bbbbbbbb"), 0, NULL);
    struct normalizer *normalizer = NULL;
    struct pattern_scratch scratch = {0};
    struct buffer buffers[2];
    struct bytes text = bytes_of("aaaaaaaa");
    struct error error = {0};
    buffer_init(&buffers[0], 20);
    buffer_init(&buffers[1], 20);
    assert_true(normalizer_open(root, &normalizer, &error));
    assert_false(normalizer_run(normalizer, &scratch, buffers, &text, &error));
    assert_int_equal(error.kind, ERROR_TOO_LARGE);
    buffer_close(&buffers[0]);
    buffer_close(&buffers[1]);
    normalizer_close(normalizer);
    json_decref(root);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_without_steps_text_stays),
        cmocka_unit_test(test_each_step_does_its_part),
        cmocka_unit_test(test_a_sequence_runs_in_order),
        cmocka_unit_test(test_too_large_a_result_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
