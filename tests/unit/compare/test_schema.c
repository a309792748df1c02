/* JSON Schema beyond its suite: drafts, reasons, what is unknown, and schemas made to hurt. */
#include "pipeline/compare/schema.h"

#include <stdlib.h>
#include <string.h>

#include "tests/support/cmocka.h"

static json_t *parse(const char *text)
{
    json_t *json = json_loads(text, JSON_DECODE_ANY, NULL);
    assert_non_null(json);
    return json;
}

static struct schema *open_schema(const char *text, struct error *error)
{
    json_t *document = parse(text);
    struct schema *schema = NULL;
    bool is_open = schema_open(document, &schema, error);
    json_decref(document);
    assert_int_equal(is_open, schema != NULL);
    return schema;
}

/* 1 valid, 0 invalid, -1 no verdict. */
static int check(const char *schema_text, const char *value_text, char reason[200])
{
    struct error error = {0};
    struct schema *schema = open_schema(schema_text, &error);
    if (schema == NULL) {
        fail_msg("%s: %s", schema_text, error.message);
    }
    json_t *value = parse(value_text);
    bool is_valid = false;
    bool is_done = schema_check(schema, value, &is_valid, reason, 200, &error);
    assert_int_equal(is_done, error.kind == ERROR_NONE);
    json_decref(value);
    schema_close(schema);
    return is_done ? is_valid : -1;
}

static void test_says_where_and_why(void **state)
{
    (void)state;
    char reason[200];
    const char *schema = "{\"properties\": {\"a\": {\"items\": {\"anyOf\": [{\"type\": \"null\"}, "
                         "{\"properties\": {\"b\": {\"maximum\": 3}}}]}}}, \"required\": [\"c\"]}";
    assert_int_equal(check(schema, "{\"a\": [{\"b\": 4}], \"c\": 1}", reason), 0);
    assert_string_equal(reason, "a[0]: anyOf allows none");
    assert_int_equal(check(schema, "{\"a\": []}", reason), 0);
    assert_string_equal(reason, "(root): required c");
    assert_int_equal(check(schema, "{\"a\": [{\"b\": 2}], \"c\": 1}", reason), 1);
    assert_string_equal(reason, "");
}

static void test_reads_older_drafts_where_schema_says_so(void **state)
{
    (void)state;
    char reason[200];
    const char *tuple = "{\"$schema\": \"http://json-schema.org/draft-07/schema#\", \"items\": "
                        "[{\"type\": \"string\"}], \"additionalItems\": false}";
    assert_int_equal(check(tuple, "[\"a\"]", reason), 1);
    assert_int_equal(check(tuple, "[\"a\", 1]", reason), 0);
    const char *ref = "{\"$schema\": \"http://json-schema.org/draft-07/schema\", \"definitions\": "
                      "{\"x\": {\"$id\": \"#y\"}}, \"$ref\": \"#y\", \"type\": \"string\"}";
    assert_int_equal(check(ref, "1", reason), 1); // what stands beside $ref is ignored
    const char *draft4 = "{\"$schema\": \"http://json-schema.org/draft-04/schema#\", \"maximum\": "
                         "3, \"exclusiveMaximum\": true}";
    assert_int_equal(check(draft4, "3", reason), 0);
    assert_int_equal(check(draft4, "2", reason), 1);
}

static void test_names_what_it_does_not_know(void **state)
{
    (void)state;
    struct error error = {0};
    struct schema *schema =
        open_schema("{\"$schema\": \"https://json-schema.org/draft/2019-09/schema\", \"colour\": "
                    "1, \"properties\": {\"a\": {\"nullable\": true, \"colour\": 2}}}",
                    &error);
    assert_string_equal(schema_unknown(schema, 0), "$schema");
    assert_string_equal(schema_unknown(schema, 1), "nullable");
    assert_string_equal(schema_unknown(schema, 2), "colour");
    assert_null(schema_unknown(schema, 3));
    schema_close(schema);
}

static void test_formats_annotate_only(void **state)
{
    (void)state;
    char reason[200];
    assert_int_equal(check("{\"format\": \"date\"}", "\"no date\"", reason), 1);
}

static void test_refuses_what_is_no_schema(void **state)
{
    (void)state;
    static const char *const schemas[][2] = {
        {"3", "neither an object"},
        {"{\"$ref\": \"other.json\"}", "refers to other.json"},
        {"{\"$ref\": \"https://example.com/a#/b\"}", "refers to https://example.com/a#/b"},
        {"{\"$ref\": \"#/nowhere\"}", "refers to #/nowhere"},
        {"{\"properties\": []}", "needs an object for properties"},
        {"{\"anyOf\": {}}", "needs an array for anyOf"},
        {"{\"not\": 1}", "neither an object"},
        {"{\"pattern\": 1}", "needs a string for pattern"},
        {"{\"pattern\": \"(\"}", "regular expression"},
        {"{\"patternProperties\": {\"[\": {}}}", "regular expression"},
    };
    for (size_t i = 0; i < sizeof schemas / sizeof schemas[0]; i++) {
        struct error error = {0};
        assert_null(open_schema(schemas[i][0], &error));
        if (strstr(error.message, schemas[i][1]) == NULL) {
            fail_msg("%s: %s", schemas[i][0], error.message);
        }
    }
}

static void test_endless_and_costly_schemas_give_no_verdict(void **state)
{
    (void)state;
    char reason[200];
    static const char *const schemas[][2] = {
        {"{\"$ref\": \"#\"}", "1"},
        {"{\"allOf\": [{\"$ref\": \"#\"}, {\"$ref\": \"#\"}]}", "1"},
        {"{\"not\": {\"$ref\": \"#\"}}", "1"},
        {"{\"anyOf\": [{\"$ref\": \"#\"}, true]}", "1"},
        {"{\"pattern\": \"^(a+)+$\"}", "\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab\""},
        {"{\"$defs\": {\"a\": {\"allOf\": [{\"$ref\": \"#/$defs/b\"}, {\"$ref\": \"#/$defs/b\"}]}, "
         "\"b\": {\"allOf\": [{\"$ref\": \"#/$defs/a\"}, {\"$ref\": \"#/$defs/a\"}]}}, "
         "\"anyOf\": [{\"$ref\": \"#/$defs/a\"}, true]}",
         "1"},
    };
    for (size_t i = 0; i < sizeof schemas / sizeof schemas[0]; i++) {
        assert_int_equal(check(schemas[i][0], schemas[i][1], reason), -1);
    }
}

/* {"not": {"not": ... {} ... }} */
static void test_depth_is_bounded(void **state)
{
    (void)state;
    json_t *deep = json_object();
    for (int i = 0; i < SCHEMA_DEPTH_MAX + 1; i++) {
        deep = json_pack("{s:o}", "not", deep);
    }
    struct schema *schema = NULL;
    struct error error = {0};
    assert_false(schema_open(deep, &schema, &error));
    assert_int_equal(error.kind, ERROR_TOO_LARGE);
    json_decref(deep);
}

static void test_an_exponential_schema_ends(void **state)
{
    (void)state;
    char reason[200];
    // Each level asks the next twice: 2^40 ways, cut by the limit of steps.
    json_t *defs = json_object();
    for (int i = 0; i < 40; i++) {
        char name[16];
        char next[32];
        (void)snprintf(name, sizeof name, "l%d", i);
        (void)snprintf(next, sizeof next, "#/$defs/l%d", i + 1);
        json_object_set_new(defs, name,
                            json_pack("{s:[{s:s}, {s:s}]}", "allOf", "$ref", next, "$ref", next));
    }
    json_object_set_new(defs, "l40", json_true());
    json_t *document = json_pack("{s:o, s:s}", "$defs", defs, "$ref", "#/$defs/l0");
    struct schema *schema = NULL;
    struct error error = {0};
    bool is_valid = false;
    assert_true(schema_open(document, &schema, &error));
    json_t *value = json_integer(1);
    assert_false(schema_check(schema, value, &is_valid, reason, sizeof reason, &error));
    assert_int_equal(error.kind, ERROR_TOO_LARGE);
    json_decref(value);
    schema_close(schema);
    json_decref(document);
}

/* Each search stays below its own limit; together they may not go on for minutes. */
static void test_many_costly_searches_end(void **state)
{
    (void)state;
    char reason[200];
    json_t *texts = json_array();
    for (int i = 0; i < 2000; i++) {
        json_array_append_new(texts, json_string("aaaaaaaaaaaaaaaab"));
    }
    char *value = json_dumps(texts, 0);
    json_decref(texts);
    assert_int_equal(
        check("{\"items\": {\"pattern\": \"^(a+)+$\"}}", "[\"aaaaaaaaaaaaaaaab\"]", reason), 0);
    assert_int_equal(check("{\"items\": {\"not\": {\"pattern\": \"^(a+)+$\"}}}", value, reason),
                     -1);
    free(value);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_says_where_and_why),
        cmocka_unit_test(test_reads_older_drafts_where_schema_says_so),
        cmocka_unit_test(test_names_what_it_does_not_know),
        cmocka_unit_test(test_formats_annotate_only),
        cmocka_unit_test(test_refuses_what_is_no_schema),
        cmocka_unit_test(test_endless_and_costly_schemas_give_no_verdict),
        cmocka_unit_test(test_many_costly_searches_end),
        cmocka_unit_test(test_depth_is_bounded),
        cmocka_unit_test(test_an_exponential_schema_ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
