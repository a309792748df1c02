/* quote: runs of plain bytes are copied at once; the rest is escaped or replaced. */
#include "pipeline/openai/quote.h"

#include <stdbool.h>
#include <stdint.h>

/* What a first byte of more than one announces: its length and the bounds of the second byte, which
 * keep out overlong forms, surrogates and what is beyond U+10FFFF (Unicode 15, table 3-7). */
struct lead {
    uint8_t first, last;
    uint8_t length;
    uint8_t second_min, second_max;
};

static const struct lead leads[] = {
    {0xC2, 0xDF, 2, 0x80, 0xBF}, {0xE0, 0xE0, 3, 0xA0, 0xBF}, {0xE1, 0xEC, 3, 0x80, 0xBF},
    {0xED, 0xED, 3, 0x80, 0x9F}, {0xEE, 0xEF, 3, 0x80, 0xBF}, {0xF0, 0xF0, 4, 0x90, 0xBF},
    {0xF1, 0xF3, 4, 0x80, 0xBF}, {0xF4, 0xF4, 4, 0x80, 0x8F},
};

static const struct lead *lead_of(uint8_t byte)
{
    for (size_t i = 0; i < sizeof leads / sizeof leads[0]; i++) {
        if (byte >= leads[i].first && byte <= leads[i].last) {
            return &leads[i];
        }
    }
    return NULL;
}

/* Length of the character at data[0] (not ASCII) or of the part of one that is there. */
static size_t character(const uint8_t *data, size_t size, bool *is_whole_out)
{
    const struct lead *lead = lead_of(data[0]);
    *is_whole_out = false;
    if (lead == NULL || size < 2 || data[1] < lead->second_min || data[1] > lead->second_max) {
        return 1;
    }
    size_t length = 2;
    while (length < lead->length && length < size && (data[length] & 0xC0) == 0x80) {
        length++;
    }
    *is_whole_out = length == lead->length;
    return length;
}

static void escape(struct buffer *out, uint8_t byte)
{
    switch (byte) {
    case '"':
        buffer_append_text(out, "\\\"");
        break;
    case '\\':
        buffer_append_text(out, "\\\\");
        break;
    case '\n':
        buffer_append_text(out, "\\n");
        break;
    case '\r':
        buffer_append_text(out, "\\r");
        break;
    case '\t':
        buffer_append_text(out, "\\t");
        break;
    default:
        buffer_printf(out, "\\u%04x", (unsigned)byte);
    }
}

void escape_json(struct buffer *out, struct bytes text)
{
    const uint8_t *data = (const uint8_t *)text.data;
    size_t copied = 0;
    size_t length = 1;
    for (size_t i = 0; i < text.size; i += length) {
        bool is_plain = data[i] >= 0x20 && data[i] != '"' && data[i] != '\\';
        length = data[i] < 0x80 ? 1 : character(data + i, text.size - i, &is_plain);
        if (is_plain) {
            continue;
        }
        buffer_append(out, data + copied, i - copied);
        if (data[i] >= 0x80) {
            buffer_append_text(out, "\xEF\xBF\xBD");
        } else {
            escape(out, data[i]);
        }
        copied = i + length;
    }
    if (text.size > copied) {
        buffer_append(out, data + copied, text.size - copied);
    }
}

void quote_json(struct buffer *out, struct bytes text)
{
    buffer_append_char(out, '"');
    escape_json(out, text);
    buffer_append_char(out, '"');
}
