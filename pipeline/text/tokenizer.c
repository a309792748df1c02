/* tokenizer: the way of a text through added tokens, normalizer, pre_tokenizer and merges. */
#include "pipeline/text/tokenizer.h"

#include "pipeline/text/detokenizer.h"
#include "pipeline/text/tokenizer_internal.h"
#include "pipeline/text/utf8.h"

/* One call to tokenizer_encode. */
struct encoding {
    const struct tokenizer *tokenizer;
    struct token_list *out;
    struct buffer repaired;
    struct buffer normalized[2];
    struct pre_tokenizer_scratch words;
    struct bpe_scratch merging;
};

static void encoding_init(struct encoding *encoding, const struct tokenizer *tokenizer,
                          struct token_list *out)
{
    *encoding = (struct encoding){.tokenizer = tokenizer, .out = out};
    buffer_init(&encoding->repaired, INT32_MAX);
    buffer_init(&encoding->normalized[0], INT32_MAX / 4);
    buffer_init(&encoding->normalized[1], INT32_MAX / 4);
}

static void encoding_close(struct encoding *encoding)
{
    buffer_close(&encoding->repaired);
    buffer_close(&encoding->normalized[0]);
    buffer_close(&encoding->normalized[1]);
    pre_tokenizer_scratch_close(&encoding->words);
    bpe_scratch_close(&encoding->merging);
}

static bool encode_word(void *context, struct bytes word, struct error *error)
{
    struct encoding *encoding = context;
    const struct tokenizer *tokenizer = encoding->tokenizer;
    if (tokenizer->is_wordpiece) {
        return wordpiece_encode(&tokenizer->wordpiece, word, encoding->out, error);
    }
    return bpe_encode(&tokenizer->bpe, &encoding->merging, word, encoding->out, error);
}

static bool encode_words(struct encoding *encoding, struct bytes text, bool is_first,
                         struct error *error)
{
    struct word_sink sink = {encode_word, encoding};
    return pre_tokenizer_run(encoding->tokenizer->pre_tokenizer, &encoding->words, text, is_first,
                             sink, error);
}

/* Walks over the added tokens in `text`; `encode` does what is between them. */
static bool encode_around(struct encoding *encoding, const struct added_tokens *tokens,
                          struct bytes text, bool is_first,
                          bool (*encode)(struct encoding *, struct bytes, bool, struct error *),
                          struct error *error)
{
    struct added_search search = {.tokens = tokens, .text = text};
    struct added_match match = {0, 0, 0};
    size_t done = 0;
    while (added_search_next(&search, &match)) {
        struct bytes between = {text.data + done, match.start - done};
        if (match.start > done && !encode(encoding, between, is_first && done == 0, error)) {
            return false;
        }
        if (!token_list_append(encoding->out, match.id, error)) {
            return false;
        }
        done = match.end;
    }
    struct bytes rest = {text.data + done, text.size - done};
    return rest.size == 0 || encode(encoding, rest, is_first && done == 0, error);
}

/* What is between the added tokens that are looked for before normalization. */
static bool encode_plain(struct encoding *encoding, struct bytes text, bool is_first,
                         struct error *error)
{
    const struct tokenizer *tokenizer = encoding->tokenizer;
    return normalizer_run(tokenizer->normalizer, &encoding->words.pattern, encoding->normalized,
                          &text, error) &&
           encode_around(encoding, &tokenizer->normalized_added, text, is_first, encode_words,
                         error);
}

static bool append_all(struct token_list *out, const struct special_ids *special,
                       struct error *error)
{
    for (size_t i = 0; i < special->count; i++) {
        if (!token_list_append(out, special->ids[i], error)) {
            return false;
        }
    }
    return true;
}

static bool repair(struct encoding *encoding, struct bytes *text, struct error *error)
{
    if (text->size == 0 || utf8_is_valid(*text)) {
        return true;
    }
    (void)utf8_append_repaired(&encoding->repaired, *text, true);
    *text = buffer_bytes(&encoding->repaired);
    return !buffer_failed(&encoding->repaired) ||
           error_set(error, ERROR_INTERNAL, NULL, NULL, "out of memory for a text");
}

bool tokenizer_encode(const struct tokenizer *tokenizer, struct bytes text, bool add_special_tokens,
                      struct token_list *out, struct error *error)
{
    if (text.size > TOKENIZER_TEXT_SIZE_MAX) {
        return error_set(error, ERROR_TOO_LARGE, NULL, NULL,
                         "the text has %zu bytes, at most %d are allowed", text.size,
                         TOKENIZER_TEXT_SIZE_MAX);
    }
    struct encoding encoding;
    encoding_init(&encoding, tokenizer, out);
    size_t count_before = out->count;
    bool is_done =
        repair(&encoding, &text, error) &&
        (!add_special_tokens || append_all(out, &tokenizer->post_processor.before, error)) &&
        encode_around(&encoding, &tokenizer->raw_added, text, true, encode_plain, error) &&
        (!add_special_tokens || append_all(out, &tokenizer->post_processor.after, error));
    if (!is_done) {
        out->count = count_before;
    }
    encoding_close(&encoding);
    return is_done;
}

void tokenizer_decode(const struct tokenizer *tokenizer, const int32_t *ids, size_t count,
                      bool skip_special_tokens, struct buffer *out)
{
    struct detokenizer detokenizer;
    detokenizer_init(&detokenizer, tokenizer, skip_special_tokens);
    for (size_t i = 0; i < count; i++) {
        detokenizer_feed(&detokenizer, ids[i], out);
    }
    detokenizer_finish(&detokenizer, out);
    detokenizer_close(&detokenizer);
}

void tokenizer_append_piece(const struct tokenizer *tokenizer, int32_t id, struct buffer *out)
{
    const struct decoder *decoder = &tokenizer->decoder;
    struct bytes piece = vocabulary_text(&decoder->pieces, id);
    if (piece.data == NULL) {
        return;
    }
    if (decoder->has_fallback && decoder->bytes[id] >= 0) {
        buffer_append_char(out, (char)decoder->bytes[id]);
    } else {
        buffer_append_bytes(out, piece);
    }
}

size_t tokenizer_ids_count(const struct tokenizer *tokenizer)
{
    return tokenizer->names.ids_count;
}

bool tokenizer_check_ids(const struct tokenizer *tokenizer, int vocabulary, struct error *error)
{
    size_t count = tokenizer_ids_count(tokenizer);
    return count <= (size_t)vocabulary ||
           error_set(error, ERROR_CONFIG, "invalid_model", NULL,
                     "tokenizer.json has ids up to %zu, the model's vocabulary ends at %d; the two "
                     "do not belong together",
                     count - 1, vocabulary - 1);
}

int32_t tokenizer_find(const struct tokenizer *tokenizer, struct bytes token)
{
    return vocabulary_find(&tokenizer->names, token.data, token.size);
}

struct bytes tokenizer_token(const struct tokenizer *tokenizer, int32_t id)
{
    return vocabulary_text(&tokenizer->names, id);
}

bool tokenizer_is_special(const struct tokenizer *tokenizer, int32_t id)
{
    return id >= 0 && (size_t)id < tokenizer->names.ids_count && tokenizer->is_special[id] != 0;
}
