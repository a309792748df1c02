/* decoder: from token ids back to text, by the "decoder" of a tokenizer.json.
 *
 * What the decoder does to a token alone (ByteLevel, Replace, Metaspace) is done once, at open.
 * What is left depends on the neighbours and is the detokenizer's: bytes that make a character only
 * together, and the space that is stripped from the start of the text. Immutable after open.
 */
#ifndef PIPELINE_TEXT_DECODER_H
#define PIPELINE_TEXT_DECODER_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "pipeline/text/utf8.h"
#include "pipeline/text/vocabulary.h"
#include "schemas/base/bytes.h"
#include "schemas/base/error.h"

struct decoder {
    struct vocabulary pieces;    // the text of each id, decoded; bytes when is_byte_level
    struct vocabulary beginning; // the same for a token that begins the text, where it differs
    bool is_byte_level;          // broken UTF-8 in the joined bytes becomes U+FFFD
    bool has_fallback;           // "<0xNN>" tokens: a run of them is text, or U+FFFD for each
    bool has_beginning;
    bool has_separator; // no decoder: tokens are joined by spaces
    int16_t *bytes;     // by id: NN of "<0xNN>", -1 otherwise; NULL unless has_fallback
    char strip[UTF8_SIZE_MAX];
    size_t strip_size;
    size_t strip_count; // at most so many of `strip` go from the start of the text
};

/* `json` is the value of "decoder", or null or NULL. `names` are the tokens as the file has them.
 */
MUST_CHECK bool decoder_open(struct decoder *decoder, const json_t *json,
                             const struct vocabulary *names, struct error *error);
void decoder_close(struct decoder *decoder); // accepts a zeroed one

#endif
