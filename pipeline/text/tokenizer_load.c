/* tokenizer_load: reads tokenizer.json, which is untrusted, into a struct tokenizer. */
#include "pipeline/text/tokenizer_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "pipeline/text/bpe_load.h"
#include "pipeline/text/tokenizer_json.h"

/* --- The vocabulary --- */

/* An id of the file, checked against the limit. */
static bool read_id(const json_t *value, int32_t *id_out, struct error *error)
{
    json_int_t id = json_is_integer(value) ? json_integer_value(value) : -1;
    if (id < 0 || id >= VOCABULARY_IDS_MAX) {
        return error_set(error, ERROR_INVALID, NULL, NULL,
                         "a token has no id, or one that is not below %d", VOCABULARY_IDS_MAX);
    }
    *id_out = (int32_t)id;
    return true;
}

static bool count_ids(json_t *vocabulary, const json_t *added, size_t *ids_count_out,
                      struct error *error)
{
    const char *key = NULL;
    json_t *value = NULL;
    int32_t id = -1;
    *ids_count_out = 0;
    json_object_foreach (vocabulary, key, value) {
        if (!read_id(value, &id, error)) {
            return false;
        }
        *ids_count_out = (size_t)id >= *ids_count_out ? (size_t)id + 1 : *ids_count_out;
    }
    for (size_t i = 0; i < json_array_size(added); i++) {
        if (!read_id(json_object_get(json_array_get(added, i), "id"), &id, error)) {
            return false;
        }
        *ids_count_out = (size_t)id >= *ids_count_out ? (size_t)id + 1 : *ids_count_out;
    }
    return true;
}

static bool add_name(struct vocabulary *names, int32_t id, struct bytes name, struct error *error)
{
    if (vocabulary_text(names, id).data != NULL) {
        return error_set(error, ERROR_INVALID, NULL, NULL, "two tokens have the id %d", (int)id);
    }
    return vocabulary_add(names, id, name, true, error);
}

static bool load_names(struct vocabulary *names, json_t *vocabulary, struct error *error)
{
    const char *key = NULL;
    json_t *value = NULL;
    json_object_foreach (vocabulary, key, value) {
        if (!add_name(names, (int32_t)json_integer_value(value), bytes_of(key), error)) {
            return false;
        }
    }
    return true;
}

/* --- Added tokens --- */

/* An added token that the model's vocabulary has must have the same id there. */
static bool add_added_name(struct tokenizer *tokenizer, int32_t id, struct bytes content,
                           struct error *error)
{
    int32_t id_of_model = vocabulary_find(&tokenizer->names, content.data, content.size);
    if (id_of_model < 0) {
        return add_name(&tokenizer->names, id, content, error);
    }
    return id_of_model == id ||
           error_set(error, ERROR_INVALID, NULL, NULL,
                     "added token %d has the id %d in the vocabulary", (int)id, (int)id_of_model);
}

/* The tokens that are looked for after normalization are normalized themselves. */
static bool add_normalized(struct tokenizer *tokenizer, struct added_token token,
                           struct bytes content, struct error *error)
{
    struct pattern_scratch scratch = {0};
    struct buffer buffers[2];
    buffer_init(&buffers[0], 1 << 20);
    buffer_init(&buffers[1], 1 << 20);
    bool is_done = normalizer_run(tokenizer->normalizer, &scratch, buffers, &content, error) &&
                   added_tokens_add(&tokenizer->normalized_added, token, content, error);
    buffer_close(&buffers[0]);
    buffer_close(&buffers[1]);
    pattern_scratch_close(&scratch);
    return is_done;
}

static bool load_added_token(struct tokenizer *tokenizer, const json_t *json, struct error *error)
{
    struct added_token token = {0};
    struct bytes content = {NULL, 0};
    bool is_special = false;
    bool is_normalized = false;
    if (!read_id(json_object_get(json, "id"), &token.id, error) ||
        !member_text(json, "content", &content, error) ||
        !member_bool(json, "special", false, &is_special, error) ||
        !member_bool(json, "normalized", !is_special, &is_normalized, error) ||
        !member_bool(json, "lstrip", false, &token.strips_left, error) ||
        !member_bool(json, "rstrip", false, &token.strips_right, error) ||
        !member_bool(json, "single_word", false, &token.is_single_word, error) ||
        !add_added_name(tokenizer, token.id, content, error)) {
        return false;
    }
    tokenizer->is_special[token.id] = is_special;
    return is_normalized ? add_normalized(tokenizer, token, content, error)
                         : added_tokens_add(&tokenizer->raw_added, token, content, error);
}

static bool load_added(struct tokenizer *tokenizer, const json_t *added, struct error *error)
{
    size_t count = json_array_size(added);
    if (!added_tokens_init(&tokenizer->raw_added, count, error) ||
        !added_tokens_init(&tokenizer->normalized_added, count, error)) {
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        if (!load_added_token(tokenizer, json_array_get(added, i), error)) {
            return false;
        }
    }
    added_tokens_finish(&tokenizer->raw_added);
    added_tokens_finish(&tokenizer->normalized_added);
    return true;
}

/* --- The whole --- */

/* Older files do not name the type of a BPE model. */
static bool check_model(const json_t *model, bool *is_wordpiece_out, struct error *error)
{
    struct bytes type = bytes_of("BPE");
    if (!json_is_object(model)) {
        return error_set(error, ERROR_INVALID, NULL, NULL, "\"model\" is missing or not an object");
    }
    if (json_object_get(model, "type") != NULL && !member_text(model, "type", &type, error)) {
        return false;
    }
    *is_wordpiece_out = bytes_equal_text(type, "WordPiece");
    if (!*is_wordpiece_out && !bytes_equal_text(type, "BPE")) {
        return refuse_type("model", type, error);
    }
    return json_is_object(json_object_get(model, "vocab")) ||
           error_set(error, ERROR_INVALID, NULL, NULL, "\"vocab\" is missing or not an object");
}

static bool load_tokens(struct tokenizer *tokenizer, const json_t *root, const json_t *model,
                        struct error *error)
{
    json_t *vocabulary = json_object_get(model, "vocab");
    const json_t *added = json_object_get(root, "added_tokens");
    size_t ids_count = 0;
    if (added != NULL && !json_is_null(added) && !json_is_array(added)) {
        return error_set(error, ERROR_INVALID, NULL, NULL, "\"added_tokens\" is not an array");
    }
    if (!count_ids(vocabulary, added, &ids_count, error) ||
        !vocabulary_init(&tokenizer->names, ids_count, error)) {
        return false;
    }
    tokenizer->is_special = calloc(ids_count + 1, sizeof *tokenizer->is_special);
    if (tokenizer->is_special == NULL) {
        return error_set(error, ERROR_INTERNAL, NULL, NULL, "out of memory for %zu tokens",
                         ids_count);
    }
    // The model is read before the added tokens join the names: only its own take part in merges.
    bool is_byte_level = pre_tokenizer_is_byte_level(tokenizer->pre_tokenizer);
    return load_names(&tokenizer->names, vocabulary, error) &&
           (tokenizer->is_wordpiece
                ? wordpiece_load(&tokenizer->wordpiece, model, &tokenizer->names, error)
                : bpe_load(&tokenizer->bpe, model, &tokenizer->names, is_byte_level, error)) &&
           load_added(tokenizer, added, error);
}

static bool load(struct tokenizer *tokenizer, const json_t *root, struct error *error)
{
    const json_t *model = json_object_get(root, "model");
    return check_model(model, &tokenizer->is_wordpiece, error) &&
           normalizer_open(json_object_get(root, "normalizer"), &tokenizer->normalizer, error) &&
           pre_tokenizer_open(json_object_get(root, "pre_tokenizer"), &tokenizer->pre_tokenizer,
                              error) &&
           load_tokens(tokenizer, root, model, error) &&
           post_processor_init(&tokenizer->post_processor, json_object_get(root, "post_processor"),
                               tokenizer->names.ids_count, error) &&
           decoder_open(&tokenizer->decoder, json_object_get(root, "decoder"), &tokenizer->names,
                        error);
}

static bool open_json(const json_t *root, struct tokenizer **tokenizer_out, struct error *error)
{
    struct tokenizer *tokenizer = calloc(1, sizeof *tokenizer);
    if (tokenizer == NULL) {
        return error_set(error, ERROR_INTERNAL, NULL, NULL, "out of memory for a tokenizer");
    }
    if (!load(tokenizer, root, error)) {
        tokenizer_close(tokenizer);
        return false;
    }
    *tokenizer_out = tokenizer;
    return true;
}

bool tokenizer_open_bytes(struct bytes json, struct tokenizer **tokenizer_out, struct error *error)
{
    if (json.size > TOKENIZER_FILE_SIZE_MAX) {
        return error_set(error, ERROR_CONFIG, NULL, NULL, "%zu bytes, at most %d are allowed",
                         json.size, TOKENIZER_FILE_SIZE_MAX);
    }
    json_error_t reason;
    json_t *root = json_loadb(json.data, json.size, JSON_REJECT_DUPLICATES, &reason);
    if (root == NULL) {
        return error_set(error, ERROR_CONFIG, NULL, NULL, "not valid JSON at line %d: %s",
                         reason.line, reason.text);
    }
    bool is_done = open_json(root, tokenizer_out, error);
    json_decref(root);
    if (!is_done && error != NULL && error->kind == ERROR_INVALID) {
        error->kind = ERROR_CONFIG;
    }
    return is_done;
}

void tokenizer_close(struct tokenizer *tokenizer)
{
    if (tokenizer == NULL) {
        return;
    }
    vocabulary_close(&tokenizer->names);
    free(tokenizer->is_special);
    normalizer_close(tokenizer->normalizer);
    pre_tokenizer_close(tokenizer->pre_tokenizer);
    added_tokens_close(&tokenizer->raw_added);
    added_tokens_close(&tokenizer->normalized_added);
    wordpiece_close(&tokenizer->wordpiece);
    bpe_close(&tokenizer->bpe);
    decoder_close(&tokenizer->decoder);
    free(tokenizer);
}

/* --- The file --- */

enum { PATH_SIZE_MAX = 4096 };

/* `path` itself, or tokenizer.json in it when it is a folder. */
static bool find_file(const char *path, char file[PATH_SIZE_MAX], struct error *error)
{
    struct stat status;
    bool is_folder = stat(path, &status) == 0 && S_ISDIR(status.st_mode);
    int size = snprintf(file, PATH_SIZE_MAX, "%s%s", path, is_folder ? "/tokenizer.json" : "");
    if (size < 0 || size >= PATH_SIZE_MAX) {
        return error_set(error, ERROR_CONFIG, NULL, NULL, "the path is longer than %d bytes",
                         PATH_SIZE_MAX);
    }
    if (stat(file, &status) != 0 || !S_ISREG(status.st_mode)) {
        return error_set(error, ERROR_CONFIG, NULL, NULL, "there is no such file");
    }
    if (status.st_size > TOKENIZER_FILE_SIZE_MAX) {
        return error_set(error, ERROR_CONFIG, NULL, NULL, "%lld bytes, at most %d are allowed",
                         (long long)status.st_size, TOKENIZER_FILE_SIZE_MAX);
    }
    return true;
}

static bool read_file(const char *file, struct buffer *out, struct error *error)
{
    FILE *stream = fopen(file, "rb");
    if (stream == NULL) {
        return error_set(error, ERROR_CONFIG, NULL, NULL, "it cannot be opened");
    }
    char chunk[65536];
    size_t size = 0;
    while ((size = fread(chunk, 1, sizeof chunk, stream)) > 0) {
        buffer_append(out, chunk, size);
    }
    bool is_read = ferror(stream) == 0 && !buffer_failed(out);
    (void)fclose(stream);
    return is_read || error_set(error, ERROR_CONFIG, NULL, NULL, "it cannot be read");
}

bool tokenizer_open(const char *path, struct tokenizer **tokenizer_out, struct error *error)
{
    char file[PATH_SIZE_MAX] = "";
    struct buffer json;
    buffer_init(&json, TOKENIZER_FILE_SIZE_MAX);
    bool is_done = find_file(path, file, error) && read_file(file, &json, error) &&
                   tokenizer_open_bytes(buffer_bytes(&json), tokenizer_out, error);
    buffer_close(&json);
    return is_done || error_prefix(error, "tokenizer %s", file[0] == '\0' ? path : file);
}
