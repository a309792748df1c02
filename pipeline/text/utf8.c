/* utf8: a decoder after table 3-7 of the Unicode standard (well-formed byte sequences). */
#include "pipeline/text/utf8.h"

static bool is_continuation(unsigned char byte)
{
    return (byte & 0xC0) == 0x80;
}

/* Size of the character that `lead` begins, 0 when it begins none; the bounds of its second byte.
 */
static size_t size_of_lead(unsigned char lead, unsigned char *low_out, unsigned char *high_out)
{
    *low_out = lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : 0x80;
    *high_out = lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : 0xBF;
    if (lead < 0x80) {
        return 1;
    }
    if (lead < 0xC2 || lead > 0xF4) {
        return 0;
    }
    return lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
}

enum scan { SCAN_WHOLE, SCAN_BROKEN, SCAN_CUT };

/* Looks at one character; *size_out is its size, or that of the maximal broken or cut part. */
static enum scan scan_one(const unsigned char *text, size_t size, size_t *size_out)
{
    unsigned char low = 0;
    unsigned char high = 0;
    size_t expected = size_of_lead(text[0], &low, &high);
    *size_out = 1;
    if (expected == 0) {
        return SCAN_BROKEN;
    }
    for (size_t i = 1; i < expected; i++) {
        if (i >= size) {
            return SCAN_CUT;
        }
        bool fits = i == 1 ? text[1] >= low && text[1] <= high : is_continuation(text[i]);
        if (!fits) {
            return SCAN_BROKEN;
        }
        *size_out = i + 1;
    }
    return SCAN_WHOLE;
}

/* Bytes of plain ASCII at the start, counted eight at a time. */
static size_t ascii_prefix(const unsigned char *text, size_t size)
{
    size_t position = 0;
    while (size - position >= sizeof(uint64_t)) {
        uint64_t word = 0;
        memcpy(&word, text + position, sizeof word);
        if ((word & UINT64_C(0x8080808080808080)) != 0) {
            break;
        }
        position += sizeof word;
    }
    while (position < size && text[position] < 0x80) {
        position++;
    }
    return position;
}

/* Bytes of valid text at the start. */
static size_t valid_prefix(const unsigned char *text, size_t size)
{
    size_t position = 0;
    while (position < size) {
        position += ascii_prefix(text + position, size - position);
        size_t one = 0;
        if (position == size || scan_one(text + position, size - position, &one) != SCAN_WHOLE) {
            break;
        }
        position += one;
    }
    return position;
}

bool utf8_is_valid(struct bytes text)
{
    return valid_prefix((const unsigned char *)text.data, text.size) == text.size;
}

int32_t utf8_decode(const char *text, size_t *size_out)
{
    const unsigned char *byte = (const unsigned char *)text;
    if (byte[0] < 0x80) {
        *size_out = 1;
        return byte[0];
    }
    if (byte[0] < 0xE0) {
        *size_out = 2;
        return (byte[0] & 0x1F) << 6 | (byte[1] & 0x3F);
    }
    if (byte[0] < 0xF0) {
        *size_out = 3;
        return (byte[0] & 0x0F) << 12 | (byte[1] & 0x3F) << 6 | (byte[2] & 0x3F);
    }
    *size_out = 4;
    return (byte[0] & 0x07) << 18 | (byte[1] & 0x3F) << 12 | (byte[2] & 0x3F) << 6 |
           (byte[3] & 0x3F);
}

int32_t utf8_decode_last(const char *text, size_t size, size_t *size_out)
{
    size_t start = size - 1;
    while (start > 0 && is_continuation((unsigned char)text[start])) {
        start--;
    }
    return utf8_decode(text + start, size_out);
}

size_t utf8_encode(int32_t code_point, char *out)
{
    uint32_t c = (uint32_t)code_point;
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    if (c < 0x800) {
        out[0] = (char)(0xC0 | c >> 6);
        out[1] = (char)(0x80 | (c & 0x3F));
        return 2;
    }
    if (c < 0x10000) {
        out[0] = (char)(0xE0 | c >> 12);
        out[1] = (char)(0x80 | (c >> 6 & 0x3F));
        out[2] = (char)(0x80 | (c & 0x3F));
        return 3;
    }
    out[0] = (char)(0xF0 | c >> 18);
    out[1] = (char)(0x80 | (c >> 12 & 0x3F));
    out[2] = (char)(0x80 | (c >> 6 & 0x3F));
    out[3] = (char)(0x80 | (c & 0x3F));
    return 4;
}

size_t utf8_append_repaired(struct buffer *out, struct bytes text, bool is_last)
{
    const unsigned char *data = (const unsigned char *)text.data;
    size_t position = 0;
    while (position < text.size) {
        size_t valid = valid_prefix(data + position, text.size - position);
        buffer_append(out, data + position, valid);
        position += valid;
        if (position == text.size) {
            break;
        }
        size_t broken = 0;
        if (scan_one(data + position, text.size - position, &broken) == SCAN_CUT && !is_last) {
            break;
        }
        buffer_append_text(out, UTF8_REPLACEMENT);
        position += broken;
    }
    return position;
}

bool utf8_is_space(int32_t c)
{
    return (c >= 0x09 && c <= 0x0D) || c == 0x20 || c == 0x85 || c == 0xA0 || c == 0x1680 ||
           (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F ||
           c == 0x205F || c == 0x3000;
}
