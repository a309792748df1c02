/* text: UTF-8, and JSON's strings. */
#include "schemas/records/text.h"

#include <stdint.h>

#include "schemas/base/utf8.h"

/* Eight bytes at a time: a byte is special when it is below 0x20, '"', '\\' or not ASCII. */
static uint64_t special_bytes(uint64_t word)
{
    const uint64_t ones = 0x0101010101010101U;
    const uint64_t tops = 0x8080808080808080U;
    uint64_t quote = word ^ (ones * '"');
    uint64_t backslash = word ^ (ones * '\\');
    // x - n borrows into the top bit where x < n; only true positives matter for the lowest one
    // found.
    return ((word - ones * 0x20) | (quote - ones) | (backslash - ones) | word) & tops;
}

const unsigned char *text_skip_plain(const unsigned char *at, const unsigned char *end)
{
    while (end - at >= 8) {
        uint64_t word;
        memcpy(&word, at, sizeof word);
        if (special_bytes(word) != 0) {
            break;
        }
        at += 8;
    }
    while (at < end && *at >= 0x20 && *at < 0x80 && *at != '"' && *at != '\\') {
        at++;
    }
    return at;
}

bool text_is_utf8(struct bytes text)
{
    const unsigned char *at = (const unsigned char *)text.data;
    const unsigned char *end = at + text.size;
    while (at < end) {
        at = text_skip_plain(at, end);
        if (at == end) {
            break;
        }
        size_t size = utf8_sequence_size(at, end);
        if (size == 0) {
            return false;
        }
        at += size;
    }
    return true;
}

static unsigned hex_value(const unsigned char *digits)
{
    unsigned value = 0;
    for (int i = 0; i < 4; i++) {
        unsigned char c = digits[i];
        unsigned digit = c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10;
        value = value * 16 + digit;
    }
    return value;
}

static unsigned char *put_utf8(unsigned char *to, unsigned point)
{
    if (point < 0x80) {
        *to++ = (unsigned char)point;
    } else if (point < 0x800) {
        *to++ = (unsigned char)(0xC0 | point >> 6);
        *to++ = (unsigned char)(0x80 | (point & 0x3F));
    } else if (point < 0x10000) {
        *to++ = (unsigned char)(0xE0 | point >> 12);
        *to++ = (unsigned char)(0x80 | (point >> 6 & 0x3F));
        *to++ = (unsigned char)(0x80 | (point & 0x3F));
    } else {
        *to++ = (unsigned char)(0xF0 | point >> 18);
        *to++ = (unsigned char)(0x80 | (point >> 12 & 0x3F));
        *to++ = (unsigned char)(0x80 | (point >> 6 & 0x3F));
        *to++ = (unsigned char)(0x80 | (point & 0x3F));
    }
    return to;
}

/* `*at` is behind "\u"; moves it behind the digits, and behind a second half. False for half a
 * pair. */
static bool unescape_point(const unsigned char **at, const unsigned char *end, unsigned *point_out)
{
    unsigned point = hex_value(*at);
    *at += 4;
    if (point >= 0xDC00 && point <= 0xDFFF) {
        return false;
    }
    if (point >= 0xD800 && point <= 0xDBFF) {
        if (end - *at < 6 || (*at)[0] != '\\' || (*at)[1] != 'u') {
            return false;
        }
        unsigned low = hex_value(*at + 2);
        if (low < 0xDC00 || low > 0xDFFF) {
            return false;
        }
        *at += 6;
        point = 0x10000 + ((point - 0xD800) << 10) + (low - 0xDC00);
    }
    *point_out = point;
    return true;
}

static unsigned char unescape_char(unsigned char c)
{
    switch (c) {
    case 'b':
        return '\b';
    case 'f':
        return '\f';
    case 'n':
        return '\n';
    case 'r':
        return '\r';
    case 't':
        return '\t';
    default: // '"', '\\' and '/' stand for themselves
        return c;
    }
}

bool text_unescape(struct bytes quoted, struct arena *arena, struct bytes *text_out)
{
    if (quoted.size == 0 || memchr(quoted.data, '\\', quoted.size) == NULL) {
        *text_out = quoted;
        return true;
    }
    *text_out = (struct bytes){NULL, 0};
    unsigned char *text = arena_alloc(arena, quoted.size); // an escape is longer than its meaning
    if (text == NULL) {
        return false;
    }
    unsigned char *to = text;
    const unsigned char *at = (const unsigned char *)quoted.data;
    const unsigned char *end = at + quoted.size;
    while (at < end) {
        if (*at != '\\') {
            *to++ = *at++;
            continue;
        }
        at += 2;
        if (at[-1] != 'u') {
            *to++ = unescape_char(at[-1]);
            continue;
        }
        unsigned point;
        if (!unescape_point(&at, end, &point)) {
            return false;
        }
        to = put_utf8(to, point);
    }
    *text_out = (struct bytes){(const char *)text, (size_t)(to - text)};
    return true;
}

static void append_escaped(struct buffer *buffer, unsigned char c)
{
    static const char *const short_forms[0x20] = {
        ['\b'] = "\\b", ['\f'] = "\\f", ['\n'] = "\\n", ['\r'] = "\\r", ['\t'] = "\\t"};
    if (c == '"') {
        buffer_append(buffer, "\\\"", 2);
    } else if (c == '\\') {
        buffer_append(buffer, "\\\\", 2);
    } else if (short_forms[c] != NULL) {
        buffer_append(buffer, short_forms[c], 2);
    } else {
        buffer_printf(buffer, "\\u%04x", c);
    }
}

void text_append_quoted(struct buffer *buffer, struct bytes text)
{
    buffer_append_char(buffer, '"');
    const unsigned char *at = (const unsigned char *)(text.data == NULL ? "" : text.data);
    const unsigned char *end = at + text.size;
    while (at < end) {
        const unsigned char *run = at;
        do { // what is not ASCII needs no escape
            at = text_skip_plain(at, end);
        } while (at < end && *at >= 0x80 && ++at < end);
        buffer_append(buffer, run, (size_t)(at - run));
        if (at < end) {
            append_escaped(buffer, *at++);
        }
    }
    buffer_append_char(buffer, '"');
}
