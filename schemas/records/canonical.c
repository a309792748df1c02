/* canonical: the transformations of "Parsing Canonical Form for Schemas" in the Avro specification.
 */
#include "schemas/records/canonical.h"

#include <jansson.h>

enum { NAME_BYTES_MAX = 512, DEPTH_MAX = 64 };

struct writer {
    struct buffer *out;
    char space[NAME_BYTES_MAX]; // the enclosing namespace, "" for none
    unsigned depth;
    struct error *error;
};

static bool write_schema(struct writer *writer, const json_t *schema);

static bool refuse(struct writer *writer, const char *problem)
{
    return error_set(writer->error, ERROR_UNDECODABLE, NULL, NULL, "the Avro schema %s", problem);
}

/* Names and symbols hold nothing that JSON escapes. */
static void write_string(struct writer *writer, const char *text)
{
    buffer_append_char(writer->out, '"');
    buffer_append_text(writer->out, text);
    buffer_append_char(writer->out, '"');
}

static bool is_primitive(const char *name)
{
    static const char *const names[] = {"null",  "boolean", "int",   "long",
                                        "float", "double",  "bytes", "string"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (strcmp(names[i], name) == 0) {
            return true;
        }
    }
    return false;
}

/* A name with its namespace; one that has a dot brings its own. */
static void write_full_name(struct writer *writer, const char *name)
{
    buffer_append_char(writer->out, '"');
    if (strchr(name, '.') == NULL && writer->space[0] != '\0') {
        buffer_append_text(writer->out, writer->space);
        buffer_append_char(writer->out, '.');
    }
    buffer_append_text(writer->out, name);
    buffer_append_char(writer->out, '"');
}

/* Makes the namespace of a named type the enclosing one for what is inside it. */
static bool enter_space(struct writer *writer, const json_t *schema, const char *name)
{
    const char *space = json_string_value(json_object_get(schema, "namespace"));
    const char *dot = strrchr(name, '.');
    size_t size = 0;
    if (dot != NULL) {
        space = name;
        size = (size_t)(dot - name);
    } else if (space != NULL) {
        size = strlen(space);
    } else {
        return true;
    }
    if (size >= NAME_BYTES_MAX) {
        return refuse(writer, "has a namespace of more than 511 bytes");
    }
    memcpy(writer->space, space, size);
    writer->space[size] = '\0';
    return true;
}

static bool write_fields(struct writer *writer, const json_t *fields)
{
    buffer_append_text(writer->out, ",\"fields\":[");
    size_t i;
    const json_t *field;
    json_array_foreach (fields, i, field) {
        const char *name = json_string_value(json_object_get(field, "name"));
        if (name == NULL) {
            return refuse(writer, "has a field without a name");
        }
        buffer_append_text(writer->out, i == 0 ? "{\"name\":" : ",{\"name\":");
        write_string(writer, name);
        buffer_append_text(writer->out, ",\"type\":");
        if (!write_schema(writer, json_object_get(field, "type"))) {
            return false;
        }
        buffer_append_char(writer->out, '}');
    }
    buffer_append_char(writer->out, ']');
    return true;
}

static bool write_symbols(struct writer *writer, const json_t *symbols)
{
    buffer_append_text(writer->out, ",\"symbols\":[");
    size_t i;
    const json_t *symbol;
    json_array_foreach (symbols, i, symbol) {
        if (!json_is_string(symbol)) {
            return refuse(writer, "has a symbol that is no string");
        }
        buffer_append_text(writer->out, i == 0 ? "" : ",");
        write_string(writer, json_string_value(symbol));
    }
    buffer_append_char(writer->out, ']');
    return true;
}

/* record, enum and fixed. */
static bool write_named(struct writer *writer, const json_t *schema, const char *type)
{
    char outer[NAME_BYTES_MAX];
    memcpy(outer, writer->space, sizeof outer);
    const char *name = json_string_value(json_object_get(schema, "name"));
    if (name == NULL) {
        return refuse(writer, "has a named type without a name");
    }
    if (!enter_space(writer, schema, name)) {
        return false;
    }
    buffer_append_text(writer->out, "{\"name\":");
    write_full_name(writer, name);
    buffer_append_text(writer->out, ",\"type\":");
    write_string(writer, type);
    bool ok = true;
    if (strcmp(type, "record") == 0) {
        ok = write_fields(writer, json_object_get(schema, "fields"));
    } else if (strcmp(type, "enum") == 0) {
        ok = write_symbols(writer, json_object_get(schema, "symbols"));
    } else {
        buffer_printf(writer->out, ",\"size\":%lld",
                      (long long)json_integer_value(json_object_get(schema, "size")));
    }
    buffer_append_char(writer->out, '}');
    memcpy(writer->space, outer, sizeof outer);
    return ok;
}

static bool write_object(struct writer *writer, const json_t *schema)
{
    const json_t *type = json_object_get(schema, "type");
    const char *name = json_string_value(type);
    if (name == NULL) { // {"type": {...}} says no more than its inside
        return write_schema(writer, type);
    }
    bool is_array = strcmp(name, "array") == 0;
    if (is_array || strcmp(name, "map") == 0) {
        buffer_append_text(writer->out, is_array ? "{\"type\":\"array\",\"items\":"
                                                 : "{\"type\":\"map\",\"values\":");
        if (!write_schema(writer, json_object_get(schema, is_array ? "items" : "values"))) {
            return false;
        }
        buffer_append_char(writer->out, '}');
        return true;
    }
    if (strcmp(name, "record") == 0 || strcmp(name, "enum") == 0 || strcmp(name, "fixed") == 0) {
        return write_named(writer, schema, name);
    }
    return write_schema(writer, type); // {"type": "string"} is "string"
}

static bool write_union(struct writer *writer, const json_t *branches)
{
    buffer_append_char(writer->out, '[');
    size_t i;
    const json_t *branch;
    json_array_foreach (branches, i, branch) {
        buffer_append_text(writer->out, i == 0 ? "" : ",");
        if (!write_schema(writer, branch)) {
            return false;
        }
    }
    buffer_append_char(writer->out, ']');
    return true;
}

static bool write_node(struct writer *writer, const json_t *schema)
{
    if (json_is_string(schema)) {
        const char *name = json_string_value(schema);
        if (is_primitive(name)) {
            write_string(writer, name);
        } else {
            write_full_name(writer, name);
        }
        return true;
    }
    if (json_is_array(schema)) {
        return write_union(writer, schema);
    }
    if (json_is_object(schema)) {
        return write_object(writer, schema);
    }
    return refuse(writer, "has something in the place of a type");
}

static bool write_schema(struct writer *writer, const json_t *schema)
{
    if (writer->depth == DEPTH_MAX) {
        return refuse(writer, "is nested more than 64 levels deep");
    }
    writer->depth++;
    bool ok = write_node(writer, schema);
    writer->depth--;
    return ok;
}

bool canonical_form(struct bytes schema_json, struct buffer *out, struct error *error)
{
    json_error_t parse;
    json_t *schema = json_loadb(schema_json.data, schema_json.size, JSON_DECODE_ANY, &parse);
    if (schema == NULL) {
        return error_set(error, ERROR_UNDECODABLE, NULL, NULL, "not an Avro schema: %s",
                         parse.text);
    }
    struct writer writer = {.out = out, .error = error};
    bool ok = write_schema(&writer, schema);
    json_decref(schema);
    if (ok && buffer_failed(out)) {
        return error_set(error, ERROR_UNDECODABLE, NULL, NULL,
                         "the Avro schema is longer than %zu bytes", out->size_max);
    }
    return ok;
}

uint64_t canonical_fingerprint(struct bytes canonical)
{
    const uint64_t empty = 0xC15D213AA4D7A795U; // the specification's EMPTY
    uint64_t fingerprint = empty;
    for (size_t i = 0; i < canonical.size; i++) {
        fingerprint ^= (unsigned char)canonical.data[i];
        for (int bit = 0; bit < 8; bit++) {
            fingerprint = fingerprint >> 1 ^ (empty & (0 - (fingerprint & 1)));
        }
    }
    return fingerprint;
}
