/* byte_alphabet: GPT-2's printable stand-ins for the 256 bytes, in which byte-level vocabularies
 * are written ("Ġthe" is " the"). Thread: any, no state. */
#ifndef PIPELINE_TEXT_BYTE_ALPHABET_H
#define PIPELINE_TEXT_BYTE_ALPHABET_H

#include <stdbool.h>

#include "schemas/base/buffer.h"
#include "schemas/base/bytes.h"

/* Appends the bytes that `text` (valid UTF-8) stands for. False, and nothing appended, when one of
 * its characters is outside the alphabet. */
bool byte_alphabet_decode(struct bytes text, struct buffer *out);

#endif
