/* unicode_additions: the characters of Unicode 15.1 and 16.0, which Debian 12's utf8proc (15.0)
 * does not know and Hugging Face tokenizers do. Thread: any, no state. */
#ifndef PIPELINE_TEXT_UNICODE_ADDITIONS_H
#define PIPELINE_TEXT_UNICODE_ADDITIONS_H

#include <stdint.h>

/* The first letter of the general category ('L', 'M', 'N', 'P', 'S'), or 0 for a character that
 * those two versions did not add. */
char unicode_addition_category(int32_t code_point);

#endif
