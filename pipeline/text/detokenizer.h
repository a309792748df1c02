/* detokenizer: token ids to text, one at a time.
 *
 * What comes out is always whole characters, and all of it together is what tokenizer_decode gives
 * for all of the ids. Bytes that are not a character yet are held back; with byte fallback a run of
 * "<0xNN>" tokens is held until it ends, because one broken byte makes U+FFFD of each of them.
 * Belongs to one thread at a time; the tokenizer must outlive it.
 */
#ifndef PIPELINE_TEXT_DETOKENIZER_H
#define PIPELINE_TEXT_DETOKENIZER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "pipeline/text/tokenizer.h"
#include "schemas/base/buffer.h"

struct detokenizer {
    const struct tokenizer *tokenizer;
    bool skips_special;
    bool has_begun;    // a token has been decoded
    size_t strip_left; // characters that may still be stripped from the start
    struct buffer held;
};

void detokenizer_init(struct detokenizer *detokenizer, const struct tokenizer *tokenizer,
                      bool skip_special_tokens);
void detokenizer_close(struct detokenizer *detokenizer);
/* Before the first id: the text continues another one, so nothing is stripped from its start. */
void detokenizer_continue(struct detokenizer *detokenizer);

/* Appends what is certain after this id; it may be nothing. Out of memory makes `out` fail. */
void detokenizer_feed(struct detokenizer *detokenizer, int32_t id, struct buffer *out);

/* Appends the rest, an unfinished character as U+FFFD. Only close may follow. */
void detokenizer_finish(struct detokenizer *detokenizer, struct buffer *out);

#endif
