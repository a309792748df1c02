/* line_write: the record structs as JSON, driven by the layouts. */
#include "schemas/records/line_write.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "schemas/base/check.h"
#include "schemas/records/source.h"
#include "schemas/records/text.h"

enum part { PART_ALL, PART_MILLRACE };

static void write_fields(struct buffer *buffer, const struct layout *layout, enum part part,
                         const void *record);

static void write_integer(struct buffer *buffer, int64_t value)
{
    char digits[20];
    size_t start = sizeof digits;
    uint64_t left = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
    do {
        digits[--start] = (char)('0' + left % 10);
        left /= 10;
    } while (left > 0);
    if (value < 0) {
        digits[--start] = '-';
    }
    buffer_append(buffer, digits + start, sizeof digits - start);
}

/* Measurements come in nanoseconds at the finest, so most numbers have at most six decimals. Where
 * n / 1e6 is the number again, n with its point shifted is what strtod reads back: both are rounded
 * correctly. */
static bool write_decimals(struct buffer *buffer, double value)
{
    double scaled = nearbyint(fabs(value) * 1e6);
    if (!(scaled < 9007199254740992.0) || scaled / 1e6 != fabs(value)) { // 2^53
        return false;
    }
    uint64_t millionths = (uint64_t)scaled;
    char decimals[6];
    size_t count = 0;
    for (uint64_t left = millionths % 1000000, unit = 100000; left > 0; unit /= 10) {
        decimals[count++] = (char)('0' + left / unit);
        left %= unit;
    }
    if (signbit(value)) {
        buffer_append_char(buffer, '-');
    }
    write_integer(buffer, (int64_t)(millionths / 1000000));
    buffer_append_char(buffer, '.');
    buffer_append(buffer, count == 0 ? "0" : decimals, count == 0 ? 1 : count);
    return true;
}

/* The fewest digits, from 15 to 17, that read back the same; JSON has no NaN or infinity but null.
 */
static void write_double(struct buffer *buffer, double value)
{
    if (!isfinite(value)) {
        buffer_append_text(buffer, "null");
        return;
    }
    if (write_decimals(buffer, value)) {
        return;
    }
    char text[32];
    int digits = 15;
    do {
        (void)snprintf(text, sizeof text, "%.*g", digits, value);
    } while (strtod(text, NULL) != value && ++digits <= 17);
    buffer_append_text(buffer, text);
}

/* A line break can only stand between tokens, where a space means the same. */
static void write_object(struct buffer *buffer, struct bytes object)
{
    const char *at = object.data;
    const char *end = at + object.size;
    while (at < end) {
        const char *stop = memchr(at, '\n', (size_t)(end - at));
        const char *carriage = memchr(at, '\r', (size_t)((stop == NULL ? end : stop) - at));
        stop = carriage != NULL ? carriage : stop;
        buffer_append(buffer, at, (size_t)((stop == NULL ? end : stop) - at));
        if (stop == NULL) {
            break;
        }
        buffer_append_char(buffer, ' ');
        at = stop + 1;
    }
}

static void write_value(struct buffer *buffer, const struct type *type, const void *value);

static void write_items(struct buffer *buffer, const struct type *type, const struct list *list)
{
    bool is_map = type->kind == TYPE_MAP;
    size_t item_size = type_item_size(type);
    buffer_append_char(buffer, is_map ? '{' : '[');
    for (size_t i = 0; i < list->count; i++) {
        const char *item = (const char *)list->items + i * item_size;
        if (i > 0) {
            buffer_append_char(buffer, ',');
        }
        if (is_map) {
            text_append_quoted(buffer, *(const struct bytes *)(const void *)item);
            buffer_append_char(buffer, ':');
            item += PAIR_VALUE_OFFSET;
        }
        write_value(buffer, type->item, item);
    }
    buffer_append_char(buffer, is_map ? '}' : ']');
}

static void write_value(struct buffer *buffer, const struct type *type, const void *value)
{
    struct list list;
    int index;
    switch (type->kind) {
    case TYPE_TEXT:
        text_append_quoted(buffer, *(const struct bytes *)value);
        return;
    case TYPE_OBJECT:
        write_object(buffer, *(const struct bytes *)value);
        return;
    case TYPE_INT:
        write_integer(buffer, *(const int32_t *)value);
        return;
    case TYPE_LONG:
        write_integer(buffer, *(const int64_t *)value);
        return;
    case TYPE_DOUBLE:
        write_double(buffer, *(const double *)value);
        return;
    case TYPE_BOOLEAN:
        buffer_append_text(buffer, *(const bool *)value ? "true" : "false");
        return;
    case TYPE_ENUM:
        memcpy(&index, value, sizeof index);
        text_append_quoted(buffer, bytes_of(type->symbols[index]));
        return;
    case TYPE_RECORD:
        write_fields(buffer, type->layout, PART_ALL, value);
        return;
    case TYPE_LIST:
    case TYPE_MAP:
        memcpy(&list, value, sizeof list);
        write_items(buffer, type, &list);
        return;
    }
    CHECK(false && "a type's kind");
}

/* What a reader takes from the field's absence anyway. */
static bool is_left_out(const struct field *field, const void *record)
{
    switch (field->type->kind) {
    case TYPE_LIST:
    case TYPE_MAP:
        return field_is_absent(field, record);
    case TYPE_INT:
        return !field->is_required && *(const int32_t *)field_value(field, record) == 0;
    case TYPE_DOUBLE: // JSON has no number for NaN, and null says that an optional one is absent
        return field->is_optional && (field_is_absent(field, record) ||
                                      !isfinite(*(const double *)field_value(field, record)));
    case TYPE_TEXT:
    case TYPE_OBJECT:
    case TYPE_LONG:
    case TYPE_BOOLEAN:
    case TYPE_ENUM:
    case TYPE_RECORD:
        break;
    }
    return field->is_optional && field_is_absent(field, record);
}

static void write_fields(struct buffer *buffer, const struct layout *layout, enum part part,
                         const void *record)
{
    char separator = '{';
    for (size_t i = 0; i < layout->count; i++) {
        const struct field *field = &layout->fields[i];
        if ((part == PART_MILLRACE && field->is_in_line) || is_left_out(field, record)) {
            continue;
        }
        buffer_append_char(buffer, separator);
        separator = ',';
        buffer_append_char(buffer, '"');
        buffer_append_text(buffer, field->name);
        buffer_append(buffer, "\":", 2);
        write_value(buffer, field->type, field_value(field, record));
    }
    if (separator == '{') {
        buffer_append_char(buffer, '{');
    }
    buffer_append_char(buffer, '}');
}

/* `,"millrace":{...}`, or nothing when there is nothing to say. */
static void write_millrace(struct buffer *buffer, const struct layout *layout, const void *record)
{
    size_t before = buffer->size;
    buffer_append_text(buffer, ",\"millrace\":");
    size_t start = buffer->size;
    write_fields(buffer, layout, PART_MILLRACE, record);
    if (!buffer_failed(buffer) && buffer->size - start == 2) {
        buffer_truncate(buffer, before);
    }
}

void line_write_request(struct buffer *buffer, const struct inference_request *request)
{
    buffer_append_text(buffer, "{\"custom_id\":");
    text_append_quoted(buffer, request->custom_id);
    buffer_append_text(buffer, ",\"method\":\"POST\"");
    if (request->url.size > 0) {
        buffer_append_text(buffer, ",\"url\":");
        text_append_quoted(buffer, request->url);
    }
    buffer_append_text(buffer, ",\"body\":");
    write_object(buffer, request->body);
    write_millrace(buffer, &layout_request, request);
    buffer_append_char(buffer, '}');
}

static void write_http_response(struct buffer *buffer, const struct inference_response *response,
                                const char *id)
{
    buffer_append_text(buffer, "{\"status_code\":");
    write_integer(buffer, response->status_code);
    buffer_append_text(buffer, ",\"request_id\":\"req_");
    buffer_append_text(buffer, id);
    buffer_append_text(buffer, "\",\"body\":");
    if (response->body.data == NULL) {
        buffer_append_text(buffer, "null");
    } else {
        write_object(buffer, response->body);
    }
    buffer_append_char(buffer, '}');
}

void line_write_response(struct buffer *buffer, const struct inference_response *response,
                         bool is_plain)
{
    char id[SOURCE_ID_SIZE];
    source_id(&response->source, id);
    buffer_append_text(buffer, "{\"id\":\"batch_req_");
    buffer_append_text(buffer, id);
    buffer_append_text(buffer, "\",\"custom_id\":");
    text_append_quoted(buffer, response->custom_id);
    buffer_append_text(buffer, ",\"response\":");
    if (response->error == NULL) {
        write_http_response(buffer, response, id);
    } else {
        buffer_append_text(buffer, "null");
    }
    buffer_append_text(buffer, ",\"error\":");
    if (response->error != NULL) {
        const struct field *field = layout_field(&layout_response, "error");
        write_value(buffer, field->type, response->error);
    } else {
        buffer_append_text(buffer, "null");
    }
    if (!is_plain) {
        write_millrace(buffer, &layout_response, response);
    }
    buffer_append_char(buffer, '}');
}

void line_write_record(struct buffer *buffer, const struct layout *layout, const void *record)
{
    write_fields(buffer, layout, PART_ALL, record);
}
