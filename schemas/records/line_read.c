/* line_read: JSON values into the record structs, driven by the layouts. */
#include "schemas/records/line_read.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>

#include "schemas/base/check.h"
#include "schemas/records/json_scan.h"
#include "schemas/records/text.h"

/* Which of a layout's fields an object is searched for. */
enum part { PART_ALL, PART_MILLRACE };

/* Whether a member is absent or null. */
static bool is_null(const struct bytes *value)
{
    return value == NULL || bytes_equal_text(*value, "null");
}

static const char *kind_of(struct bytes value)
{
    switch (value.data[0]) {
    case '{':
        return "an object";
    case '[':
        return "an array";
    case '"':
        return "a string";
    case 't':
    case 'f':
        return "a boolean";
    case 'n':
        return "null";
    default:
        return "a number";
    }
}

/* What a field must be, for messages. */
static const char *wanted(const struct type *type)
{
    switch (type->kind) {
    case TYPE_TEXT:
        return "a string";
    case TYPE_OBJECT:
    case TYPE_RECORD:
    case TYPE_MAP:
        return "an object";
    case TYPE_INT:
        return "an integer of 32 bits";
    case TYPE_LONG:
        return "an integer of 64 bits";
    case TYPE_DOUBLE:
        return "a number";
    case TYPE_BOOLEAN:
        return "a boolean";
    case TYPE_ENUM:
        return "one of its known names";
    case TYPE_LIST:
        return "an array";
    }
    return "something else";
}

static bool wrong_type(const char *name, const char *wanted_text, struct bytes value,
                       struct error *error)
{
    if (value.data[0] == '"' && strcmp(wanted_text, "a string") == 0) {
        return error_set(error, ERROR_INVALID, "invalid_value", name,
                         "%s has half a surrogate pair or needs too much memory", name);
    }
    return error_set(error, ERROR_INVALID, "invalid_type", name, "%s must be %s, it is %s", name,
                     wanted_text, kind_of(value));
}

static bool read_fields(const struct scan_items *members, const struct layout *layout,
                        enum part part, struct arena *arena, void *record, struct error *error);

static bool no_memory(struct error *error)
{
    return error_set(error, ERROR_UNDECODABLE, NULL, NULL,
                     "the record needs more memory than a record may have");
}

/* False where the value is no string or holds half a surrogate pair. */
static bool read_text(struct bytes value, struct arena *arena, struct bytes *text_out)
{
    if (value.data[0] != '"') {
        return false;
    }
    return text_unescape((struct bytes){value.data + 1, value.size - 2}, arena, text_out);
}

/* Digits with an optional sign only: 1.0 and 1e3 are no integers. */
static bool read_integer(struct bytes value, int64_t *integer_out)
{
    bool is_negative = value.data[0] == '-';
    int64_t integer = 0;
    for (size_t i = is_negative ? 1 : 0; i < value.size; i++) {
        int digit = value.data[i] - '0';
        if (digit < 0 || digit > 9 || __builtin_mul_overflow(integer, 10, &integer) ||
            __builtin_sub_overflow(integer, digit, &integer)) { // negative: reaches INT64_MIN
            return false;
        }
    }
    if (is_negative) {
        *integer_out = integer;
        return true;
    }
    return !__builtin_sub_overflow(0, integer, integer_out);
}

/* null is what JSON has for "not a number". The number ends at a delimiter, which the scan has
 * seen. */
static bool read_double(struct bytes value, double *number_out)
{
    char c = value.data[0];
    if (c == 'n') {
        *number_out = NAN;
        return true;
    }
    *number_out = strtod(value.data, NULL);
    return (c == '-' || (c >= '0' && c <= '9')) && isfinite(*number_out);
}

static bool read_enum(const struct type *type, struct bytes value, struct arena *arena, void *slot)
{
    struct bytes text;
    if (!read_text(value, arena, &text)) {
        return false;
    }
    for (int i = 0; type->symbols[i] != NULL; i++) {
        if (bytes_equal_text(text, type->symbols[i])) {
            memcpy(slot, &i, sizeof i);
            return true;
        }
    }
    return false;
}

static bool read_scalar(const struct type *type, struct bytes value, struct arena *arena,
                        void *slot)
{
    int64_t integer;
    switch (type->kind) {
    case TYPE_TEXT:
        return read_text(value, arena, slot);
    case TYPE_OBJECT:
        *(struct bytes *)slot = value;
        return value.data[0] == '{';
    case TYPE_INT:
        if (!read_integer(value, &integer) || integer < INT32_MIN || integer > INT32_MAX) {
            return false;
        }
        *(int32_t *)slot = (int32_t)integer;
        return true;
    case TYPE_LONG:
        return read_integer(value, slot);
    case TYPE_DOUBLE:
        return read_double(value, slot);
    case TYPE_BOOLEAN:
        *(bool *)slot = value.data[0] == 't';
        return value.data[0] == 't' || value.data[0] == 'f';
    case TYPE_ENUM:
        return read_enum(type, value, arena, slot);
    case TYPE_RECORD:
    case TYPE_LIST:
    case TYPE_MAP:
        break;
    }
    CHECK(false && "a scalar's kind");
    return false;
}

static bool read_value(const char *name, const struct type *type, struct bytes value,
                       struct arena *arena, void *slot, struct error *error);

/* The items of a list or the pairs of a map. */
static bool read_items(const char *name, const struct type *type, const struct scan_items *parts,
                       struct arena *arena, void *slot, struct error *error)
{
    size_t item_size = type_item_size(type);
    struct list list = {arena_alloc_array(arena, parts->count, item_size), parts->count};
    if (list.items == NULL) {
        return no_memory(error);
    }
    for (size_t i = 0; i < parts->count; i++) {
        char *item = (char *)list.items + i * item_size;
        if (type->kind == TYPE_MAP) {
            memcpy(item, &parts->items[i].name, sizeof parts->items[i].name);
            item += PAIR_VALUE_OFFSET;
        }
        if (!read_value(name, type->item, parts->items[i].value, arena, item, error)) {
            return false;
        }
    }
    memcpy(slot, &list, sizeof list);
    return true;
}

/* `name` is static text, for messages. On failure the slot may hold a part of the value. */
static bool read_value(const char *name, const struct type *type, struct bytes value,
                       struct arena *arena, void *slot, struct error *error)
{
    struct scan_items parts;
    bool is_list = type->kind == TYPE_LIST;
    if (!is_list && type->kind != TYPE_RECORD && type->kind != TYPE_MAP) {
        return read_scalar(type, value, arena, slot) ||
               wrong_type(name, wanted(type), value, error);
    }
    if (value.data[0] != (is_list ? '[' : '{')) {
        return wrong_type(name, wanted(type), value, error);
    }
    struct error inner;
    if (!(is_list ? scan_array(value, arena, &parts, &inner)
                  : scan_object(value, arena, &parts, &inner))) {
        return error_set(error, ERROR_INVALID, "invalid_value", name, "%s: %s", name,
                         inner.message);
    }
    return type->kind == TYPE_RECORD
               ? read_fields(&parts, type->layout, PART_ALL, arena, slot, error)
               : read_items(name, type, &parts, arena, slot, error);
}

static bool read_field(const struct field *field, struct bytes value, struct arena *arena,
                       void *record, struct error *error)
{
    char *slot = (char *)record + field->offset;
    if (!field->is_optional) {
        return read_value(field->name, field->type, value, arena, slot, error);
    }
    if (field->type->kind == TYPE_RECORD) {
        void *inner = arena_alloc(arena, field->type->size);
        if (inner == NULL) {
            return no_memory(error);
        }
        memcpy(slot, &inner, sizeof inner);
        return read_value(field->name, field->type, value, arena, inner, error);
    }
    bool ok = read_value(field->name, field->type, value, arena, slot, error);
    if (ok && field->has_offset != 0) {
        *(bool *)((char *)record + field->has_offset) = true;
    }
    return ok;
}

/* Goes on after a bad field, so that the record is as complete as it can be; the first error
 * counts. */
static bool read_fields(const struct scan_items *members, const struct layout *layout,
                        enum part part, struct arena *arena, void *record, struct error *error)
{
    bool ok = true;
    for (size_t i = 0; i < layout->count; i++) {
        const struct field *field = &layout->fields[i];
        if (part == PART_MILLRACE && field->is_in_line) {
            continue;
        }
        const struct bytes *value = scan_find(members, field->name);
        bool may_be_nan = field->type->kind == TYPE_DOUBLE && !field->is_optional;
        struct error *first = ok ? error : NULL;
        if (value == NULL || (is_null(value) && !may_be_nan)) {
            if (field->is_required) {
                ok = error_set(first, ERROR_INVALID, "missing_required_parameter", field->name,
                               "%s is missing, and %s needs it", field->name, layout->name);
            }
            continue;
        }
        ok = read_field(field, *value, arena, record, first) && ok;
    }
    return ok;
}

/* The line's `millrace` member, where it has one. */
static bool read_millrace(const struct scan_items *members, const struct layout *layout,
                          struct arena *arena, void *record, struct error *error)
{
    const struct bytes *value = scan_find(members, "millrace");
    if (is_null(value)) {
        return true;
    }
    if (value->data[0] != '{') {
        return wrong_type("millrace", "an object", *value, error);
    }
    struct scan_items fields;
    struct error inner;
    if (!scan_object(*value, arena, &fields, &inner)) {
        return error_set(error, ERROR_INVALID, "invalid_value", "millrace", "millrace: %s",
                         inner.message);
    }
    return read_fields(&fields, layout, PART_MILLRACE, arena, record, error);
}

static bool undecodable(const char *param, const char *problem, struct error *error)
{
    return error_set(error, ERROR_UNDECODABLE, NULL, param, "%s %s", param, problem);
}

/* What makes a record decodable at all. */
static bool read_identity(const struct scan_items *members, struct arena *arena,
                          struct bytes *custom_id_out, struct error *error)
{
    const struct bytes *value = scan_find(members, "custom_id");
    if (value == NULL) {
        return undecodable("custom_id", "is missing", error);
    }
    if (value->data[0] != '"') {
        return undecodable("custom_id", "must be a string", error);
    }
    return read_text(*value, arena, custom_id_out) ||
           undecodable("custom_id", "has half a surrogate pair or needs too much memory", error);
}

static bool read_url(const struct scan_items *members, struct arena *arena, struct bytes *url_out,
                     struct error *error)
{
    const struct bytes *method = scan_find(members, "method");
    const struct bytes *url = scan_find(members, "url");
    struct bytes text;
    if (url != NULL && !read_text(*url, arena, url_out)) {
        return wrong_type("url", "a string", *url, error);
    }
    if (method != NULL && (!read_text(*method, arena, &text) || !bytes_equal_text(text, "POST"))) {
        return error_set(error, ERROR_INVALID, "invalid_value", "method",
                         "method must be \"POST\" or left out");
    }
    return true;
}

bool line_read_request(struct bytes value, struct arena *arena, struct inference_request *out,
                       struct error *error)
{
    struct scan_items members;
    if (!scan_object(value, arena, &members, error) ||
        !read_identity(&members, arena, &out->custom_id, error)) {
        return false;
    }
    const struct bytes *body = scan_find(&members, "body");
    if (body == NULL) {
        return undecodable("body", "is missing", error);
    }
    if (body->data[0] != '{') {
        return undecodable("body", "must be an object", error);
    }
    out->body = *body;
    bool is_url_right = read_url(&members, arena, &out->url, error);
    return read_millrace(&members, &layout_request, arena, out, is_url_right ? error : NULL) &&
           is_url_right;
}

/* {"status_code", "request_id", "body"}. */
static bool read_http_response(struct bytes value, struct arena *arena,
                               struct inference_response *out, struct error *error)
{
    struct scan_items members;
    if (value.data[0] != '{') {
        return wrong_type("response", "an object or null", value, error);
    }
    if (!scan_object(value, arena, &members, error)) {
        return false;
    }
    static const char *const names[] = {"status_code", "body"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        const struct bytes *member = scan_find(&members, names[i]);
        if (!is_null(member) &&
            !read_field(layout_field(&layout_response, names[i]), *member, arena, out, error)) {
            return false;
        }
    }
    return true;
}

bool line_read_response(struct bytes value, struct arena *arena, struct inference_response *out,
                        struct error *error)
{
    struct scan_items members;
    if (!scan_object(value, arena, &members, error) ||
        !read_identity(&members, arena, &out->custom_id, error)) {
        return false;
    }
    const struct bytes *response = scan_find(&members, "response");
    const struct bytes *failure = scan_find(&members, "error");
    if (!is_null(response) && !read_http_response(*response, arena, out, error)) {
        return false;
    }
    if (!is_null(failure) &&
        !read_field(layout_field(&layout_response, "error"), *failure, arena, out, error)) {
        return false;
    }
    return read_millrace(&members, &layout_response, arena, out, error);
}

bool line_read_record(struct bytes value, const struct layout *layout, struct arena *arena,
                      void *record_out, struct error *error)
{
    struct scan_items members;
    return scan_object(value, arena, &members, error) &&
           read_fields(&members, layout, PART_ALL, arena, record_out, error);
}
