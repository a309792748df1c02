/* utf8: code points in and out, and the repair of broken text. Thread: any, no state. */
#ifndef PIPELINE_TEXT_UTF8_H
#define PIPELINE_TEXT_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "schemas/base/buffer.h"
#include "schemas/base/bytes.h"

enum { UTF8_SIZE_MAX = 4 };

#define UTF8_REPLACEMENT "\xEF\xBF\xBD" // U+FFFD

bool utf8_is_valid(struct bytes text);

/* The code point at text[0]; its size goes to *size_out. The text must be valid and not empty. */
int32_t utf8_decode(const char *text, size_t *size_out);

/* The code point that ends before text[size]. The text must be valid and size > 0. */
int32_t utf8_decode_last(const char *text, size_t size, size_t *size_out);

/* Writes 1 to UTF8_SIZE_MAX bytes and returns how many. The code point must be a scalar value. */
size_t utf8_encode(int32_t code_point, char *out);

/* Appends `text` with every maximal broken part replaced by one U+FFFD, as Python's
 * decode(errors="replace") and Rust's from_utf8_lossy do. Unless it is the last, an incomplete
 * character at the end is left alone. Returns how many bytes were consumed. */
size_t utf8_append_repaired(struct buffer *out, struct bytes text, bool is_last);

/* Unicode's White_Space. */
bool utf8_is_space(int32_t code_point);

#endif
