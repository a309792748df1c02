/* wordpiece: two vocabularies, and a search for the longest token from left to right. */
#include "pipeline/text/wordpiece.h"

#include "pipeline/text/tokenizer_json.h"
#include "pipeline/text/utf8.h"

enum { WORD_CHARACTERS = 100, WORD_CHARACTERS_MAX = 1000 };

static bool add_names(struct wordpiece *wordpiece, const struct vocabulary *names,
                      struct bytes prefix, struct error *error)
{
    for (size_t i = 0; i < names->ids_count; i++) {
        struct bytes name = vocabulary_text(names, (int32_t)i);
        if (name.data == NULL) {
            continue;
        }
        bool continues =
            name.size > prefix.size && memcmp(name.data, prefix.data, prefix.size) == 0;
        struct bytes rest = {name.data + prefix.size, name.size - prefix.size};
        if (!vocabulary_add(&wordpiece->beginning, (int32_t)i, name, true, error) ||
            (continues && !vocabulary_add(&wordpiece->continuing, (int32_t)i, rest, true, error))) {
            return false;
        }
    }
    return true;
}

bool wordpiece_load(struct wordpiece *wordpiece, const json_t *model,
                    const struct vocabulary *names, struct error *error)
{
    struct bytes prefix = bytes_of("##");
    struct bytes unknown = bytes_of("[UNK]");
    long long characters_max = WORD_CHARACTERS;
    const char *limit = "max_input_chars_per_word";
    if ((json_object_get(model, "continuing_subword_prefix") != NULL &&
         !member_text(model, "continuing_subword_prefix", &prefix, error)) ||
        (json_object_get(model, "unk_token") != NULL &&
         !member_text(model, "unk_token", &unknown, error)) ||
        (json_object_get(model, limit) != NULL &&
         !member_integer(model, limit, 1, WORD_CHARACTERS_MAX, &characters_max, error))) {
        return false;
    }
    wordpiece->word_characters_max = (size_t)characters_max;
    wordpiece->unknown_id = vocabulary_find(names, unknown.data, unknown.size);
    if (wordpiece->unknown_id < 0) {
        return error_set(error, ERROR_INVALID, NULL, NULL,
                         "\"unk_token\" is not in the vocabulary");
    }
    return vocabulary_init(&wordpiece->beginning, names->ids_count, error) &&
           vocabulary_init(&wordpiece->continuing, names->ids_count, error) &&
           add_names(wordpiece, names, prefix, error);
}

void wordpiece_close(struct wordpiece *wordpiece)
{
    vocabulary_close(&wordpiece->beginning);
    vocabulary_close(&wordpiece->continuing);
    *wordpiece = (struct wordpiece){0};
}

static bool is_continuation(char c)
{
    return ((unsigned char)c & 0xC0) == 0x80;
}

static bool is_too_long(struct bytes word, size_t characters_max)
{
    if (word.size <= characters_max) {
        return false;
    }
    size_t characters = 0;
    for (size_t i = 0; i < word.size && characters <= characters_max; i++) {
        characters += is_continuation(word.data[i]) ? 0 : 1;
    }
    return characters > characters_max;
}

/* The longest token at the start of `text`, with its size; -1 when there is none. */
static int32_t longest(const struct vocabulary *tokens, struct bytes text, size_t *size_out)
{
    size_t size = text.size < tokens->size_longest ? text.size : tokens->size_longest;
    for (; size > 0; size--) {
        if (size < text.size && is_continuation(text.data[size])) {
            continue;
        }
        int32_t id = vocabulary_find(tokens, text.data, size);
        if (id >= 0) {
            *size_out = size;
            return id;
        }
    }
    return -1;
}

bool wordpiece_encode(const struct wordpiece *wordpiece, struct bytes word, struct token_list *out,
                      struct error *error)
{
    if (is_too_long(word, wordpiece->word_characters_max)) {
        return token_list_append(out, wordpiece->unknown_id, error);
    }
    size_t count_before = out->count;
    const struct vocabulary *tokens = &wordpiece->beginning;
    for (size_t done = 0; done < word.size; tokens = &wordpiece->continuing) {
        size_t size = 0;
        struct bytes rest = {word.data + done, word.size - done};
        int32_t id = longest(tokens, rest, &size);
        if (id < 0) {
            out->count = count_before;
            return token_list_append(out, wordpiece->unknown_id, error);
        }
        if (!token_list_append(out, id, error)) {
            return false;
        }
        done += size;
    }
    return true;
}
