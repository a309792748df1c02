/* word_scanner: the split patterns of GPT-2, Llama 3 and Qwen 2, written by hand.
 *
 * They give exactly the words of the regular expressions, several times faster. Every other pattern
 * goes through `struct pattern`. Thread: any, no state.
 */
#ifndef PIPELINE_TEXT_WORD_SCANNER_H
#define PIPELINE_TEXT_WORD_SCANNER_H

#include <stddef.h>

#include "schemas/base/bytes.h"

enum word_scanner {
    WORD_SCANNER_NONE,
    WORD_SCANNER_GPT2,
    WORD_SCANNER_LLAMA3, // numbers in groups of at most three
    WORD_SCANNER_QWEN2,  // every number character by itself
};

#define WORD_SCANNER_GPT2_PATTERN                                                                  \
    "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"

/* The scanner that does what a regular expression says, or WORD_SCANNER_NONE. */
enum word_scanner word_scanner_for(struct bytes expression);

/* The end of the word that begins at `start`. Valid UTF-8, start < text.size. These patterns match
 * everywhere, so a word ends where the next one begins. */
size_t word_scanner_next(enum word_scanner scanner, struct bytes text, size_t start);

#endif
