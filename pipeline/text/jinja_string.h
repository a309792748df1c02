/* jinja_string: text as Python's str sees it: code points, white space, letter case.
 *
 * All text inside a render is valid UTF-8: the template is checked when it is parsed and JSON when
 * it is read. Case mapping is
 * one letter to one but for "ß" and "İ"; the ligatures and accents that Python maps to several
 * letters stay single.
 */
#ifndef PIPELINE_TEXT_JINJA_STRING_H
#define PIPELINE_TEXT_JINJA_STRING_H

#include <stdbool.h>
#include <stdint.h>

#include "schemas/base/arena.h"
#include "schemas/base/buffer.h"
#include "schemas/base/bytes.h"

/* The code point at *at, which moves past it. Requires *at < text.size. */
int32_t jinja_utf8_take(struct bytes text, size_t *at);
size_t jinja_utf8_count(struct bytes text);
/* The byte offset of a code point by index; text.size where there are not so many. */
size_t jinja_utf8_offset(struct bytes text, size_t index);
/* False for what is no scalar value. `out` has room for UTF8_SIZE_MAX bytes. */
bool jinja_utf8_put(int32_t code_point, char *out, size_t *size_out);

bool jinja_is_space(int32_t code_point);
/* Python's line ends, as splitlines knows them. */
bool jinja_is_line_end(int32_t code_point);

enum jinja_side { JINJA_SIDE_LEFT = 1, JINJA_SIDE_RIGHT = 2, JINJA_SIDE_BOTH = 3 };
/* Without the code points in `unwanted` (data NULL: white space) at the sides. Borrowed from
 * `text`. */
struct bytes jinja_strip(struct bytes text, struct bytes unwanted, enum jinja_side side);

/* The line at *at, which moves behind its end; without that end ("\r\n" is one). */
struct bytes jinja_take_line(struct bytes text, size_t *at, bool *has_end_out);

/* The offset of `part` in text at or after `from`; SIZE_MAX where it is not. */
size_t jinja_find(struct bytes text, struct bytes part, size_t from);
static inline struct bytes jinja_part(struct bytes text, size_t start, size_t stop)
{
    return (struct bytes){text.data + start, stop - start};
}
bool jinja_starts_with(struct bytes text, struct bytes prefix);
bool jinja_ends_with(struct bytes text, struct bytes suffix);

enum jinja_case { JINJA_CASE_UPPER, JINJA_CASE_LOWER, JINJA_CASE_SWAP };
/* Appends text in that case. */
void jinja_put_case(struct buffer *out, struct bytes text, enum jinja_case letter_case);
/* Appends the first letter in upper case, the rest in lower case. */
void jinja_put_capitalized(struct buffer *out, struct bytes text);
/* Appends text with & < > ' " as HTML entities. */
void jinja_put_escaped(struct buffer *out, struct bytes text);

bool jinja_is_letter(int32_t code_point);
bool jinja_is_upper(int32_t code_point);
bool jinja_is_lower(int32_t code_point);
bool jinja_is_digit(int32_t code_point);

#endif
