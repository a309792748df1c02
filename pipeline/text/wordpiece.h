/* wordpiece: BERT's way to take a word apart: the longest token that begins it, then the longest
 * that continues it ("##ing"), and so on; a word that does not come out even is one unknown token.
 *
 * The time is linear in the word: no longer token than the vocabulary's longest is tried. Filled by
 * one thread, then read by any.
 */
#ifndef PIPELINE_TEXT_WORDPIECE_H
#define PIPELINE_TEXT_WORDPIECE_H

#include <jansson.h>
#include <stdbool.h>

#include "pipeline/text/token_list.h"
#include "pipeline/text/vocabulary.h"
#include "schemas/base/bytes.h"
#include "schemas/base/error.h"

struct wordpiece {
    struct vocabulary beginning;  // tokens as the file spells them
    struct vocabulary continuing; // those with the prefix, without it
    int32_t unknown_id;
    size_t word_characters_max; // a longer word is unknown
};

/* `model` is the "model" of a tokenizer.json, `names` its tokens. */
MUST_CHECK bool wordpiece_load(struct wordpiece *wordpiece, const json_t *model,
                               const struct vocabulary *names, struct error *error);
void wordpiece_close(struct wordpiece *wordpiece); // accepts a zeroed one

/* Appends the tokens of one word, which is valid UTF-8. */
MUST_CHECK bool wordpiece_encode(const struct wordpiece *wordpiece, struct bytes word,
                                 struct token_list *out, struct error *error);

#endif
