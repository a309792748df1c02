/* bpe_load: checks every member of "model" and builds struct bpe from it. */
#include "pipeline/text/bpe_load.h"

#include <stdio.h>

#include "pipeline/text/byte_alphabet.h"
#include "pipeline/text/tokenizer_json.h"

/* Members that change how words are encoded and that no model served here uses. */
static bool refuse_extras(const json_t *model, struct error *error)
{
    static const char *const affixes[] = {"continuing_subword_prefix", "end_of_word_suffix"};
    for (size_t i = 0; i < sizeof affixes / sizeof affixes[0]; i++) {
        if (json_string_length(json_object_get(model, affixes[i])) > 0) {
            return error_set(error, ERROR_INVALID, NULL, NULL,
                             "the model's \"%s\" is not supported", affixes[i]);
        }
    }
    if (json_number_value(json_object_get(model, "dropout")) != 0) {
        return error_set(error, ERROR_INVALID, NULL, NULL,
                         "the model's \"dropout\" is not supported");
    }
    return true;
}

static bool add_words(struct bpe *bpe, const struct vocabulary *names, struct error *error)
{
    struct buffer bytes;
    buffer_init(&bytes, SIZE_MAX / 4);
    bool is_good = true;
    for (size_t i = 0; i < names->ids_count && is_good; i++) {
        struct bytes name = vocabulary_text(names, (int32_t)i);
        if (name.data == NULL) {
            continue;
        }
        bool is_findable = true;
        if (bpe->is_byte_level) {
            // A token with characters outside the alphabet never arises from text.
            buffer_clear(&bytes);
            is_findable = byte_alphabet_decode(name, &bytes);
            name = buffer_bytes(&bytes);
        }
        is_good = vocabulary_add(&bpe->words, (int32_t)i, name, is_findable, error);
    }
    buffer_close(&bytes);
    return is_good;
}

static bool add_fallback(struct bpe *bpe, const struct vocabulary *names, struct error *error)
{
    bool is_wanted = bpe->has_fallback;
    for (unsigned byte = 0; byte < 256 && is_wanted; byte++) {
        char name[8];
        int size = snprintf(name, sizeof name, "<0x%02X>", byte);
        bpe->fallback_ids[byte] = vocabulary_find(names, name, (size_t)size);
        if (bpe->is_byte_level && bpe->fallback_ids[byte] >= 0) {
            return error_set(error, ERROR_INVALID, NULL, NULL,
                             "\"byte_fallback\" of a byte-level vocabulary is not supported");
        }
    }
    return true;
}

/* "a b" or ["a", "b"] */
static bool read_merge(const json_t *merge, struct bytes *left_out, struct bytes *right_out)
{
    if (json_is_array(merge)) {
        const json_t *left = json_array_get(merge, 0);
        const json_t *right = json_array_get(merge, 1);
        *left_out = (struct bytes){json_string_value(left), json_string_length(left)};
        *right_out = (struct bytes){json_string_value(right), json_string_length(right)};
        return json_array_size(merge) == 2 && json_is_string(left) && json_is_string(right);
    }
    const char *text = json_string_value(merge);
    const char *space = text == NULL ? NULL : strchr(text, ' ');
    if (space == NULL || strchr(space + 1, ' ') != NULL) {
        return false;
    }
    size_t size = json_string_length(merge);
    *left_out = (struct bytes){text, (size_t)(space - text)};
    *right_out = (struct bytes){space + 1, size - left_out->size - 1};
    return true;
}

/* The id of left + right, and of both; false where one is not in the vocabulary. */
static bool find_merge_ids(const struct vocabulary *names, struct bytes left, struct bytes right,
                           struct buffer *both, int32_t ids[3])
{
    buffer_clear(both);
    buffer_append_bytes(both, left);
    buffer_append_bytes(both, right);
    ids[0] = vocabulary_find(names, left.data, left.size);
    ids[1] = vocabulary_find(names, right.data, right.size);
    ids[2] = vocabulary_find(names, buffer_bytes(both).data, both->size);
    return !buffer_failed(both) && ids[0] >= 0 && ids[1] >= 0 && ids[2] >= 0;
}

static bool add_merges(struct bpe *bpe, const json_t *merges, const struct vocabulary *names,
                       struct error *error)
{
    struct buffer both;
    buffer_init(&both, SIZE_MAX / 4);
    bool is_good = true;
    for (size_t i = 0; i < json_array_size(merges) && is_good; i++) {
        struct bytes left = {NULL, 0};
        struct bytes right = {NULL, 0};
        int32_t ids[3] = {-1, -1, -1};
        if (!read_merge(json_array_get(merges, i), &left, &right)) {
            is_good = error_set(error, ERROR_INVALID, NULL, NULL,
                                "merge %zu is not two tokens (\"a b\" or [\"a\", \"b\"])", i);
        } else if (!find_merge_ids(names, left, right, &both, ids)) {
            is_good = error_set(error, ERROR_INVALID, NULL, NULL,
                                "merge %zu names a token that is not in the vocabulary", i);
        } else {
            struct bpe_merge merge = {(uint32_t)i, ids[2]};
            is_good = bpe_add_merge(bpe, ids[0], ids[1], merge, error);
        }
    }
    buffer_close(&both);
    return is_good;
}

static bool read_flags(struct bpe *bpe, const json_t *model, const struct vocabulary *names,
                       struct error *error)
{
    if (!member_bool(model, "fuse_unk", false, &bpe->fuses_unknown, error) ||
        !member_bool(model, "byte_fallback", false, &bpe->has_fallback, error) ||
        !member_bool(model, "ignore_merges", false, &bpe->ignores_merges, error)) {
        return false;
    }
    const json_t *unknown = json_object_get(model, "unk_token");
    if (unknown == NULL || json_is_null(unknown)) {
        return true;
    }
    struct bytes name = {NULL, 0};
    if (!member_text(model, "unk_token", &name, error)) {
        return false;
    }
    bpe->unknown_id = vocabulary_find(names, name.data, name.size);
    return bpe->unknown_id >= 0 ||
           error_set(error, ERROR_INVALID, NULL, NULL, "\"unk_token\" is not in the vocabulary");
}

bool bpe_load(struct bpe *bpe, const json_t *model, const struct vocabulary *names,
              bool is_byte_level, struct error *error)
{
    const json_t *merges = NULL;
    if (!refuse_extras(model, error) || !member_array(model, "merges", &merges, error)) {
        return false;
    }
    size_t merges_count = json_array_size(merges);
    if (merges_count > BPE_MERGES_MAX) {
        return error_set(error, ERROR_INVALID, NULL, NULL, "%zu merges, at most %d are allowed",
                         merges_count, BPE_MERGES_MAX);
    }
    if (!bpe_init(bpe, names->ids_count, merges_count, error)) {
        return false;
    }
    bpe->is_byte_level = is_byte_level;
    bool is_done = read_flags(bpe, model, names, error) && add_words(bpe, names, error) &&
                   add_fallback(bpe, names, error) && add_merges(bpe, merges, names, error) &&
                   bpe_finish(bpe, error);
    if (!is_done) {
        bpe_close(bpe);
    }
    return is_done;
}
