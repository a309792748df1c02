/* tokenizer: text to token ids and back, as a Hugging Face tokenizer.json says.
 *
 * Supported: models BPE, byte-level or with byte fallback, and WordPiece; normalizers NFC, NFD,
 * NFKC, NFKD, BertNormalizer, Lowercase, StripAccents, Prepend, Replace, Strip; pre_tokenizers
 * ByteLevel, Split, Metaspace, Digits, Punctuation, Whitespace, WhitespaceSplit, BertPreTokenizer;
 * post_processors TemplateProcessing, ByteLevel, RobertaProcessing, BertProcessing; decoders
 * ByteLevel, Metaspace, Replace, ByteFallback, Fuse, Strip, WordPiece; Sequence of each. Anything
 * else is refused by name. "truncation" and "padding" are ignored: they are about batches.
 *
 * Immutable after open: any number of threads may use one at once. Each call has its own scratch.
 */
#ifndef PIPELINE_TEXT_TOKENIZER_H
#define PIPELINE_TEXT_TOKENIZER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "pipeline/text/token_list.h"
#include "schemas/base/buffer.h"
#include "schemas/base/bytes.h"
#include "schemas/base/error.h"

enum {
    TOKENIZER_FILE_SIZE_MAX = 64 << 20,  // the largest in use has 33 MB (Gemma 3)
    TOKENIZER_TEXT_SIZE_MAX = 256 << 20, // of one call to tokenizer_encode
};

struct tokenizer;

/* `path` is a tokenizer.json or a folder that holds one. Failures are ERROR_CONFIG, with the path.
 */
MUST_CHECK bool tokenizer_open(const char *path, struct tokenizer **tokenizer_out,
                               struct error *error);
/* The same from memory, which is not kept. */
MUST_CHECK bool tokenizer_open_bytes(struct bytes json, struct tokenizer **tokenizer_out,
                                     struct error *error);
void tokenizer_close(struct tokenizer *tokenizer); // accepts NULL

/* Appends the ids of `text`. Added tokens in the text ("<|im_end|>") become their ids. Broken UTF-8
 * is read as U+FFFD, as Python's decode(errors="replace") does. More ids than the list may hold is
 * ERROR_INVALID "context_length_exceeded". On failure the list is as before. */
MUST_CHECK bool tokenizer_encode(const struct tokenizer *tokenizer, struct bytes text,
                                 bool add_special_tokens, struct token_list *out,
                                 struct error *error);

/* Appends the text of `count` ids, always valid UTF-8. Ids that do not exist are skipped. Out of
 * memory, or past the buffer's maximum, the buffer has failed. detokenizer.h does it id by id. */
void tokenizer_decode(const struct tokenizer *tokenizer, const int32_t *ids, size_t count,
                      bool skip_special_tokens, struct buffer *out);

/* Appends what an id alone adds inside a text: bytes, perhaps not whole characters. An id that does
 * not exist adds nothing. */
void tokenizer_append_piece(const struct tokenizer *tokenizer, int32_t id, struct buffer *out);

/* Highest id + 1. A model may have more rows than that. */
size_t tokenizer_ids_count(const struct tokenizer *tokenizer);
/* ERROR_CONFIG where it makes ids that a model of `vocabulary` rows does not have. */
MUST_CHECK bool tokenizer_check_ids(const struct tokenizer *tokenizer, int vocabulary,
                                    struct error *error);

/* The id of a token as the file spells it ("<|im_end|>", "Ġthe"), or -1. */
int32_t tokenizer_find(const struct tokenizer *tokenizer, struct bytes token);

/* The spelling of an id in the file, borrowed; .data is NULL when there is no such id. */
struct bytes tokenizer_token(const struct tokenizer *tokenizer, int32_t id);

/* True for the added tokens that the file marks as special; false for ids that do not exist. */
bool tokenizer_is_special(const struct tokenizer *tokenizer, int32_t id);

#endif
