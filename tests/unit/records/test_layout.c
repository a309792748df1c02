/* layout: the tables say what the .avsc files say: names, order, types, nullability, defaults. */
#include "schemas/records/layout.h"

#include <jansson.h>
#include <stdio.h>

#include "tests/support/cmocka.h"
#include "tests/unit/records/files.h"

/* Named types of the file at hand, so that "Answer" can be looked up after its definition. */
struct names_seen {
    const char *names[32];
    const json_t *schemas[32];
    size_t count;
};

static void check_record(struct names_seen *seen, const struct layout *layout,
                         const json_t *schema);

static const json_t *resolve(struct names_seen *seen, const json_t *schema)
{
    for (size_t i = 0; i < seen->count && json_is_string(schema); i++) {
        if (strcmp(seen->names[i], json_string_value(schema)) == 0) {
            return seen->schemas[i];
        }
    }
    if (json_is_object(schema) && json_object_get(schema, "name") != NULL) {
        assert_true(seen->count < 32);
        seen->names[seen->count] = json_string_value(json_object_get(schema, "name"));
        seen->schemas[seen->count++] = schema;
    }
    return schema;
}

static const char *type_name(const json_t *schema)
{
    return json_is_string(schema) ? json_string_value(schema)
                                  : json_string_value(json_object_get(schema, "type"));
}

static void check_type(struct names_seen *seen, const struct type *type, const json_t *schema)
{
    static const char *const names[] = {
        [TYPE_TEXT] = "string", [TYPE_OBJECT] = "bytes",  [TYPE_INT] = "int",
        [TYPE_LONG] = "long",   [TYPE_DOUBLE] = "double", [TYPE_BOOLEAN] = "boolean",
        [TYPE_ENUM] = "enum",   [TYPE_RECORD] = "record", [TYPE_LIST] = "array",
        [TYPE_MAP] = "map",
    };
    schema = resolve(seen, schema);
    assert_string_equal(type_name(schema), names[type->kind]);
    if (type->kind == TYPE_RECORD) {
        check_record(seen, type->layout, schema);
    } else if (type->kind == TYPE_LIST) {
        check_type(seen, type->item, json_object_get(schema, "items"));
    } else if (type->kind == TYPE_MAP) {
        check_type(seen, type->item, json_object_get(schema, "values"));
    } else if (type->kind == TYPE_ENUM) {
        const json_t *symbols = json_object_get(schema, "symbols");
        for (size_t i = 0; i < json_array_size(symbols); i++) {
            assert_string_equal(type->symbols[i], json_string_value(json_array_get(symbols, i)));
        }
        assert_null(type->symbols[json_array_size(symbols)]);
    }
}

static void check_record(struct names_seen *seen, const struct layout *layout, const json_t *schema)
{
    const json_t *fields = json_object_get(schema, "fields");
    assert_string_equal(json_string_value(json_object_get(schema, "name")), layout->name);
    assert_int_equal(json_array_size(fields), layout->count);
    for (size_t i = 0; i < layout->count; i++) {
        const struct field *field = &layout->fields[i];
        const json_t *written = json_array_get(fields, i);
        const json_t *type = json_object_get(written, "type");
        assert_string_equal(json_string_value(json_object_get(written, "name")), field->name);
        assert_int_equal(json_is_array(type), field->is_optional);
        assert_int_equal(json_object_get(written, "default") == NULL, field->is_required);
        if (field->is_optional) {
            assert_int_equal(json_array_size(type), 2);
            assert_string_equal(json_string_value(json_array_get(type, 0)), "null");
            assert_true(json_is_null(json_object_get(written, "default")));
            type = json_array_get(type, 1);
        }
        check_type(seen, field->type, type);
    }
}

static void the_tables_say_what_the_schemas_say(void **state)
{
    (void)state;
    static const struct {
        const struct layout *layout;
        const char *file;
    } records[] = {{&layout_request, "inference_request"},
                   {&layout_response, "inference_response"},
                   {&layout_comparison, "comparison"},
                   {&layout_control, "control"}};
    for (size_t i = 0; i < sizeof records / sizeof records[0]; i++) {
        char path[4096];
        struct names_seen seen = {.count = 0};
        snprintf(path, sizeof path, SOURCE_DIR "/schemas/%s.avsc", records[i].file);
        json_t *schema = json_load_file(path, JSON_REJECT_DUPLICATES, NULL);
        assert_non_null(schema);
        assert_string_equal(json_string_value(json_object_get(schema, "namespace")), "millrace.v1");
        check_record(&seen, records[i].layout, schema);
        json_decref(schema);
    }
}

/* A reader keeps a field's zero where the writer did not have it, so zero must be what the schema
 * says. */
static void check_defaults(const json_t *schema)
{
    const json_t *value;
    const char *key;
    size_t i;
    if (json_is_array(schema)) {
        json_array_foreach (schema, i, value) {
            check_defaults(value);
        }
    }
    json_object_foreach ((json_t *)(uintptr_t)schema, key, value) {
        if (strcmp(key, "default") == 0) {
            bool is_zero =
                json_is_null(value) || (json_is_number(value) && json_number_value(value) == 0) ||
                ((json_is_array(value) || json_is_object(value)) && json_array_size(value) == 0 &&
                 json_object_size(value) == 0) ||
                (json_is_string(value) && strcmp(json_string_value(value), "identity") == 0);
            assert_true(is_zero);
        } else {
            check_defaults(value);
        }
    }
}

static void every_default_is_zero_in_memory(void **state)
{
    (void)state;
    static const char *const files[] = {"inference_request", "inference_response", "comparison",
                                        "control"};
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        char path[4096];
        snprintf(path, sizeof path, SOURCE_DIR "/schemas/%s.avsc", files[i]);
        json_t *schema = json_load_file(path, 0, NULL);
        assert_non_null(schema);
        check_defaults(schema);
        json_decref(schema);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_tables_say_what_the_schemas_say),
        cmocka_unit_test(every_default_is_zero_in_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
