/* encoder_config: config.json, and sentence-transformers' files beside it. */
#include "pipeline/model/encoder_config.h"

#include <stdio.h>
#include <string.h>

#include "pipeline/model/model_json.h"

enum { FILE_BYTES_MAX = 1 << 16, MODULES_MAX = 8, PATH_MAX_BYTES = 256 };

static const char modules_file[] = "modules.json";

static bool refuse_unless(const json_t *root, const char *file, const char *name,
                          const char *wanted, struct error *error)
{
    const char *value = json_string_value(json_object_get(root, name));
    return value == NULL || strcmp(value, wanted) == 0 ||
           model_json_refuse(file, name, value, error);
}

/* The older files have a flag for each way, the newer ones name it. */
static bool read_pooling(const json_t *root, const char *file, enum pooling *pooling_out,
                         struct error *error)
{
    static const char *const others[] = {
        "pooling_mode_max_tokens", "pooling_mode_mean_sqrt_len_tokens",
        "pooling_mode_weightedmean_tokens", "pooling_mode_lasttoken"};
    bool is_mean = false;
    bool is_first = false;
    const char *mode = json_string_value(json_object_get(root, "pooling_mode"));
    if (mode != NULL) {
        is_mean = strcmp(mode, "mean") == 0;
        is_first = strcmp(mode, "cls") == 0;
        *pooling_out = is_first ? POOLING_FIRST : POOLING_MEAN;
        return is_mean || is_first || model_json_refuse(file, "pooling_mode", mode, error);
    }
    if (!model_json_bool(root, file, "pooling_mode_mean_tokens", &is_mean, error) ||
        !model_json_bool(root, file, "pooling_mode_cls_token", &is_first, error)) {
        return false;
    }
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        bool is_other = false;
        if (!model_json_bool(root, file, others[i], &is_other, error)) {
            return false;
        }
        if (is_other) {
            return model_json_refuse(file, others[i], "true", error);
        }
    }
    *pooling_out = is_first ? POOLING_FIRST : POOLING_MEAN;
    return is_mean != is_first ||
           error_set(error, ERROR_CONFIG, NULL, NULL,
                     "%s: must have one of pooling_mode_mean_tokens and pooling_mode_cls_token",
                     file);
}

/* `folder` is untrusted: nothing outside of the model's folder is read. */
static bool load_pooling(const char *path, const char *folder, enum pooling *pooling_out,
                         struct error *error)
{
    char file[PATH_MAX_BYTES];
    int size = snprintf(file, sizeof file, "%s/config.json", folder);
    if (size < 0 || (size_t)size >= sizeof file || folder[0] == '/' || folder[0] == '\0' ||
        strstr(folder, "..") != NULL) {
        return error_set(error, ERROR_CONFIG, NULL, NULL,
                         "%s: the path of Pooling must be a folder inside, below %d bytes",
                         modules_file, PATH_MAX_BYTES);
    }
    json_t *root = NULL;
    bool is_read = model_json_load(path, file, FILE_BYTES_MAX, &root, error) &&
                   read_pooling(root, file, pooling_out, error);
    json_decref(root);
    return is_read;
}

static bool read_module(const char *path, const json_t *module, struct encoder_config *encoder,
                        struct error *error)
{
    const char *type = json_string_value(json_object_get(module, "type"));
    const char *folder = json_string_value(json_object_get(module, "path"));
    const char *name = type == NULL ? NULL : strrchr(type, '.');
    name = name == NULL ? type : name + 1;
    if (name != NULL && strcmp(name, "Transformer") == 0) {
        return folder == NULL || folder[0] == '\0' ||
               model_json_refuse(modules_file, "Transformer in", folder, error);
    }
    if (name != NULL && strcmp(name, "Pooling") == 0) {
        return load_pooling(path, folder == NULL ? "" : folder, &encoder->pooling, error);
    }
    if (name != NULL && strcmp(name, "Normalize") == 0) {
        encoder->normalizes = true;
        return true;
    }
    return model_json_refuse(modules_file, "module", name == NULL ? "without a type" : name, error);
}

/* Without the file, texts are what most encoders were trained for: means of length 1. */
static bool read_modules(const char *path, struct encoder_config *encoder, struct error *error)
{
    json_t *modules = NULL;
    if (!model_json_exists(path, modules_file)) {
        encoder->normalizes = true;
        return true;
    }
    if (!model_json_load_array(path, modules_file, FILE_BYTES_MAX, &modules, error)) {
        return false;
    }
    bool is_read = json_array_size(modules) <= MODULES_MAX ||
                   error_set(error, ERROR_CONFIG, NULL, NULL, "%s: %zu modules, at most %d",
                             modules_file, json_array_size(modules), MODULES_MAX);
    for (size_t i = 0; is_read && i < json_array_size(modules); i++) {
        is_read = read_module(path, json_array_get(modules, i), encoder, error);
    }
    json_decref(modules);
    return is_read;
}

/* sentence-transformers cuts texts off at max_seq_length; here it is the context. */
static bool read_limit(const char *path, int *context, struct error *error)
{
    static const char file[] = "sentence_bert_config.json";
    json_t *root = NULL;
    int limit = *context;
    const struct int_field field = {file, "max_seq_length", 1, 1 << 24};
    if (!model_json_exists(path, file)) {
        return true;
    }
    bool is_read = model_json_load(path, file, FILE_BYTES_MAX, &root, error) &&
                   model_json_int(root, &field, false, &limit, error);
    json_decref(root);
    *context = limit < *context ? limit : *context;
    return is_read;
}

bool encoder_config_read(const char *path, const json_t *root, const char *file,
                         struct encoder_config *encoder, int *context, struct error *error)
{
    bool is_decoder = false;
    const struct int_field types = {file, "type_vocab_size", 0, 1 << 10};
    encoder->is_encoder = true;
    encoder->positions = *context;
    if (!model_json_int(root, &types, false, &encoder->types, error) ||
        !model_json_bool(root, file, "is_decoder", &is_decoder, error) ||
        !refuse_unless(root, file, "hidden_act", "gelu", error) ||
        !refuse_unless(root, file, "position_embedding_type", "absolute", error) ||
        !read_modules(path, encoder, error)) {
        return false;
    }
    if (is_decoder) {
        return model_json_refuse(file, "is_decoder", "true", error);
    }
    *context -= encoder->positions_first;
    return (*context > 0 || error_set(error, ERROR_CONFIG, NULL, NULL,
                                      "%s: max_position_embeddings is %d, must be over %d", file,
                                      encoder->positions, encoder->positions_first)) &&
           read_limit(path, context, error);
}
