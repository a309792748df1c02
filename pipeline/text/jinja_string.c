/* jinja_string: UTF-8 and Unicode properties through utf8proc. */
#include "pipeline/text/jinja_string.h"

#include <utf8proc.h>

#include "pipeline/text/utf8.h"

int32_t jinja_utf8_take(struct bytes text, size_t *at)
{
    size_t size;
    int32_t code_point = utf8_decode(text.data + *at, &size);
    *at += size;
    return code_point;
}

static bool is_continuation(char c)
{
    return ((unsigned char)c & 0xC0) == 0x80;
}

size_t jinja_utf8_count(struct bytes text)
{
    size_t count = 0;
    for (size_t i = 0; i < text.size; i++) {
        count += !is_continuation(text.data[i]);
    }
    return count;
}

size_t jinja_utf8_offset(struct bytes text, size_t index)
{
    for (size_t i = 0; i < text.size; i++) {
        if (!is_continuation(text.data[i]) && index-- == 0) {
            return i;
        }
    }
    return text.size;
}

bool jinja_utf8_put(int32_t code_point, char *out, size_t *size_out)
{
    if (!utf8proc_codepoint_valid(code_point)) {
        return false;
    }
    *size_out = utf8_encode(code_point, out);
    return true;
}

bool jinja_is_space(int32_t c)
{
    return (c >= 0x09 && c <= 0x0D) || (c >= 0x1C && c <= 0x20) || c == 0x85 || c == 0xA0 ||
           c == 0x1680 || (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 ||
           c == 0x202F || c == 0x205F || c == 0x3000;
}

bool jinja_is_line_end(int32_t c)
{
    return (c >= 0x0A && c <= 0x0D) || (c >= 0x1C && c <= 0x1E) || c == 0x85 || c == 0x2028 ||
           c == 0x2029;
}

static bool is_unwanted(int32_t code_point, struct bytes unwanted)
{
    if (unwanted.data == NULL) {
        return jinja_is_space(code_point);
    }
    for (size_t at = 0; at < unwanted.size;) {
        if (jinja_utf8_take(unwanted, &at) == code_point) {
            return true;
        }
    }
    return false;
}

struct bytes jinja_strip(struct bytes text, struct bytes unwanted, enum jinja_side side)
{
    size_t start = 0;
    size_t stop = text.size;
    while ((side & JINJA_SIDE_LEFT) != 0 && start < stop) {
        size_t after = start;
        if (!is_unwanted(jinja_utf8_take(text, &after), unwanted)) {
            break;
        }
        start = after;
    }
    while ((side & JINJA_SIDE_RIGHT) != 0 && stop > start) {
        size_t size;
        if (!is_unwanted(utf8_decode_last(text.data, stop, &size), unwanted)) {
            break;
        }
        stop -= size;
    }
    return jinja_part(text, start, stop);
}

struct bytes jinja_take_line(struct bytes text, size_t *at, bool *has_end_out)
{
    size_t start = *at;
    *has_end_out = false;
    while (*at < text.size) {
        size_t stop = *at;
        int32_t c = jinja_utf8_take(text, at);
        if (jinja_is_line_end(c)) {
            *has_end_out = true;
            *at += c == '\r' && *at < text.size && text.data[*at] == '\n';
            return jinja_part(text, start, stop);
        }
    }
    return jinja_part(text, start, text.size);
}

size_t jinja_find(struct bytes text, struct bytes part, size_t from)
{
    if (part.size == 0) {
        return from <= text.size ? from : SIZE_MAX;
    }
    while (from < text.size && text.size - from >= part.size) {
        const char *first =
            memchr(text.data + from, part.data[0], text.size - from - part.size + 1);
        if (first == NULL) {
            return SIZE_MAX;
        }
        from = (size_t)(first - text.data);
        if (memcmp(first, part.data, part.size) == 0) {
            return from;
        }
        from++;
    }
    return SIZE_MAX;
}

bool jinja_starts_with(struct bytes text, struct bytes prefix)
{
    return text.size >= prefix.size && bytes_equal(jinja_part(text, 0, prefix.size), prefix);
}

bool jinja_ends_with(struct bytes text, struct bytes suffix)
{
    return text.size >= suffix.size &&
           bytes_equal(jinja_part(text, text.size - suffix.size, text.size), suffix);
}

static void put_code_point(struct buffer *out, int32_t code_point)
{
    char bytes[UTF8_SIZE_MAX];
    buffer_append(out, bytes, utf8_encode(code_point, bytes));
}

/* The two common cases in which one letter becomes two; utf8proc maps one to one. */
enum { SHARP_S = 0xDF, CAPITAL_I_WITH_DOT = 0x130 };

static void put_upper(struct buffer *out, int32_t code_point)
{
    if (code_point == SHARP_S) {
        buffer_append_text(out, "SS");
    } else {
        put_code_point(out, utf8proc_toupper(code_point));
    }
}

static void put_lower(struct buffer *out, int32_t code_point)
{
    if (code_point == CAPITAL_I_WITH_DOT) {
        buffer_append_text(out, "i\xCC\x87"); // U+0307, the dot
    } else {
        put_code_point(out, utf8proc_tolower(code_point));
    }
}

void jinja_put_case(struct buffer *out, struct bytes text, enum jinja_case letter_case)
{
    for (size_t at = 0; at < text.size;) {
        int32_t c = jinja_utf8_take(text, &at);
        bool to_upper =
            letter_case == JINJA_CASE_SWAP ? jinja_is_lower(c) : letter_case == JINJA_CASE_UPPER;
        if (to_upper) {
            put_upper(out, c);
        } else {
            put_lower(out, c);
        }
    }
}

void jinja_put_capitalized(struct buffer *out, struct bytes text)
{
    if (text.size == 0) {
        return;
    }
    size_t at = 0;
    int32_t first = jinja_utf8_take(text, &at);
    if (first == SHARP_S) {
        buffer_append_text(out, "Ss");
    } else {
        put_code_point(out, utf8proc_totitle(first));
    }
    jinja_put_case(out, jinja_part(text, at, text.size), JINJA_CASE_LOWER);
}

void jinja_put_escaped(struct buffer *out, struct bytes text)
{
    static const char special[] = "&<>'\"";
    static const char *const entities[] = {"&amp;", "&lt;", "&gt;", "&#39;", "&#34;"};
    for (size_t i = 0; i < text.size; i++) {
        char c = text.data[i];
        const char *found = c == '\0' ? NULL : strchr(special, c);
        if (found == NULL) {
            buffer_append_char(out, c);
        } else {
            buffer_append_text(out, entities[found - special]);
        }
    }
}

bool jinja_is_letter(int32_t code_point)
{
    utf8proc_category_t category = utf8proc_category(code_point);
    return category >= UTF8PROC_CATEGORY_LU && category <= UTF8PROC_CATEGORY_LO;
}

bool jinja_is_upper(int32_t code_point)
{
    return utf8proc_category(code_point) == UTF8PROC_CATEGORY_LU;
}

bool jinja_is_lower(int32_t code_point)
{
    return utf8proc_category(code_point) == UTF8PROC_CATEGORY_LL;
}

bool jinja_is_digit(int32_t code_point)
{
    return utf8proc_category(code_point) == UTF8PROC_CATEGORY_ND;
}
