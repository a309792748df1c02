/* jinja_string_methods: the methods of Python's str, but for those that search
 * (jinja_search_methods.c). */
#include "pipeline/text/jinja_native.h"
#include "pipeline/text/jinja_operators.h"
#include "pipeline/text/jinja_string.h"
#include "pipeline/text/jinja_text.h"

#define METHOD(name)                                                                               \
    static bool name(struct jinja_run *run, struct jinja_value subject,                            \
                     const struct jinja_arguments *arguments, struct jinja_value *out)

static bool strip(struct jinja_run *run, struct jinja_value subject,
                  const struct jinja_arguments *arguments, enum jinja_side side,
                  struct jinja_value *out)
{
    struct bytes unwanted;
    if (!jinja_argument_text(run, arguments->bound[0], &unwanted)) {
        return false;
    }
    *out = jinja_string(jinja_strip(subject.as.text, unwanted, side));
    return true;
}

METHOD(text_strip)
{
    return strip(run, subject, arguments, JINJA_SIDE_BOTH, out);
}

METHOD(text_lstrip)
{
    return strip(run, subject, arguments, JINJA_SIDE_LEFT, out);
}

METHOD(text_rstrip)
{
    return strip(run, subject, arguments, JINJA_SIDE_RIGHT, out);
}

/* startswith and endswith: one string or a tuple of them. */
static bool has_affix(struct jinja_run *run, struct jinja_value subject, struct jinja_value affix,
                      bool (*matches)(struct bytes text, struct bytes affix),
                      struct jinja_value *out)
{
    if (affix.kind != JINJA_STRING && affix.kind != JINJA_TUPLE) {
        return affix.kind == JINJA_UNDEFINED
                   ? jinja_fail_undefined(run, affix)
                   : jinja_fail(run, "first arg must be str or a tuple of str, not %s",
                                jinja_type_name(affix));
    }
    size_t count = affix.kind == JINJA_STRING ? 1 : affix.as.list->count;
    bool is_met = false;
    for (size_t i = 0; i < count && !is_met; i++) {
        struct jinja_value one = affix.kind == JINJA_STRING ? affix : affix.as.list->items[i];
        if (one.kind != JINJA_STRING) {
            return jinja_fail(run, "a tuple of affixes must only contain str, not %s",
                              jinja_type_name(one));
        }
        is_met = matches(subject.as.text, one.as.text);
    }
    *out = jinja_bool(is_met);
    return true;
}

METHOD(text_startswith)
{
    return has_affix(run, subject, arguments->bound[0], jinja_starts_with, out);
}

METHOD(text_endswith)
{
    return has_affix(run, subject, arguments->bound[0], jinja_ends_with, out);
}

static bool remove_affix(struct jinja_run *run, struct jinja_value subject,
                         const struct jinja_arguments *arguments, bool at_start,
                         struct jinja_value *out)
{
    struct bytes affix;
    struct bytes text = subject.as.text;
    if (!jinja_argument_text(run, arguments->bound[0], &affix)) {
        return false;
    }
    if (affix.data != NULL && at_start && jinja_starts_with(text, affix)) {
        text = jinja_part(text, affix.size, text.size);
    } else if (affix.data != NULL && !at_start && jinja_ends_with(text, affix)) {
        text.size -= affix.size;
    }
    *out = jinja_string(text);
    return true;
}

METHOD(text_removeprefix)
{
    return remove_affix(run, subject, arguments, true, out);
}

METHOD(text_removesuffix)
{
    return remove_affix(run, subject, arguments, false, out);
}

static bool put_case(struct jinja_run *run, struct jinja_value subject, enum jinja_case letter_case,
                     struct jinja_value *out)
{
    size_t begin = jinja_capture_begin(run);
    jinja_put_case(run->out, subject.as.text, letter_case);
    return jinja_capture_string(run, begin, out);
}

METHOD(text_upper)
{
    (void)arguments;
    return put_case(run, subject, JINJA_CASE_UPPER, out);
}

METHOD(text_lower)
{
    (void)arguments;
    return put_case(run, subject, JINJA_CASE_LOWER, out);
}

METHOD(text_swapcase)
{
    (void)arguments;
    return put_case(run, subject, JINJA_CASE_SWAP, out);
}

METHOD(text_capitalize)
{
    (void)arguments;
    size_t begin = jinja_capture_begin(run);
    jinja_put_capitalized(run->out, subject.as.text);
    return jinja_capture_string(run, begin, out);
}

/* Python's title: words are runs of letters. */
METHOD(text_title)
{
    (void)arguments;
    struct bytes text = subject.as.text;
    size_t begin = jinja_capture_begin(run);
    size_t word = 0;
    for (size_t at = 0; at < text.size;) {
        size_t start = at;
        if (!jinja_is_letter(jinja_utf8_take(text, &at))) {
            jinja_put_capitalized(run->out, jinja_part(text, word, start));
            buffer_append_bytes(run->out, jinja_part(text, start, at));
            word = at;
        }
    }
    jinja_put_capitalized(run->out, jinja_part(text, word, text.size));
    return jinja_capture_string(run, begin, out);
}

/* An empty `old` stands before each code point and at the end. */
static void replace_empty(struct buffer *out, struct bytes text, struct bytes new, int64_t count)
{
    size_t at = 0;
    while (count-- > 0) {
        buffer_append_bytes(out, new);
        if (at == text.size || buffer_failed(out)) {
            break;
        }
        size_t start = at;
        (void)jinja_utf8_take(text, &at);
        buffer_append_bytes(out, jinja_part(text, start, at));
    }
    buffer_append_bytes(out, jinja_part(text, at, text.size));
}

static void replace(struct buffer *out, struct bytes text, const struct bytes words[2],
                    int64_t count)
{
    if (words[0].size == 0) {
        replace_empty(out, text, words[1], count);
        return;
    }
    size_t at = 0;
    while (count-- > 0 && !buffer_failed(out)) {
        size_t found = jinja_find(text, words[0], at);
        if (found == SIZE_MAX) {
            break;
        }
        buffer_append_bytes(out, jinja_part(text, at, found));
        buffer_append_bytes(out, words[1]);
        at = found + words[0].size;
    }
    buffer_append_bytes(out, jinja_part(text, at, text.size));
}

METHOD(text_replace)
{
    struct bytes words[2];
    struct jinja_value limit = arguments->bound[2];
    int64_t count = -1;
    if (!jinja_argument_text(run, arguments->bound[0], &words[0]) ||
        !jinja_argument_text(run, arguments->bound[1], &words[1]) ||
        (limit.kind != JINJA_NONE && !jinja_argument_integer(run, limit, -1, &count))) {
        return false;
    }
    if (words[0].data == NULL || words[1].data == NULL) {
        return jinja_fail(run, "replace() argument must be str, not NoneType");
    }
    if (jinja_is_markup(subject) && !jinja_escape(run, arguments->bound[1], &words[1])) {
        return false;
    }
    size_t begin = jinja_capture_begin(run);
    replace(run->out, subject.as.text, words, count < 0 ? INT64_MAX : count);
    return jinja_capture_string(run, begin, out);
}

METHOD(text_join)
{
    const struct jinja_list *list;
    if (!jinja_iterate(run, arguments->bound[0], &list)) {
        return false;
    }
    size_t begin = jinja_capture_begin(run);
    for (size_t i = 0; i < list->count; i++) {
        if (list->items[i].kind != JINJA_STRING) {
            return jinja_fail(run, "sequence item %zu: expected str instance, %s found", i,
                              jinja_type_name(list->items[i]));
        }
        buffer_append_bytes(run->out, i > 0 ? subject.as.text : bytes_of(""));
        if (jinja_is_markup(subject) && !jinja_is_markup(list->items[i])) {
            jinja_put_escaped(run->out, list->items[i].as.text);
        } else {
            buffer_append_bytes(run->out, list->items[i].as.text);
        }
    }
    return jinja_capture_string(run, begin, out);
}

/* Whether all code points, of at least one, have a property. */
static bool all_are(struct bytes text, bool (*has_property)(int32_t code_point))
{
    for (size_t at = 0; at < text.size;) {
        if (!has_property(jinja_utf8_take(text, &at))) {
            return false;
        }
    }
    return text.size > 0;
}

static bool is_letter_or_digit(int32_t code_point)
{
    return jinja_is_letter(code_point) || jinja_is_digit(code_point);
}

#define PROPERTY_METHOD(name, property)                                                            \
    METHOD(name)                                                                                   \
    {                                                                                              \
        (void)run;                                                                                 \
        (void)arguments;                                                                           \
        *out = jinja_bool(all_are(subject.as.text, property));                                     \
        return true;                                                                               \
    }

PROPERTY_METHOD(text_isdigit, jinja_is_digit)
PROPERTY_METHOD(text_isalpha, jinja_is_letter)
PROPERTY_METHOD(text_isalnum, is_letter_or_digit)
PROPERTY_METHOD(text_isspace, jinja_is_space)

/* Some code point of the one case and none of the other. */
static bool has_only_case(struct bytes text, bool (*is_wanted)(int32_t code_point),
                          bool (*is_unwanted)(int32_t code_point))
{
    bool has_wanted = false;
    for (size_t at = 0; at < text.size;) {
        int32_t c = jinja_utf8_take(text, &at);
        if (is_unwanted(c)) {
            return false;
        }
        has_wanted |= is_wanted(c);
    }
    return has_wanted;
}

METHOD(text_isupper)
{
    (void)run;
    (void)arguments;
    *out = jinja_bool(has_only_case(subject.as.text, jinja_is_upper, jinja_is_lower));
    return true;
}

METHOD(text_islower)
{
    (void)run;
    (void)arguments;
    *out = jinja_bool(has_only_case(subject.as.text, jinja_is_lower, jinja_is_upper));
    return true;
}

/* Fills up to the width that is the first argument; `left_share` of 2 goes to the left. */
static bool fill(struct jinja_run *run, struct jinja_value subject,
                 const struct jinja_arguments *arguments, int64_t left_share,
                 struct jinja_value *out)
{
    int64_t width;
    struct bytes filler;
    if (!jinja_argument_integer(run, arguments->bound[0], 0, &width) ||
        !jinja_argument_text(run, arguments->bound[1], &filler)) {
        return false;
    }
    filler = filler.data == NULL ? bytes_of(" ") : filler;
    if (jinja_utf8_count(filler) != 1) {
        return jinja_fail(run, "The fill character must be exactly one character long");
    }
    int64_t missing = width - (int64_t)jinja_utf8_count(subject.as.text);
    if (missing <= 0) {
        *out = subject;
        return true;
    }
    // Python's centring: the odd one goes to the left when the width is odd.
    int64_t left = left_share == 1 ? missing / 2 + (missing & width & 1) : missing * left_share / 2;
    struct jinja_value part;
    if (!jinja_binary(run, OPERATOR_MULTIPLY, jinja_string(filler), jinja_integer(left), &part) ||
        !jinja_binary(run, OPERATOR_ADD, part, subject, out) ||
        !jinja_binary(run, OPERATOR_MULTIPLY, jinja_string(filler), jinja_integer(missing - left),
                      &part)) {
        return false;
    }
    return jinja_binary(run, OPERATOR_ADD, *out, part, out);
}

METHOD(text_center)
{
    return fill(run, subject, arguments, 1, out);
}

METHOD(text_ljust)
{
    return fill(run, subject, arguments, 0, out);
}

METHOD(text_rjust)
{
    return fill(run, subject, arguments, 2, out);
}

METHOD(text_zfill)
{
    struct bytes text = subject.as.text;
    struct jinja_value zero = jinja_string(bytes_of("0"));
    bool has_sign = text.size > 0 && (text.data[0] == '-' || text.data[0] == '+');
    struct bytes digits = jinja_part(text, has_sign ? 1 : 0, text.size);
    int64_t width;
    struct jinja_value zeros;
    if (!jinja_argument_integer(run, arguments->bound[0], 0, &width)) {
        return false;
    }
    int64_t missing = width - (int64_t)jinja_utf8_count(text);
    return jinja_binary(run, OPERATOR_MULTIPLY, zero, jinja_integer(missing), &zeros) &&
           jinja_binary(run, OPERATOR_ADD, jinja_string(jinja_part(text, 0, has_sign ? 1 : 0)),
                        zeros, out) &&
           jinja_binary(run, OPERATOR_ADD, *out, jinja_string(digits), out);
}

/* The argument that "", "0" or "name" between braces asks for. */
static bool find_field(struct jinja_run *run, struct bytes field,
                       const struct jinja_arguments *arguments, size_t *taken,
                       struct jinja_value *out)
{
    size_t position = field.size == 0 ? (*taken)++ : 0;
    bool is_position = true;
    for (size_t i = 0; i < field.size; i++) {
        is_position = is_position && field.size < 9 && field.data[i] >= '0' && field.data[i] <= '9';
        position = is_position ? position * 10 + (size_t)(field.data[i] - '0') : 0;
    }
    if (is_position && position < arguments->count) {
        *out = arguments->positional[position];
        return true;
    }
    for (size_t i = 0; !is_position && i < arguments->keyword_count; i++) {
        if (bytes_equal(arguments->keywords[i].name, field)) {
            *out = arguments->keywords[i].value;
            return true;
        }
    }
    return jinja_fail(run, "format() has no argument '%.*s', or its form is not supported",
                      field.size > 60 ? 60 : (int)field.size, field.data);
}

/* str.format with {}, {0}, {name}, {{ and }}; conversions and format specifications are refused. */
static bool put_fields(struct jinja_run *run, struct bytes text,
                       const struct jinja_arguments *arguments, bool is_markup)
{
    size_t taken = 0;
    for (size_t at = 0; at < text.size; at++) {
        char c = text.data[at];
        bool is_doubled = at + 1 < text.size && text.data[at + 1] == c;
        if ((c != '{' && c != '}') || is_doubled) {
            buffer_append_char(run->out, c);
            at += c == '{' || c == '}';
            continue;
        }
        size_t end = c == '{' ? jinja_find(text, bytes_of("}"), at) : SIZE_MAX;
        struct jinja_value value;
        struct bytes shown;
        if (end == SIZE_MAX) {
            return jinja_fail(run, "Single '%c' encountered in format string", c);
        }
        if (!jinja_spend(run, 1) ||
            !find_field(run, jinja_part(text, at + 1, end), arguments, &taken, &value) ||
            !(is_markup ? jinja_escape(run, value, &shown) : jinja_text_of(run, value, &shown))) {
            return false;
        }
        buffer_append_bytes(run->out, shown);
        at = end;
    }
    return true;
}

METHOD(text_format)
{
    size_t begin = jinja_capture_begin(run);
    return put_fields(run, subject.as.text, arguments, jinja_is_markup(subject)) &&
           jinja_capture_string(run, begin, out);
}

static const struct jinja_native methods[] = {
    {.name = "capitalize", .run = text_capitalize, .keeps_markup = true},
    {.name = "center",
     .run = text_center,
     .keeps_markup = true,
     .parameters = {"width", "fillchar"},
     .required = 1},
    {.name = "endswith", .run = text_endswith, .parameters = {"suffix"}, .required = 1},
    {.name = "format", .run = text_format, .keeps_markup = true, .is_variadic = true},
    {.name = "isalnum", .run = text_isalnum},
    {.name = "isalpha", .run = text_isalpha},
    {.name = "isdigit", .run = text_isdigit},
    {.name = "islower", .run = text_islower},
    {.name = "isspace", .run = text_isspace},
    {.name = "isupper", .run = text_isupper},
    {.name = "join",
     .run = text_join,
     .keeps_markup = true,
     .parameters = {"iterable"},
     .required = 1},
    {.name = "ljust",
     .run = text_ljust,
     .keeps_markup = true,
     .parameters = {"width", "fillchar"},
     .required = 1},
    {.name = "lower", .run = text_lower, .keeps_markup = true},
    {.name = "lstrip", .run = text_lstrip, .keeps_markup = true, .parameters = {"chars"}},
    {.name = "removeprefix",
     .run = text_removeprefix,
     .keeps_markup = true,
     .parameters = {"prefix"},
     .required = 1},
    {.name = "removesuffix",
     .run = text_removesuffix,
     .keeps_markup = true,
     .parameters = {"suffix"},
     .required = 1},
    {.name = "replace",
     .run = text_replace,
     .keeps_markup = true,
     .parameters = {"old", "new", "count"},
     .required = 2},
    {.name = "rjust",
     .run = text_rjust,
     .keeps_markup = true,
     .parameters = {"width", "fillchar"},
     .required = 1},
    {.name = "rstrip", .run = text_rstrip, .keeps_markup = true, .parameters = {"chars"}},
    {.name = "startswith", .run = text_startswith, .parameters = {"prefix"}, .required = 1},
    {.name = "strip", .run = text_strip, .keeps_markup = true, .parameters = {"chars"}},
    {.name = "swapcase", .run = text_swapcase, .keeps_markup = true},
    {.name = "title", .run = text_title, .keeps_markup = true},
    {.name = "upper", .run = text_upper, .keeps_markup = true},
    {.name = "zfill",
     .run = text_zfill,
     .keeps_markup = true,
     .parameters = {"width"},
     .required = 1},
};

const struct jinja_native *jinja_string_method_find(struct bytes name)
{
    const struct jinja_native *found =
        jinja_native_find(methods, sizeof methods / sizeof *methods, name);
    return found != NULL ? found : jinja_search_method_find(name);
}
