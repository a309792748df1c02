/* unicode_classes: the classes of characters that Hugging Face tokenizers tells apart outside
 * regular expressions, as its own tables have them: marks and punctuation as of Unicode 8, letter
 * case and numbers as of Unicode 17. Thread: any, no state. */
#ifndef PIPELINE_TEXT_UNICODE_CLASSES_H
#define PIPELINE_TEXT_UNICODE_CLASSES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { UNICODE_LOWER_MAX = 2 };

/* Punctuation, and the symbols of ASCII. */
bool unicode_is_punctuation(int32_t c);
/* Category N. */
bool unicode_is_numeric(int32_t c);
/* Category M, as the normalizer StripAccents has it. */
bool unicode_is_mark(int32_t c);
/* Category Mn, as BertNormalizer has it. */
bool unicode_is_nonspacing_mark(int32_t c);
/* What BertNormalizer removes: categories Cc, Cf and Co but for tab and ends of lines, and U+FFFD.
 */
bool unicode_is_control(int32_t c);
/* What came too late for the normal forms: it neither decomposes nor combines. */
bool unicode_is_later_form(int32_t c);
/* What BertNormalizer puts spaces around. */
bool unicode_is_ideograph(int32_t c);
/* The lower case of a character; returns how many characters it is. */
size_t unicode_lower(int32_t c, int32_t lower_out[UNICODE_LOWER_MAX]);

#endif
