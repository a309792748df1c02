/* added_tokens: finds whole tokens ("<|im_end|>") in text before anything else is done to it.
 *
 * As in Hugging Face tokenizers the leftmost match wins, and of those the longest. Filled by one
 * thread, then read by any.
 */
#ifndef PIPELINE_TEXT_ADDED_TOKENS_H
#define PIPELINE_TEXT_ADDED_TOKENS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "schemas/base/buffer.h"
#include "schemas/base/bytes.h"
#include "schemas/base/error.h"

enum { ADDED_TOKEN_SIZE_MAX = 1024 }; // bounds the work at each byte of text

struct added_token {
    int32_t id;
    uint32_t offset; // of the content in the blob
    uint32_t size;
    bool strips_left;    // takes the white space before it
    bool strips_right;   // and after it
    bool is_single_word; // not beside a word character
};

struct added_tokens {
    struct added_token *items; // sorted by content after finish
    size_t count;
    size_t capacity;
    struct buffer contents;
    uint32_t first[257]; // items that begin with byte b are first[b] up to first[b + 1]
};

MUST_CHECK bool added_tokens_init(struct added_tokens *tokens, size_t count_max,
                                  struct error *error);
void added_tokens_close(struct added_tokens *tokens); // accepts a zeroed one
/* Copies the content; `token` gives id and flags. Empty content is left out. */
MUST_CHECK bool added_tokens_add(struct added_tokens *tokens, struct added_token token,
                                 struct bytes content, struct error *error);
void added_tokens_finish(struct added_tokens *tokens);

struct added_match {
    size_t start; // of the plain text's end: with the white space that the token takes
    size_t end;
    int32_t id;
};

/* A walk over one text. Begin with {.tokens, .text}. */
struct added_search {
    const struct added_tokens *tokens;
    struct bytes text; // valid UTF-8
    size_t from;       // where the next match may begin
    size_t done;       // where the last match ended, white space included
};

/* False when there is no further match. */
bool added_search_next(struct added_search *search, struct added_match *match_out);

#endif
