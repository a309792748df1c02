/* word_scanner: the split patterns of GPT-2, Llama 3, Qwen 2 and DeepSeek 3, written by hand.
 *
 * They give exactly the words of the regular expressions, faster, and know the characters of
 * utf8proc's Unicode, which in Debian 12 is newer than PCRE2's. Every other pattern goes through
 * `struct pattern`. Thread: any, no state.
 */
#ifndef PIPELINE_TEXT_WORD_SCANNER_H
#define PIPELINE_TEXT_WORD_SCANNER_H

#include <stddef.h>

#include "schemas/base/bytes.h"

enum word_scanner {
    WORD_SCANNER_NONE,
    WORD_SCANNER_GPT2,
    WORD_SCANNER_LLAMA3,   // numbers in groups of at most three
    WORD_SCANNER_QWEN2,    // every number character by itself
    WORD_SCANNER_NUMBERS,  // DeepSeek 3 has three splits: this,
    WORD_SCANNER_CHINESE,  // this,
    WORD_SCANNER_DEEPSEEK, // and this
};

#define WORD_SCANNER_GPT2_PATTERN                                                                  \
    "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"

/* The scanner that isolates the matches of a regular expression, or WORD_SCANNER_NONE. */
enum word_scanner word_scanner_for(struct bytes expression);

/* The end of the word that begins at `start`, which is a match or what lies before the next match.
 * Valid UTF-8, start < text.size. */
size_t word_scanner_next(enum word_scanner scanner, struct bytes text, size_t start);

#endif
