/* Special tokens around a text. */
#include "pipeline/text/post_processor.h"

#include "tests/support/cmocka.h"

static void check(const char *json, const char *before, const char *after)
{
    json_t *root = json_loads(json, JSON_DECODE_ANY, NULL);
    struct post_processor post_processor;
    struct error error = {0};
    char ids[2][64] = {"", ""};
    if (!post_processor_init(&post_processor, root, 10, &error)) {
        fail_msg("%s", error.message);
    }
    const struct special_ids *sides[] = {&post_processor.before, &post_processor.after};
    for (size_t side = 0; side < 2; side++) {
        size_t used = 0;
        for (size_t i = 0; i < sides[side]->count; i++) {
            used += (size_t)snprintf(ids[side] + used, sizeof ids[side] - used, "%d ",
                                     (int)sides[side]->ids[i]);
        }
    }
    assert_string_equal(ids[0], before);
    assert_string_equal(ids[1], after);
    json_decref(root);
}

#define TEMPLATE                                                                                   \
    "{\"type\": \"TemplateProcessing\", \"single\": [{\"SpecialToken\": {\"id\": \"<s>\"}}, "      \
    "{\"Sequence\": {\"id\": \"A\"}}, {\"SpecialToken\": {\"id\": \"</s>\"}}], "                   \
    "\"special_tokens\": {\"<s>\": {\"ids\": [1, 7]}, \"</s>\": {\"ids\": [2]}}}"

static void test_reads_what_goes_before_and_after(void **state)
{
    (void)state;
    check("null", "", "");
    check("{\"type\": \"ByteLevel\"}", "", "");
    check(TEMPLATE, "1 7 ", "2 ");
    check("{\"type\": \"Sequence\", \"processors\": [{\"type\": \"ByteLevel\"}, " TEMPLATE "]}",
          "1 7 ", "2 ");
    check("{\"type\": \"RobertaProcessing\", \"cls\": [\"<s>\", 1], \"sep\": [\"</s>\", 2]}", "1 ",
          "2 ");
}

static void test_refuses_two_templates_and_bad_ids(void **state)
{
    (void)state;
    static const char *const broken[] = {
        "{\"type\": \"Sequence\", \"processors\": [" TEMPLATE ", " TEMPLATE "]}",
        "{\"type\": \"RobertaProcessing\", \"cls\": [\"<s>\", 10], \"sep\": [\"</s>\", 2]}",
        "{\"type\": \"RobertaProcessing\", \"cls\": [\"<s>\"], \"sep\": 1}",
        "{\"type\": \"Other\"}",
    };
    for (size_t i = 0; i < sizeof broken / sizeof broken[0]; i++) {
        json_t *root = json_loads(broken[i], 0, NULL);
        struct post_processor post_processor;
        struct error error = {0};
        assert_non_null(root);
        assert_false(post_processor_init(&post_processor, root, 10, &error));
        assert_int_equal(error.kind, ERROR_INVALID);
        json_decref(root);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reads_what_goes_before_and_after),
        cmocka_unit_test(test_refuses_two_templates_and_bad_ids),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
