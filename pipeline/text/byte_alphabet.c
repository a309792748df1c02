/* byte_alphabet: printable Latin-1 characters stand for themselves, the other 68 bytes are U+0100
 * and following, in order. */
#include "pipeline/text/byte_alphabet.h"

#include "pipeline/text/utf8.h"

/* The byte of U+0100 + i. */
static int byte_of_moved(int32_t i)
{
    if (i <= 0x20) {
        return i; // 0x00 to 0x20
    }
    if (i <= 0x42) {
        return i - 0x21 + 0x7F; // 0x7F to 0xA0
    }
    return i == 0x43 ? 0xAD : -1;
}

static int byte_of(int32_t c)
{
    bool is_itself = (c >= 0x21 && c <= 0x7E) || (c >= 0xA1 && c <= 0xFF && c != 0xAD);
    return is_itself ? c : c >= 0x100 ? byte_of_moved(c - 0x100) : -1;
}

bool byte_alphabet_decode(struct bytes text, struct buffer *out)
{
    size_t size_before = out->size;
    for (size_t position = 0; position < text.size;) {
        size_t size = 0;
        int byte = byte_of(utf8_decode(text.data + position, &size));
        if (byte < 0) {
            buffer_truncate(out, size_before);
            return false;
        }
        buffer_append_char(out, (char)byte);
        position += size;
    }
    return true;
}
