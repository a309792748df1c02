/* jinja_text: str() and repr(). */
#include "pipeline/text/jinja_text.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <utf8proc.h>

#include "pipeline/text/jinja_native.h"
#include "pipeline/text/jinja_string.h"

void jinja_print_float(struct buffer *out, double real)
{
    if (isnan(real)) {
        buffer_append_text(out, "nan");
        return;
    }
    if (isinf(real)) {
        buffer_append_text(out, real < 0 ? "-inf" : "inf");
        return;
    }
    char text[40];
    int digits = 1;
    do { // d.ddde+XX
        snprintf(text, sizeof text, "%.*e", digits - 1, real);
    } while (strtod(text, NULL) != real && digits++ < 17);
    int exponent = (int)strtol(strchr(text, 'e') + 1, NULL, 10);
    if (exponent < -4 || exponent >= 16) {
        buffer_append_text(out, text); // C and Python agree on e-07 and e+20
        return;
    }
    int decimals = digits - 1 - exponent;
    buffer_printf(out, "%.*f", decimals < 1 ? 1 : decimals, real);
}

/* Python's str.isprintable for one code point: no separators but the space, and nothing that
 * controls or is unassigned. utf8proc's categories stand in this order. */
static bool is_printable(int32_t code_point)
{
    utf8proc_category_t category = utf8proc_category(code_point);
    return code_point == ' ' ||
           (category != UTF8PROC_CATEGORY_CN && category < UTF8PROC_CATEGORY_ZS);
}

static void print_code_point_repr(struct buffer *out, int32_t c, struct bytes own, char quote)
{
    if (c == '\n') {
        buffer_append_text(out, "\\n");
    } else if (c == '\r') {
        buffer_append_text(out, "\\r");
    } else if (c == '\t') {
        buffer_append_text(out, "\\t");
    } else if (c == '\\' || c == quote) {
        buffer_append_char(out, '\\');
        buffer_append_char(out, (char)c);
    } else if (is_printable(c)) {
        buffer_append_bytes(out, own);
    } else {
        int digits = c < 0x100 ? 2 : c < 0x10000 ? 4 : 8;
        buffer_printf(out, "\\%c%0*x",
                      digits == 2   ? 'x'
                      : digits == 4 ? 'u'
                                    : 'U',
                      digits, (unsigned)c);
    }
}

static void print_string_repr(struct buffer *out, struct bytes text)
{
    bool has_single = text.size > 0 && memchr(text.data, '\'', text.size) != NULL;
    bool has_double = text.size > 0 && memchr(text.data, '"', text.size) != NULL;
    char quote = has_single && !has_double ? '"' : '\'';
    buffer_append_char(out, quote);
    for (size_t at = 0; at < text.size;) {
        size_t start = at;
        int32_t c = jinja_utf8_take(text, &at);
        print_code_point_repr(out, c, jinja_part(text, start, at), quote);
    }
    buffer_append_char(out, quote);
}

static bool print_items(struct jinja_run *run, const struct jinja_list *list, const char *open,
                        const char *close)
{
    buffer_append_text(run->out, open);
    for (size_t i = 0; i < list->count; i++) {
        if (i > 0) {
            buffer_append_text(run->out, ", ");
        }
        if (!jinja_print_repr(run, list->items[i])) {
            return false;
        }
    }
    buffer_append_text(run->out, close);
    return true;
}

static bool print_view(struct jinja_run *run, const struct jinja_list *list)
{
    buffer_append_bytes(run->out, list->name);
    bool is_whole = jinja_ends_with(list->name, bytes_of(")"));
    return is_whole || print_items(run, list, "([", "])");
}

static bool print_dict(struct jinja_run *run, const struct jinja_dict *dict)
{
    buffer_append_char(run->out, '{');
    for (size_t i = 0; i < dict->count; i++) {
        if (i > 0) {
            buffer_append_text(run->out, ", ");
        }
        if (!jinja_print_repr(run, dict->pairs[i].key)) {
            return false;
        }
        buffer_append_text(run->out, ": ");
        if (!jinja_print_repr(run, dict->pairs[i].value)) {
            return false;
        }
    }
    buffer_append_char(run->out, '}');
    return true;
}

static bool print_namespace(struct jinja_run *run, const struct jinja_dict *dict)
{
    buffer_append_text(run->out, "<Namespace ");
    if (!print_dict(run, dict)) {
        return false;
    }
    buffer_append_char(run->out, '>');
    return true;
}

static void print_macro(struct buffer *out, const struct jinja_macro *macro)
{
    struct bytes name = macro->signature->name;
    if (name.size == 0) {
        buffer_append_text(out, "<Macro anonymous>");
        return;
    }
    buffer_append_text(out, "<Macro ");
    print_string_repr(out, name);
    buffer_append_char(out, '>');
}

static bool print_repr(struct jinja_run *run, struct jinja_value value)
{
    struct buffer *out = run->out;
    switch (value.kind) {
    case JINJA_ABSENT:
    case JINJA_UNDEFINED:
        buffer_append_text(out, "Undefined");
        return true;
    case JINJA_NONE:
        buffer_append_text(out, "None");
        return true;
    case JINJA_BOOL:
        buffer_append_text(out, value.as.boolean ? "True" : "False");
        return true;
    case JINJA_INTEGER:
        buffer_printf(out, "%" PRId64, value.as.integer);
        return true;
    case JINJA_FLOAT:
        jinja_print_float(out, value.as.real);
        return true;
    case JINJA_STRING:
        buffer_append_text(out, value.is_markup ? "Markup(" : "");
        print_string_repr(out, value.as.text);
        buffer_append_text(out, value.is_markup ? ")" : "");
        return true;
    case JINJA_LIST:
        return print_items(run, value.as.list, "[", "]");
    case JINJA_TUPLE:
        return print_items(run, value.as.list, "(", value.as.list->count == 1 ? ",)" : ")");
    case JINJA_VIEW:
        return print_view(run, value.as.list);
    case JINJA_DICT:
        return print_dict(run, value.as.dict);
    case JINJA_NAMESPACE:
        return print_namespace(run, value.as.dict);
    case JINJA_GENERATOR:
        buffer_append_text(out, "<generator object>");
        return true;
    case JINJA_LOOP:
        buffer_printf(out, "<LoopContext %zu/%zu>", value.as.loop->index0 + 1,
                      value.as.loop->items->count);
        return true;
    case JINJA_MACRO:
        print_macro(out, value.as.macro);
        return true;
    case JINJA_NATIVE:
        buffer_printf(out, "<built-in method %s>", value.as.method->native->name);
        return true;
    }
    return true;
}

bool jinja_print_repr(struct jinja_run *run, struct jinja_value value)
{
    if (!jinja_enter(run)) {
        return false;
    }
    bool printed = jinja_spend(run, 1) && print_repr(run, value);
    jinja_leave(run);
    return printed;
}

bool jinja_print(struct jinja_run *run, struct jinja_value value)
{
    if (value.kind == JINJA_STRING) {
        buffer_append_bytes(run->out, value.as.text);
        return true;
    }
    if (value.kind == JINJA_UNDEFINED) {
        return true;
    }
    return jinja_print_repr(run, value);
}

bool jinja_text_of(struct jinja_run *run, struct jinja_value value, struct bytes *out)
{
    if (value.kind == JINJA_STRING) {
        *out = value.as.text;
        return true;
    }
    size_t begin = jinja_capture_begin(run);
    return jinja_print(run, value) && jinja_capture_end(run, begin, out);
}

bool jinja_escape(struct jinja_run *run, struct jinja_value value, struct bytes *out)
{
    if (!jinja_text_of(run, value, out) || jinja_is_markup(value)) {
        return jinja_is_markup(value);
    }
    size_t begin = jinja_capture_begin(run);
    jinja_put_escaped(run->out, *out);
    return jinja_capture_end(run, begin, out);
}
