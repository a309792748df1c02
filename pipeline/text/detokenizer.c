/* detokenizer: joins decoded tokens; holds back what later tokens may change. */
#include "pipeline/text/detokenizer.h"

#include "pipeline/text/tokenizer_internal.h"

enum { HELD_SIZE_MAX = 1 << 24 }; // a run of byte tokens is never longer than a context

void detokenizer_init(struct detokenizer *detokenizer, const struct tokenizer *tokenizer,
                      bool skip_special_tokens)
{
    *detokenizer = (struct detokenizer){.tokenizer = tokenizer,
                                        .skips_special = skip_special_tokens,
                                        .strip_left = tokenizer->decoder.strip_count};
    buffer_init(&detokenizer->held, HELD_SIZE_MAX);
}

void detokenizer_close(struct detokenizer *detokenizer)
{
    buffer_close(&detokenizer->held);
}

void detokenizer_continue(struct detokenizer *detokenizer)
{
    detokenizer->has_begun = true;
    detokenizer->strip_left = 0;
}

/* Appends text, less what is stripped from the very start. */
static void emit(struct detokenizer *detokenizer, struct bytes text, struct buffer *out)
{
    const struct decoder *decoder = &detokenizer->tokenizer->decoder;
    size_t size = decoder->strip_size;
    while (detokenizer->strip_left > 0 && text.size >= size &&
           memcmp(text.data, decoder->strip, size) == 0) {
        text.data += size;
        text.size -= size;
        detokenizer->strip_left--;
    }
    if (text.size > 0) {
        detokenizer->strip_left = 0;
    }
    buffer_append_bytes(out, text);
}

/* The end of a run of byte tokens: text if it is valid as a whole, else U+FFFD for each byte. */
static void emit_run(struct detokenizer *detokenizer, struct buffer *out)
{
    struct bytes run = buffer_bytes(&detokenizer->held);
    if (utf8_is_valid(run)) {
        emit(detokenizer, run, out);
    } else {
        for (size_t i = 0; i < run.size; i++) {
            emit(detokenizer, bytes_of(UTF8_REPLACEMENT), out);
        }
    }
    buffer_clear(&detokenizer->held);
}

/* Appends the whole characters of held bytes and `piece`, and holds the rest. */
static void feed_bytes(struct detokenizer *detokenizer, struct bytes piece, struct buffer *out)
{
    struct buffer *held = &detokenizer->held;
    if (held->size == 0) {
        size_t used = utf8_append_repaired(out, piece, false);
        buffer_append(held, piece.data + used, piece.size - used);
        return;
    }
    buffer_append_bytes(held, piece);
    size_t used = utf8_append_repaired(out, buffer_bytes(held), false);
    size_t rest = held->size - used;
    memmove(held->data, held->data + used, rest);
    buffer_truncate(held, rest);
}

static void feed_text(struct detokenizer *detokenizer, int32_t id, struct bytes piece,
                      struct buffer *out)
{
    const struct decoder *decoder = &detokenizer->tokenizer->decoder;
    int16_t byte = decoder->has_fallback ? decoder->bytes[id] : -1;
    if (byte >= 0) {
        buffer_append_char(&detokenizer->held, (char)byte);
        return;
    }
    emit_run(detokenizer, out);
    if (decoder->has_separator && detokenizer->has_begun) {
        buffer_append_char(out, ' ');
    }
    emit(detokenizer, piece, out);
}

void detokenizer_feed(struct detokenizer *detokenizer, int32_t id, struct buffer *out)
{
    const struct tokenizer *tokenizer = detokenizer->tokenizer;
    const struct decoder *decoder = &tokenizer->decoder;
    bool is_beginning = decoder->has_beginning && !detokenizer->has_begun;
    struct bytes piece = vocabulary_text(is_beginning ? &decoder->beginning : &decoder->pieces, id);
    if (piece.data == NULL || (detokenizer->skips_special && tokenizer_is_special(tokenizer, id))) {
        return;
    }
    if (decoder->is_byte_level) {
        feed_bytes(detokenizer, piece, out);
    } else {
        feed_text(detokenizer, id, piece, out);
    }
    detokenizer->has_begun = true;
    out->has_failed = out->has_failed || buffer_failed(&detokenizer->held);
}

void detokenizer_finish(struct detokenizer *detokenizer, struct buffer *out)
{
    if (detokenizer->tokenizer->decoder.is_byte_level) {
        (void)utf8_append_repaired(out, buffer_bytes(&detokenizer->held), true);
        buffer_clear(&detokenizer->held);
    } else {
        emit_run(detokenizer, out);
    }
}
