/* jinja_tojson: what the templates' tojson filter writes, byte for byte as json.dumps. */
#include "pipeline/text/jinja_tojson.h"

#include <inttypes.h>
#include <math.h>

#include "pipeline/text/jinja_sort.h"
#include "pipeline/text/jinja_string.h"
#include "pipeline/text/jinja_text.h"

struct writer {
    struct jinja_run *run;
    const struct jinja_json_style *style;
    size_t level; // of indentation
};

static bool write_value(struct writer *writer, struct jinja_value value);

static void write_escaped_ascii(struct buffer *out, int32_t c)
{
    if (c >= 0x10000) {
        uint32_t offset = (uint32_t)c - 0x10000;
        buffer_printf(out, "\\u%04x\\u%04x", 0xD800 + (offset >> 10), 0xDC00 + (offset & 0x3FF));
    } else {
        buffer_printf(out, "\\u%04x", (unsigned)c);
    }
}

static void write_string(struct buffer *out, struct bytes text, bool is_ascii)
{
    static const char escaped[] = "\"\\\n\r\t\f\b";
    static const char letters[] = "\"\\nrtfb";
    buffer_append_char(out, '"');
    for (size_t at = 0; at < text.size;) {
        size_t start = at;
        int32_t c = jinja_utf8_take(text, &at);
        const char *escape = c > 0 && c < 0x80 ? strchr(escaped, c) : NULL;
        if (escape != NULL) {
            buffer_append_char(out, '\\');
            buffer_append_char(out, letters[escape - escaped]);
        } else if (c < 0x20 || (is_ascii && c >= 0x7F)) {
            write_escaped_ascii(out, c);
        } else {
            buffer_append_bytes(out, jinja_part(text, start, at));
        }
    }
    buffer_append_char(out, '"');
}

static void write_float(struct buffer *out, double real)
{
    if (isnan(real)) {
        buffer_append_text(out, "NaN");
    } else if (isinf(real)) {
        buffer_append_text(out, real < 0 ? "-Infinity" : "Infinity");
    } else {
        jinja_print_float(out, real);
    }
}

static void write_line_break(struct writer *writer)
{
    if (writer->style->indent.data == NULL) {
        return;
    }
    buffer_append_char(writer->run->out, '\n');
    for (size_t i = 0; i < writer->level; i++) {
        buffer_append_bytes(writer->run->out, writer->style->indent);
    }
}

static void write_separator(struct writer *writer, size_t index)
{
    if (index > 0) {
        buffer_append_bytes(writer->run->out, writer->style->item_separator);
    }
    write_line_break(writer);
}

static void write_open(struct writer *writer, char bracket)
{
    buffer_append_char(writer->run->out, bracket);
    writer->level++;
}

static void write_close(struct writer *writer, char bracket, size_t count)
{
    writer->level--;
    if (count > 0) {
        write_line_break(writer);
    }
    buffer_append_char(writer->run->out, bracket);
}

static bool write_list(struct writer *writer, const struct jinja_list *list)
{
    write_open(writer, '[');
    for (size_t i = 0; i < list->count; i++) {
        write_separator(writer, i);
        if (!write_value(writer, list->items[i])) {
            return false;
        }
    }
    write_close(writer, ']', list->count);
    return true;
}

static bool write_key(struct writer *writer, struct jinja_value key)
{
    struct buffer *out = writer->run->out;
    if (key.kind == JINJA_STRING) {
        write_string(out, key.as.text, writer->style->is_ascii);
        return true;
    }
    if (!jinja_is_number(key) && key.kind != JINJA_NONE) {
        return jinja_fail(writer->run, "keys must be str, int, float, bool or None, not %s",
                          jinja_type_name(key));
    }
    buffer_append_char(out, '"');
    bool written = write_value(writer, key);
    buffer_append_char(out, '"');
    return written;
}

static bool sort_keys(struct writer *writer, const struct jinja_dict *dict,
                      const struct jinja_pair **out)
{
    struct jinja_pair *pairs = jinja_alloc(writer->run, dict->count, sizeof *pairs);
    if (pairs == NULL) {
        return false;
    }
    if (dict->count > 0) {
        memcpy(pairs, dict->pairs, dict->count * sizeof *pairs);
    }
    *out = pairs;
    return jinja_sort(writer->run, pairs, dict->count, false);
}

static bool write_dict(struct writer *writer, const struct jinja_dict *dict)
{
    const struct jinja_pair *pairs = dict->pairs;
    if (writer->style->sorts_keys && !sort_keys(writer, dict, &pairs)) {
        return false;
    }
    write_open(writer, '{');
    for (size_t i = 0; i < dict->count; i++) {
        write_separator(writer, i);
        if (!write_key(writer, pairs[i].key)) {
            return false;
        }
        buffer_append_bytes(writer->run->out, writer->style->key_separator);
        if (!write_value(writer, pairs[i].value)) {
            return false;
        }
    }
    write_close(writer, '}', dict->count);
    return true;
}

static bool write_container(struct writer *writer, struct jinja_value value)
{
    if (!jinja_enter(writer->run)) {
        return false;
    }
    bool written = value.kind == JINJA_DICT ? write_dict(writer, value.as.dict)
                                            : write_list(writer, value.as.list);
    jinja_leave(writer->run);
    return written;
}

static bool write_value(struct writer *writer, struct jinja_value value)
{
    struct buffer *out = writer->run->out;
    if (!jinja_spend(writer->run, 1)) {
        return false;
    }
    switch (value.kind) {
    case JINJA_NONE:
        buffer_append_text(out, "null");
        return true;
    case JINJA_BOOL:
        buffer_append_text(out, value.as.boolean ? "true" : "false");
        return true;
    case JINJA_INTEGER:
        buffer_printf(out, "%" PRId64, value.as.integer);
        return true;
    case JINJA_FLOAT:
        write_float(out, value.as.real);
        return true;
    case JINJA_STRING:
        write_string(out, value.as.text, writer->style->is_ascii);
        return true;
    case JINJA_LIST:
    case JINJA_TUPLE:
    case JINJA_DICT:
        return write_container(writer, value);
    case JINJA_ABSENT:
    case JINJA_UNDEFINED:
    case JINJA_VIEW:
    case JINJA_GENERATOR:
    case JINJA_NAMESPACE:
    case JINJA_LOOP:
    case JINJA_MACRO:
    case JINJA_NATIVE:
        break;
    }
    return jinja_fail(writer->run, "Object of type %s is not JSON serializable",
                      jinja_type_name(value));
}

bool jinja_print_json(struct jinja_run *run, struct jinja_value value,
                      const struct jinja_json_style *style)
{
    struct writer writer = {.run = run, .style = style};
    return write_value(&writer, value);
}

static bool list_from_json(struct jinja_run *run, const json_t *json, struct jinja_value *out)
{
    struct jinja_list *list = jinja_new_list(run, json_array_size(json));
    if (list == NULL) {
        return false;
    }
    for (size_t i = 0; i < json_array_size(json); i++) {
        struct jinja_value item;
        if (!jinja_from_json(run, json_array_get(json, i), &item) ||
            !jinja_append(run, list, item)) {
            return false;
        }
    }
    *out = jinja_sequence(JINJA_LIST, list);
    return true;
}

static bool dict_from_json(struct jinja_run *run, json_t *json, struct jinja_value *out)
{
    struct jinja_dict *dict = jinja_new_dict(run, json_object_size(json));
    if (dict == NULL) {
        return false;
    }
    for (void *at = json_object_iter(json); at != NULL; at = json_object_iter_next(json, at)) {
        struct jinja_value value;
        struct jinja_value key = jinja_string(bytes_of(json_object_iter_key(at)));
        if (!jinja_from_json(run, json_object_iter_value(at), &value)) {
            return false;
        }
        if (!jinja_dict_add(run->arena, dict, key, value)) {
            return jinja_fail_memory(run);
        }
    }
    *out = jinja_mapping(dict);
    return true;
}

static bool container_from_json(struct jinja_run *run, const json_t *json, struct jinja_value *out)
{
    if (!jinja_enter(run)) {
        return false;
    }
    // jansson's iterators want a mutable object though they only read
    bool converted = json_is_array(json) ? list_from_json(run, json, out)
                                         : dict_from_json(run, (json_t *)(uintptr_t)json, out);
    jinja_leave(run);
    return converted;
}

bool jinja_from_json(struct jinja_run *run, const json_t *json, struct jinja_value *out)
{
    if (json == NULL) {
        *out = jinja_none();
        return true;
    }
    switch (json_typeof(json)) {
    case JSON_OBJECT:
    case JSON_ARRAY:
        return container_from_json(run, json, out);
    case JSON_STRING:
        *out = jinja_string((struct bytes){json_string_value(json), json_string_length(json)});
        return true;
    case JSON_INTEGER:
        *out = jinja_integer(json_integer_value(json));
        return true;
    case JSON_REAL:
        *out = jinja_float(json_real_value(json));
        return true;
    case JSON_TRUE:
    case JSON_FALSE:
        *out = jinja_bool(json_is_true(json));
        return true;
    case JSON_NULL:
        *out = jinja_none();
        return true;
    }
    *out = jinja_none();
    return true;
}
