/* Which class an answer names. */
#include "pipeline/compare/label.h"

#include "tests/support/cmocka.h"

static void check(const char *answer, const json_t *labels, const char *expected)
{
    struct label label = label_of(bytes_of(answer), labels);
    if (!bytes_equal_text((struct bytes){label.text, label.size}, expected)) {
        fail_msg("%s names %.*s, must be %s", answer, (int)label.size, label.text, expected);
    }
}

static void test_finds_the_label_in_what_models_say(void **state)
{
    (void)state;
    check("incident", NULL, "incident");
    check("  **Incident**.\n", NULL, "incident");
    check("Category: \"Incident\"", NULL, "incident");
    check("Incident\nbecause a pallet fell", NULL, "incident");
    check("{\"category\": \"Incident\", \"why\": \"a fall\"}", NULL, "incident");
    check("{\"answer\": \"Incident\"}", NULL, "incident");
    check("ÄRGER!", NULL, "ärger");
    check("„Beschwerde“", NULL, "beschwerde");
    check("", NULL, "");
    check("{", NULL, "");
    check("a sentence that is far too long to be a label, since it goes on and on and on", NULL,
          "");
}

static void test_known_labels_are_found_in_sentences(void **state)
{
    (void)state;
    json_t *labels = json_pack("[s, s, s]", "Incident", "delivery", "Beschwerde");
    check("This is clearly an incident, I think, of the gravest kind that there can be.", labels,
          "incident");
    check("incidental", labels, "");
    check("incident or delivery", labels, "");
    check("Delivery", labels, "delivery");
    check("Es ist eine Beschwerde.", labels, "beschwerde");
    check("something else", labels, "");
    json_decref(labels);
}

static void test_nothing_equals_no_label(void **state)
{
    (void)state;
    struct label none = label_of(bytes_of(""), NULL);
    struct label some = label_of(bytes_of("yes"), NULL);
    assert_false(label_equal(&none, &none));
    assert_true(label_equal(&some, &some));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_finds_the_label_in_what_models_say),
        cmocka_unit_test(test_known_labels_are_found_in_sentences),
        cmocka_unit_test(test_nothing_equals_no_label),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
