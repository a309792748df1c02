/* canonical: the specification's transformations, one by one, and its fingerprints. */
#include "schemas/records/canonical.h"

#include "tests/support/cmocka.h"

static void schemas_get_their_canonical_form(void **state)
{
    (void)state;
    static const struct {
        const char *schema;
        const char *form;
    } cases[] = {
        {"\"int\"", "\"int\""},
        {"{\"type\":\"int\"}", "\"int\""},
        {"{\"type\":{\"type\":\"string\"}}", "\"string\""},
        {"{\"type\":\"long\",\"logicalType\":\"timestamp-millis\"}", "\"long\""},
        {"[ \"null\" , {\"type\":\"bytes\"} ]", "[\"null\",\"bytes\"]"},
        {"{\"items\":\"string\",\"type\":\"array\",\"default\":[]}",
         "{\"type\":\"array\",\"items\":\"string\"}"},
        {"{\"values\":\"double\",\"type\":\"map\"}", "{\"type\":\"map\",\"values\":\"double\"}"},
        {"{\"type\":\"fixed\",\"size\":16,\"name\":\"md5\",\"namespace\":\"a.b\",\"aliases\":["
         "\"x\"]}",
         "{\"name\":\"a.b.md5\",\"type\":\"fixed\",\"size\":16}"},
        {"{\"type\":\"enum\",\"symbols\":[\"A\",\"B\"],\"name\":\"x.E\",\"default\":\"A\",\"doc\":"
         "\"d\"}",
         "{\"name\":\"x.E\",\"type\":\"enum\",\"symbols\":[\"A\",\"B\"]}"},
        {"{\"type\":\"record\",\"name\":\"R\",\"namespace\":\"n\",\"fields\":[{\"default\":1,"
         "\"doc\":\"d\","
         "\"order\":\"ignore\",\"type\":[\"null\",\"R\"],\"name\":\"f\"}]}",
         "{\"name\":\"n.R\",\"type\":\"record\",\"fields\":[{\"name\":\"f\",\"type\":[\"null\",\"n."
         "R\"]}]}"},
        {"{\"type\":\"record\",\"name\":\"R\",\"namespace\":\"n\",\"fields\":[{\"name\":\"f\","
         "\"type\":"
         "{\"type\":\"fixed\",\"name\":\"F\",\"namespace\":\"m\",\"size\":1}},{\"name\":\"g\","
         "\"type\":\"m.F\"}]}",
         "{\"name\":\"n.R\",\"type\":\"record\",\"fields\":[{\"name\":\"f\",\"type\":"
         "{\"name\":\"m.F\",\"type\":\"fixed\",\"size\":1}},{\"name\":\"g\",\"type\":\"m.F\"}]}"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct buffer form;
        struct error error;
        buffer_init(&form, 4096);
        assert_true(canonical_form(bytes_of(cases[i].schema), &form, &error));
        assert_string_equal(form.data, cases[i].form);
        buffer_close(&form);
    }
}

/* Values of the Avro project's own share/test/data/schema-tests.txt. */
static void fingerprints_are_the_specifications(void **state)
{
    (void)state;
    assert_int_equal(canonical_fingerprint(bytes_of("\"null\"")), 7195948357588979594);
    assert_int_equal(canonical_fingerprint(bytes_of("\"boolean\"")),
                     (uint64_t)-6970731678124411036);
    assert_int_equal(canonical_fingerprint(bytes_of("\"int\"")), 8247732601305521295);
    assert_int_equal(canonical_fingerprint(bytes_of("\"string\"")), (uint64_t)-8142146995180207161);
}

static void what_is_no_schema_is_refused(void **state)
{
    (void)state;
    static const char *const cases[] = {"",
                                        "{",
                                        "7",
                                        "[1]",
                                        "{\"type\":\"array\"}",
                                        "{\"type\":\"record\"}",
                                        "{\"type\":\"record\",\"name\":\"R\",\"fields\":[{}]}"};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct buffer form;
        struct error error = {.kind = ERROR_NONE};
        buffer_init(&form, 4096);
        assert_false(canonical_form(bytes_of(cases[i]), &form, &error));
        assert_int_equal(error.kind, ERROR_UNDECODABLE);
        buffer_close(&form);
    }
}

static void a_schema_that_nests_without_end_is_refused(void **state)
{
    (void)state;
    struct buffer schema;
    struct buffer form;
    struct error error;
    buffer_init(&schema, 1 << 16);
    buffer_init(&form, 1 << 16);
    for (int i = 0; i < 100; i++) {
        buffer_append_text(&schema, "{\"type\":\"array\",\"items\":");
    }
    buffer_append_text(&schema, "\"int\"");
    for (int i = 0; i < 100; i++) {
        buffer_append_text(&schema, "}");
    }
    assert_false(canonical_form(buffer_bytes(&schema), &form, &error));
    assert_non_null(strstr(error.message, "64 levels"));
    buffer_close(&schema);
    buffer_close(&form);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(schemas_get_their_canonical_form),
        cmocka_unit_test(fingerprints_are_the_specifications),
        cmocka_unit_test(what_is_no_schema_is_refused),
        cmocka_unit_test(a_schema_that_nests_without_end_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
