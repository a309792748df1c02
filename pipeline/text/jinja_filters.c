/* jinja_filters: filters that make text or one value. Those over sequences are in
 * jinja_sequence_filters.c. */
#include "pipeline/text/jinja_native.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "pipeline/text/jinja_member.h"
#include "pipeline/text/jinja_operators.h"
#include "pipeline/text/jinja_string.h"
#include "pipeline/text/jinja_text.h"
#include "pipeline/text/jinja_tojson.h"

static bool filter_case(struct jinja_run *run, struct jinja_value subject,
                        enum jinja_case letter_case, struct jinja_value *out)
{
    struct bytes text;
    if (!jinja_text_of(run, subject, &text)) {
        return false;
    }
    size_t begin = jinja_capture_begin(run);
    jinja_put_case(run->out, text, letter_case);
    return jinja_capture_string(run, begin, out);
}

static bool filter_upper(struct jinja_run *run, struct jinja_value subject,
                         const struct jinja_arguments *arguments, struct jinja_value *out)
{
    (void)arguments;
    return filter_case(run, subject, JINJA_CASE_UPPER, out);
}

static bool filter_lower(struct jinja_run *run, struct jinja_value subject,
                         const struct jinja_arguments *arguments, struct jinja_value *out)
{
    (void)arguments;
    return filter_case(run, subject, JINJA_CASE_LOWER, out);
}

static bool filter_capitalize(struct jinja_run *run, struct jinja_value subject,
                              const struct jinja_arguments *arguments, struct jinja_value *out)
{
    (void)arguments;
    struct bytes text;
    if (!jinja_text_of(run, subject, &text)) {
        return false;
    }
    size_t begin = jinja_capture_begin(run);
    jinja_put_capitalized(run->out, text);
    return jinja_capture_string(run, begin, out);
}

/* Jinja2's own idea of a title: words start after white space and after - ( { [ <. */
static bool filter_title(struct jinja_run *run, struct jinja_value subject,
                         const struct jinja_arguments *arguments, struct jinja_value *out)
{
    (void)arguments;
    struct bytes text;
    if (!jinja_text_of(run, subject, &text)) {
        return false;
    }
    size_t begin = jinja_capture_begin(run);
    size_t word = 0;
    for (size_t at = 0; at < text.size;) {
        size_t start = at;
        int32_t c = jinja_utf8_take(text, &at);
        if (jinja_is_space(c) || (c > 0 && c < 0x80 && strchr("-({[<", c) != NULL)) {
            jinja_put_capitalized(run->out, jinja_part(text, word, start));
            buffer_append_bytes(run->out, jinja_part(text, start, at));
            word = at;
        }
    }
    jinja_put_capitalized(run->out, jinja_part(text, word, text.size));
    return jinja_capture_string(run, begin, out);
}

static bool filter_trim(struct jinja_run *run, struct jinja_value subject,
                        const struct jinja_arguments *arguments, struct jinja_value *out)
{
    struct bytes text;
    struct bytes unwanted;
    if (!jinja_text_of(run, subject, &text) ||
        !jinja_argument_text(run, arguments->bound[0], &unwanted)) {
        return false;
    }
    *out = jinja_string(jinja_strip(text, unwanted, JINJA_SIDE_BOTH));
    return true;
}

static bool filter_string(struct jinja_run *run, struct jinja_value subject,
                          const struct jinja_arguments *arguments, struct jinja_value *out)
{
    (void)arguments;
    struct bytes text;
    if (!jinja_text_of(run, subject, &text)) {
        return false;
    }
    *out = jinja_string(text);
    return true;
}

static bool filter_forceescape(struct jinja_run *run, struct jinja_value subject,
                               const struct jinja_arguments *arguments, struct jinja_value *out)
{
    (void)arguments;
    struct bytes text;
    if (!jinja_text_of(run, subject, &text)) {
        return false;
    }
    size_t begin = jinja_capture_begin(run);
    jinja_put_escaped(run->out, text);
    if (!jinja_capture_string(run, begin, out)) {
        return false;
    }
    out->is_markup = true;
    return true;
}

/* Escapes unless it is markup already. */
static bool filter_escape(struct jinja_run *run, struct jinja_value subject,
                          const struct jinja_arguments *arguments, struct jinja_value *out)
{
    *out = subject;
    return jinja_is_markup(subject) || filter_forceescape(run, subject, arguments, out);
}

static bool filter_safe(struct jinja_run *run, struct jinja_value subject,
                        const struct jinja_arguments *arguments, struct jinja_value *out)
{
    (void)arguments;
    struct bytes text;
    if (!jinja_text_of(run, subject, &text)) {
        return false;
    }
    *out = jinja_markup(text);
    return true;
}

static bool filter_replace(struct jinja_run *run, struct jinja_value subject,
                           const struct jinja_arguments *arguments, struct jinja_value *out)
{
    struct bytes text;
    if (!jinja_text_of(run, subject, &text)) {
        return false;
    }
    struct jinja_value words[3] = {arguments->bound[0], arguments->bound[1], arguments->bound[2]};
    for (size_t i = 0; i < 2; i++) {
        struct bytes word;
        if (!jinja_text_of(run, words[i], &word)) {
            return false;
        }
        words[i] = jinja_string(word);
    }
    const struct jinja_native *method = jinja_method_find(jinja_string(text), bytes_of("replace"));
    struct jinja_arguments own = {.positional = words,
                                  .count = words[2].kind == JINJA_ABSENT ? 2 : 3};
    return jinja_native_call(run, method, jinja_string(text), &own, out);
}

/* The indentation that indent and tojson take: a number of spaces or the text itself. */
static bool indentation(struct jinja_run *run, struct jinja_value width, struct bytes *out)
{
    if (width.kind == JINJA_STRING) {
        *out = width.as.text;
        return true;
    }
    int64_t count;
    if (!jinja_argument_integer(run, width, 4, &count)) {
        return false;
    }
    struct jinja_value spaces;
    if (!jinja_binary(run, OPERATOR_MULTIPLY, jinja_string(bytes_of(" ")), jinja_integer(count),
                      &spaces)) {
        return false;
    }
    *out = spaces.as.text;
    return true;
}

static bool filter_indent(struct jinja_run *run, struct jinja_value subject,
                          const struct jinja_arguments *arguments, struct jinja_value *out)
{
    struct bytes indent;
    if (subject.kind != JINJA_STRING) {
        return subject.kind == JINJA_UNDEFINED
                   ? jinja_fail_undefined(run, subject)
                   : jinja_fail(run, "indent needs str, not %s", jinja_type_name(subject));
    }
    if (!indentation(run, arguments->bound[0], &indent)) {
        return false;
    }
    bool indents_first = jinja_truth(arguments->bound[1]);
    bool indents_blank = jinja_truth(arguments->bound[2]);
    struct bytes text = subject.as.text;
    size_t begin = jinja_capture_begin(run);
    bool has_end = true;
    for (size_t at = 0, index = 0; has_end; index++) {
        struct bytes line = jinja_take_line(text, &at, &has_end);
        if (index == 0 ? indents_first : (line.size > 0 || indents_blank)) {
            buffer_append_bytes(run->out, indent);
        }
        buffer_append_bytes(run->out, line);
        if (has_end) {
            buffer_append_char(run->out, '\n');
        }
    }
    return jinja_capture_string(run, begin, out);
}

static bool filter_default(struct jinja_run *run, struct jinja_value subject,
                           const struct jinja_arguments *arguments, struct jinja_value *out)
{
    (void)run;
    bool is_missing = subject.kind == JINJA_UNDEFINED ||
                      (jinja_truth(arguments->bound[1]) && !jinja_truth(subject));
    struct jinja_value fallback = arguments->bound[0];
    *out = !is_missing                     ? subject
           : fallback.kind == JINJA_ABSENT ? jinja_string(bytes_of(""))
                                           : fallback;
    return true;
}

static bool filter_tojson(struct jinja_run *run, struct jinja_value subject,
                          const struct jinja_arguments *arguments, struct jinja_value *out)
{
    struct jinja_value separators = arguments->bound[2];
    struct jinja_json_style style = {
        .is_ascii = jinja_truth(arguments->bound[0]),
        .sorts_keys = jinja_truth(arguments->bound[3]),
        .item_separator = bytes_of(", "),
        .key_separator = bytes_of(": "),
    };
    struct jinja_value indent = arguments->bound[1];
    if (indent.kind != JINJA_ABSENT && indent.kind != JINJA_NONE) {
        style.item_separator = bytes_of(",");
        if (!indentation(run, indent, &style.indent)) {
            return false;
        }
    }
    if (separators.kind == JINJA_LIST || separators.kind == JINJA_TUPLE) {
        const struct jinja_list *pair = separators.as.list;
        if (pair->count != 2 || pair->items[0].kind != JINJA_STRING ||
            pair->items[1].kind != JINJA_STRING) {
            return jinja_fail(run, "tojson's separators must be two strings");
        }
        style.item_separator = pair->items[0].as.text;
        style.key_separator = pair->items[1].as.text;
    }
    size_t begin = jinja_capture_begin(run);
    return jinja_print_json(run, subject, &style) && jinja_capture_string(run, begin, out);
}

/* Copies a numeral without its underscores, for strtod and strtoll. False: it is none. */
static bool copy_numeral(struct bytes text, char *out, size_t size)
{
    size_t used = 0;
    text = jinja_strip(text, (struct bytes){NULL, 0}, JINJA_SIDE_BOTH);
    for (size_t i = 0; i < text.size; i++) {
        if (text.data[i] == '_' && i > 0 && i + 1 < text.size && text.data[i - 1] != '_') {
            continue;
        }
        if (used + 1 == size || text.data[i] == '\0' || text.data[i] == 'x' ||
            text.data[i] == 'X' || text.data[i] == '_') {
            return false; // too long, or what C reads and Python does not
        }
        out[used++] = text.data[i];
    }
    out[used] = '\0';
    return used > 0;
}

/* Python's float(value) without its exceptions. */
static bool read_float(struct jinja_value value, double *out)
{
    if (jinja_is_number(value)) {
        *out = jinja_as_float(value);
        return true;
    }
    char text[400];
    if (value.kind != JINJA_STRING || !copy_numeral(value.as.text, text, sizeof text)) {
        return false;
    }
    char *end;
    *out = strtod(text, &end);
    return *end == '\0';
}

static bool read_integer(struct jinja_value value, int base, int64_t *out)
{
    if (jinja_is_integer(value)) {
        *out = jinja_as_integer(value);
        return true;
    }
    char text[100];
    struct bytes digits = value.kind == JINJA_STRING ? value.as.text : bytes_of("");
    if (base == 16 &&
        (jinja_starts_with(digits, bytes_of("0x")) || jinja_starts_with(digits, bytes_of("0X")))) {
        digits = jinja_part(digits, 2, digits.size);
    }
    if (copy_numeral(digits, text, sizeof text)) {
        char *end;
        errno = 0;
        *out = strtoll(text, &end, base);
        if (*end == '\0' && errno == 0) {
            return true;
        }
    }
    double real;
    if (!read_float(value, &real) || !(real > -9.2e18 && real < 9.2e18)) {
        return false;
    }
    *out = (int64_t)real;
    return true;
}

static bool filter_int(struct jinja_run *run, struct jinja_value subject,
                       const struct jinja_arguments *arguments, struct jinja_value *out)
{
    int64_t base;
    int64_t integer;
    if (subject.kind == JINJA_UNDEFINED) {
        return jinja_fail_undefined(run, subject);
    }
    if (!jinja_argument_integer(run, arguments->bound[1], 10, &base)) {
        return false;
    }
    if (base < 2 || base > 36) {
        return jinja_fail(run, "int() base must be >= 2 and <= 36");
    }
    if (read_integer(subject, (int)base, &integer)) {
        *out = jinja_integer(integer);
    } else {
        *out = arguments->bound[0].kind == JINJA_ABSENT ? jinja_integer(0) : arguments->bound[0];
    }
    return true;
}

static bool filter_float(struct jinja_run *run, struct jinja_value subject,
                         const struct jinja_arguments *arguments, struct jinja_value *out)
{
    double real;
    if (subject.kind == JINJA_UNDEFINED) {
        return jinja_fail_undefined(run, subject);
    }
    if (read_float(subject, &real)) {
        *out = jinja_float(real);
    } else {
        *out = arguments->bound[0].kind == JINJA_ABSENT ? jinja_float(0) : arguments->bound[0];
    }
    return true;
}

static bool filter_abs(struct jinja_run *run, struct jinja_value subject,
                       const struct jinja_arguments *arguments, struct jinja_value *out)
{
    (void)arguments;
    bool is_negative = jinja_is_number(subject) && jinja_as_float(subject) < 0;
    return jinja_sign(run, is_negative ? OPERATOR_NEGATE : OPERATOR_POSITIVE, subject, out);
}

static bool filter_round(struct jinja_run *run, struct jinja_value subject,
                         const struct jinja_arguments *arguments, struct jinja_value *out)
{
    int64_t precision;
    if (subject.kind == JINJA_UNDEFINED) {
        return jinja_fail_undefined(run, subject);
    }
    if (!jinja_is_number(subject)) {
        return jinja_fail(run, "type %s doesn't define __round__ method", jinja_type_name(subject));
    }
    if (!jinja_argument_integer(run, arguments->bound[0], 0, &precision)) {
        return false;
    }
    if (precision < -300 || precision > 300) {
        return jinja_fail(run, "round's precision must be from -300 to 300");
    }
    struct jinja_value method = arguments->bound[1];
    if (jinja_is_integer(subject) && method.kind == JINJA_ABSENT && precision >= 0) {
        *out = jinja_integer(jinja_as_integer(subject));
        return true;
    }
    double value = jinja_as_float(subject);
    double scale = pow(10, (double)precision);
    if (method.kind == JINJA_STRING && bytes_equal_text(method.as.text, "ceil")) {
        *out = jinja_float(ceil(value * scale) / scale);
    } else if (method.kind == JINJA_STRING && bytes_equal_text(method.as.text, "floor")) {
        *out = jinja_float(floor(value * scale) / scale);
    } else if (precision < 0) {
        *out = jinja_float(rint(value * scale) / scale);
    } else { // correctly rounded, as printing is
        char text[700];
        snprintf(text, sizeof text, "%.*f", (int)precision, value);
        *out = jinja_float(strtod(text, NULL));
    }
    return true;
}

static bool filter_center(struct jinja_run *run, struct jinja_value subject,
                          const struct jinja_arguments *arguments, struct jinja_value *out)
{
    struct bytes text;
    if (!jinja_text_of(run, subject, &text)) {
        return false;
    }
    const struct jinja_native *method = jinja_method_find(jinja_string(text), bytes_of("center"));
    struct jinja_value width = arguments->bound[0];
    width = width.kind == JINJA_ABSENT ? jinja_integer(80) : width;
    struct jinja_arguments own = {.positional = &width, .count = 1};
    return jinja_native_call(run, method, jinja_string(text), &own, out);
}

static bool filter_truncate(struct jinja_run *run, struct jinja_value subject,
                            const struct jinja_arguments *arguments, struct jinja_value *out)
{
    struct bytes text;
    struct bytes end;
    int64_t length;
    int64_t leeway;
    if (!jinja_text_of(run, subject, &text) ||
        !jinja_argument_integer(run, arguments->bound[0], 255, &length) ||
        !jinja_argument_text(run, arguments->bound[2], &end) ||
        !jinja_argument_integer(run, arguments->bound[3], 5, &leeway)) {
        return false;
    }
    end = end.data == NULL ? bytes_of("...") : end;
    int64_t end_count = (int64_t)jinja_utf8_count(end);
    if (length < end_count || leeway < 0) {
        return jinja_fail(run, "truncate's length must be at least %d and its leeway not negative",
                          (int)end_count);
    }
    *out = jinja_string(text);
    int64_t count = (int64_t)jinja_utf8_count(text);
    if (count <= length || count - length <= leeway) {
        return true;
    }
    struct bytes kept = jinja_part(text, 0, jinja_utf8_offset(text, (size_t)(length - end_count)));
    if (!jinja_truth(arguments->bound[1])) { // not inside a word, unless there is only one
        size_t space = kept.size;
        while (space > 0 && kept.data[space - 1] != ' ') {
            space--;
        }
        kept.size = space > 0 ? space - 1 : kept.size;
    }
    return jinja_binary(run, OPERATOR_ADD, jinja_string(kept), jinja_string(end), out);
}

static bool filter_wordcount(struct jinja_run *run, struct jinja_value subject,
                             const struct jinja_arguments *arguments, struct jinja_value *out)
{
    (void)arguments;
    struct bytes text;
    if (!jinja_text_of(run, subject, &text)) {
        return false;
    }
    int64_t count = 0;
    bool was_word = false;
    for (size_t at = 0; at < text.size;) {
        int32_t c = jinja_utf8_take(text, &at);
        bool is_word = jinja_is_letter(c) || jinja_is_digit(c) || c == '_';
        count += is_word && !was_word;
        was_word = is_word;
    }
    *out = jinja_integer(count);
    return true;
}

static bool filter_urlencode(struct jinja_run *run, struct jinja_value subject,
                             const struct jinja_arguments *arguments, struct jinja_value *out)
{
    (void)arguments;
    struct bytes text;
    if (!jinja_text_of(run, subject, &text)) {
        return false;
    }
    size_t begin = jinja_capture_begin(run);
    for (size_t i = 0; i < text.size; i++) {
        char c = text.data[i];
        bool is_plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                        (c >= '0' && c <= '9') || (c != '\0' && strchr("_.-~/", c) != NULL);
        if (is_plain) {
            buffer_append_char(run->out, c);
        } else {
            buffer_printf(run->out, "%%%02X", (unsigned char)c);
        }
    }
    return jinja_capture_string(run, begin, out);
}

/* format|format(a, b): a printf-style format and its values. */
static bool filter_format(struct jinja_run *run, struct jinja_value subject,
                          const struct jinja_arguments *arguments, struct jinja_value *out)
{
    struct bytes format;
    struct jinja_list *values = jinja_new_list(run, arguments->count);
    if (values == NULL || !jinja_text_of(run, subject, &format)) {
        return false;
    }
    for (size_t i = 0; i < arguments->count; i++) {
        if (!jinja_append(run, values, arguments->positional[i])) {
            return false;
        }
    }
    struct jinja_value text = jinja_string(format);
    text.is_markup = jinja_is_markup(subject);
    return jinja_format(run, text, jinja_sequence(JINJA_TUPLE, values), out);
}

static bool filter_attr(struct jinja_run *run, struct jinja_value subject,
                        const struct jinja_arguments *arguments, struct jinja_value *out)
{
    struct bytes name;
    if (!jinja_argument_text(run, arguments->bound[0], &name)) {
        return false;
    }
    if (name.data == NULL || subject.kind == JINJA_DICT) { // never a key
        *out = jinja_undefined(JINJA_CAUSE_MEMBER, bytes_of("attr found no attribute"));
        return true;
    }
    return jinja_attribute(run, subject, name, out);
}

static const struct jinja_native filters[] = {
    {.name = "abs", .run = filter_abs},
    {.name = "attr", .run = filter_attr, .parameters = {"name"}, .required = 1},
    {.name = "capitalize", .run = filter_capitalize, .keeps_markup = true},
    {.name = "center", .run = filter_center, .keeps_markup = true, .parameters = {"width"}},
    {.name = "d", .run = filter_default, .parameters = {"default_value", "boolean"}},
    {.name = "default", .run = filter_default, .parameters = {"default_value", "boolean"}},
    {.name = "e", .run = filter_escape},
    {.name = "escape", .run = filter_escape},
    {.name = "float", .run = filter_float, .parameters = {"default"}},
    {.name = "forceescape", .run = filter_forceescape},
    {.name = "format", .run = filter_format, .is_variadic = true},
    {.name = "indent",
     .run = filter_indent,
     .keeps_markup = true,
     .parameters = {"width", "first", "blank"}},
    {.name = "int", .run = filter_int, .parameters = {"default", "base"}},
    {.name = "lower", .run = filter_lower, .keeps_markup = true},
    {.name = "replace",
     .run = filter_replace,
     .parameters = {"old", "new", "count"},
     .required = 2},
    {.name = "round", .run = filter_round, .parameters = {"precision", "method"}},
    {.name = "safe", .run = filter_safe},
    {.name = "string", .run = filter_string, .keeps_markup = true},
    {.name = "title", .run = filter_title},
    {.name = "tojson",
     .run = filter_tojson,
     .parameters = {"ensure_ascii", "indent", "separators", "sort_keys"}},
    {.name = "trim", .run = filter_trim, .keeps_markup = true, .parameters = {"chars"}},
    {.name = "truncate",
     .run = filter_truncate,
     .keeps_markup = true,
     .parameters = {"length", "killwords", "end", "leeway"}},
    {.name = "upper", .run = filter_upper, .keeps_markup = true},
    {.name = "urlencode", .run = filter_urlencode},
    {.name = "wordcount", .run = filter_wordcount},
};

const struct jinja_native *jinja_filter_find(struct bytes name)
{
    const struct jinja_native *found =
        jinja_native_find(filters, sizeof filters / sizeof *filters, name);
    return found != NULL ? found : jinja_sequence_filter_find(name);
}
