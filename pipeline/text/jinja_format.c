/* jinja_format: Python's str % values. */
#include "pipeline/text/jinja_operators.h"

#include <inttypes.h>
#include <stdio.h>

#include "pipeline/text/jinja_string.h"
#include "pipeline/text/jinja_text.h"

enum { WIDTH_MAX = 1000, PRECISION_MAX = 100 };

/* One "%...x" of a format. */
struct conversion {
    bool is_left;
    bool has_sign;
    bool has_space;
    bool has_zeros;
    bool is_alternate;
    int width;
    int precision; // -1: none
    char type;
};

/* Where the values of the format come from: a tuple in order, or a dict by %(name)s. */
struct feed {
    struct jinja_value values;
    size_t taken;
    bool is_markup; // values are escaped
};

static bool take_value(struct jinja_run *run, struct feed *feed, struct bytes name,
                       struct jinja_value *out)
{
    if (name.data != NULL) {
        if (feed->values.kind != JINJA_DICT) {
            return jinja_fail(run, "format requires a mapping");
        }
        const struct jinja_value *found = jinja_dict_find(feed->values.as.dict, jinja_string(name));
        if (found == NULL) {
            return jinja_fail(run, "the format names a key that is not there");
        }
        *out = *found;
        return true;
    }
    bool is_tuple = feed->values.kind == JINJA_TUPLE;
    if (feed->taken >= (is_tuple ? feed->values.as.list->count : 1)) {
        return jinja_fail(run, "not enough arguments for format string");
    }
    *out = is_tuple ? feed->values.as.list->items[feed->taken] : feed->values;
    feed->taken++;
    return true;
}

/* Digits; max + 1 stands for everything above max. */
static int take_number(struct bytes format, size_t *at, int max)
{
    int number = 0;
    while (*at < format.size && format.data[*at] >= '0' && format.data[*at] <= '9') {
        number = number * 10 + (format.data[*at] - '0');
        number = number > max ? max + 1 : number;
        ++*at;
    }
    return number;
}

static void take_flags(struct bytes format, size_t *at, struct conversion *conversion)
{
    for (; *at < format.size; ++*at) {
        switch (format.data[*at]) {
        case '-':
            conversion->is_left = true;
            break;
        case '+':
            conversion->has_sign = true;
            break;
        case ' ':
            conversion->has_space = true;
            break;
        case '0':
            conversion->has_zeros = true;
            break;
        case '#':
            conversion->is_alternate = true;
            break;
        default:
            return;
        }
    }
}

/* Reads what follows a '%'. */
static bool take_conversion(struct jinja_run *run, struct bytes format, size_t *at,
                            struct conversion *out, struct bytes *name)
{
    *out = (struct conversion){.precision = -1};
    *name = (struct bytes){NULL, 0};
    if (*at < format.size && format.data[*at] == '(') {
        size_t end = jinja_find(format, bytes_of(")"), *at);
        if (end == SIZE_MAX) {
            return jinja_fail(run, "incomplete format key");
        }
        *name = jinja_part(format, *at + 1, end);
        *at = end + 1;
    }
    take_flags(format, at, out);
    out->width = take_number(format, at, WIDTH_MAX);
    if (*at < format.size && format.data[*at] == '.') {
        ++*at;
        out->precision = take_number(format, at, PRECISION_MAX);
    }
    if (*at == format.size) {
        return jinja_fail(run, "incomplete format");
    }
    if (out->width > WIDTH_MAX || out->precision > PRECISION_MAX) {
        return jinja_fail(run, "a format needs a width of at most %d and a precision of at most %d",
                          WIDTH_MAX, PRECISION_MAX);
    }
    out->type = format.data[(*at)++];
    return true;
}

static void put_padded(struct buffer *out, const struct conversion *conversion, struct bytes text)
{
    int missing = conversion->width - (int)jinja_utf8_count(text);
    for (int i = 0; !conversion->is_left && i < missing; i++) {
        buffer_append_char(out, ' ');
    }
    buffer_append_bytes(out, text);
    for (int i = 0; conversion->is_left && i < missing; i++) {
        buffer_append_char(out, ' ');
    }
}

static bool put_text(struct jinja_run *run, const struct conversion *conversion,
                     struct jinja_value value, bool is_markup)
{
    struct bytes text;
    size_t begin = jinja_capture_begin(run);
    bool printed = conversion->type == 's' ? jinja_print(run, value) : jinja_print_repr(run, value);
    if (!printed || !jinja_capture_end(run, begin, &text)) {
        return false;
    }
    if (is_markup && !(conversion->type == 's' && jinja_is_markup(value)) &&
        !jinja_escape(run, jinja_string(text), &text)) {
        return false;
    }
    if (conversion->precision >= 0) {
        text.size = jinja_utf8_offset(text, (size_t)conversion->precision);
    }
    put_padded(run->out, conversion, text);
    return true;
}

/* sign, prefix, zeros, digits: `digits` is the absolute value's text. */
static void put_number(struct buffer *out, const struct conversion *conversion, bool is_negative,
                       const char *prefix, const char *digits)
{
    char text[WIDTH_MAX + 500];
    const char *sign = is_negative             ? "-"
                       : conversion->has_sign  ? "+"
                       : conversion->has_space ? " "
                                               : "";
    size_t used = strlen(sign) + strlen(prefix) + strlen(digits);
    size_t width = (size_t)conversion->width;
    int zeros =
        conversion->has_zeros && !conversion->is_left && width > used ? (int)(width - used) : 0;
    int size = snprintf(text, sizeof text, "%s%s%0*d%s", sign, prefix, zeros, 0, digits);
    if (zeros == 0) { // "%0*d" with width 0 writes one zero
        size = snprintf(text, sizeof text, "%s%s%s", sign, prefix, digits);
    }
    put_padded(out, conversion, (struct bytes){text, size < 0 ? 0 : (size_t)size});
}

static bool put_integer(struct jinja_run *run, const struct conversion *conversion,
                        struct jinja_value value)
{
    bool is_decimal = strchr("diu", conversion->type) != NULL;
    bool is_real = is_decimal && value.kind == JINJA_FLOAT && value.as.real > -9.2e18 &&
                   value.as.real < 9.2e18;
    if (!jinja_is_integer(value) && !is_real) {
        return jinja_fail(run, "%%%c format: a real number is required, not %s", conversion->type,
                          jinja_type_name(value));
    }
    int64_t integer = is_real ? (int64_t)value.as.real : jinja_as_integer(value);
    uint64_t magnitude = integer < 0 ? 0 - (uint64_t)integer : (uint64_t)integer;
    char digits[128];
    char plain[32];
    snprintf(plain, sizeof plain,
             conversion->type == 'x'   ? "%" PRIx64
             : conversion->type == 'X' ? "%" PRIX64
             : conversion->type == 'o' ? "%" PRIo64
                                       : "%" PRIu64,
             magnitude);
    int zeros = conversion->precision - (int)strlen(plain);
    memset(digits, '0', sizeof digits);
    snprintf(digits + (zeros > 0 ? zeros : 0), sizeof plain, "%s", plain);
    const char *prefix = is_decimal || !conversion->is_alternate ? ""
                         : conversion->type == 'x'               ? "0x"
                         : conversion->type == 'X'               ? "0X"
                                                                 : "0o";
    put_number(run->out, conversion, integer < 0, prefix, digits);
    return true;
}

static bool put_float(struct jinja_run *run, const struct conversion *conversion,
                      struct jinja_value value)
{
    if (!jinja_is_number(value)) {
        return jinja_fail(run, "must be real number, not %s", jinja_type_name(value));
    }
    double real = jinja_as_float(value);
    bool is_negative = real < 0;
    real = is_negative ? -real : real;
    int precision = conversion->precision < 0 ? 6 : conversion->precision;
    char digits[PRECISION_MAX + 330]; // 1e308 has 309 digits before the point
    switch (conversion->type) {
    case 'e':
        snprintf(digits, sizeof digits, "%.*e", precision, real);
        break;
    case 'E':
        snprintf(digits, sizeof digits, "%.*E", precision, real);
        break;
    case 'g':
        snprintf(digits, sizeof digits, "%.*g", precision, real);
        break;
    case 'G':
        snprintf(digits, sizeof digits, "%.*G", precision, real);
        break;
    default:
        snprintf(digits, sizeof digits, "%.*f", precision, real);
    }
    put_number(run->out, conversion, is_negative, "", digits);
    return true;
}

static bool put_character(struct jinja_run *run, const struct conversion *conversion,
                          struct jinja_value value)
{
    char text[4];
    size_t size;
    if (value.kind == JINJA_STRING && jinja_utf8_count(value.as.text) == 1) {
        put_padded(run->out, conversion, value.as.text);
        return true;
    }
    if (!jinja_is_integer(value) || jinja_as_integer(value) < 0 ||
        jinja_as_integer(value) > 0x10FFFF ||
        !jinja_utf8_put((int32_t)jinja_as_integer(value), text, &size)) {
        return jinja_fail(run, "%%c requires int or char");
    }
    put_padded(run->out, conversion, (struct bytes){text, size});
    return true;
}

static bool put_conversion(struct jinja_run *run, const struct conversion *conversion,
                           struct jinja_value value, bool is_markup)
{
    char type = conversion->type;
    if (value.kind == JINJA_UNDEFINED && type != 's' && type != 'r' && type != 'a') {
        return jinja_fail_undefined(run, value);
    }
    if (type == 's' || type == 'r' || type == 'a') {
        return put_text(run, conversion, value, is_markup);
    }
    if (type != '\0' && strchr("diuxXo", type) != NULL) {
        return put_integer(run, conversion, value);
    }
    if (type != '\0' && strchr("eEfFgG", type) != NULL) {
        return put_float(run, conversion, value);
    }
    if (type == 'c') {
        return put_character(run, conversion, value);
    }
    return jinja_fail(run, "unsupported format character (0x%x)", (unsigned char)type);
}

static bool put_format(struct jinja_run *run, struct bytes format, struct feed *feed)
{
    for (size_t at = 0; at < format.size;) {
        size_t percent = jinja_find(format, bytes_of("%"), at);
        percent = percent == SIZE_MAX ? format.size : percent;
        buffer_append_bytes(run->out, jinja_part(format, at, percent));
        if (percent == format.size) {
            break;
        }
        at = percent + 1;
        struct conversion conversion;
        struct bytes name;
        struct jinja_value value;
        if (!jinja_spend(run, 1) || !take_conversion(run, format, &at, &conversion, &name)) {
            return false;
        }
        if (conversion.type == '%') {
            buffer_append_char(run->out, '%');
            continue;
        }
        if (!take_value(run, feed, name, &value) ||
            !put_conversion(run, &conversion, value, feed->is_markup)) {
            return false;
        }
    }
    return true;
}

bool jinja_format(struct jinja_run *run, struct jinja_value format, struct jinja_value values,
                  struct jinja_value *out)
{
    struct feed feed = {.values = values, .is_markup = jinja_is_markup(format)};
    size_t begin = jinja_capture_begin(run);
    if (!put_format(run, format.as.text, &feed)) {
        return false;
    }
    size_t count = values.kind == JINJA_TUPLE ? values.as.list->count : 1;
    bool may_be_left = values.kind == JINJA_DICT || values.kind == JINJA_LIST;
    if (feed.taken < count && !may_be_left) {
        return jinja_fail(run, "not all arguments converted during string formatting");
    }
    if (!jinja_capture_string(run, begin, out)) {
        return false;
    }
    out->is_markup = feed.is_markup;
    return true;
}
