/* adapter: LoRA as PEFT writes it.
 *
 * Tensors are base_model.model.MODULE.lora_A.weight and lora_B.weight. The scale is alpha / rank,
 * with use_rslora alpha / sqrt(rank); rank_pattern and alpha_pattern name modules with others by
 * the end of their path. fan_in_fan_out is for layers that keep their matrices turned, which no
 * family here has; PEFT ignores it then, too.
 */
#include "pipeline/model/adapter.h"

#define XXH_INLINE_ALL
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "kernels/dtype.h"
#include "pipeline/model/model_json.h"

enum { CONFIG_BYTES_MAX = 1 << 20, RANK_MAX = 1 << 14, NAME_BYTES = 192 };

static const char file[] = "adapter_config.json";

struct adapter {
    struct safetensors *safetensors;
    json_t *config;
    int rank;
    double alpha;
    bool is_rank_stabilized;
    const json_t *targets; // ends of modules that each must have a pair, or NULL
};

/* Members that change what an adapter is, and must be absent, null, false or empty. */
static const char *const refused[] = {
    "use_dora",          "lora_bias",         "use_qalora",
    "use_bdlora",        "modules_to_save",   "trainable_token_indices",
    "target_parameters", "layer_replication", "alora_invocation_tokens",
    "megatron_config",   "velora_config",     "monteclora_config",
    "kasa_config",       "arrow_config",
};

static bool is_idle(const json_t *value)
{
    return value == NULL || json_is_null(value) || json_is_false(value) ||
           (json_is_array(value) && json_array_size(value) == 0) ||
           (json_is_object(value) && json_object_size(value) == 0);
}

/* Some ways of beginning change the model's own matrices, which then belong to the adapter. */
static bool check_beginning(const json_t *config, struct error *error)
{
    static const char *const sound[] = {"gaussian", "eva", "orthogonal"};
    const char *name = json_string_value(json_object_get(config, "init_lora_weights"));
    for (size_t i = 0; name != NULL && i < sizeof(sound) / sizeof(sound[0]); i++) {
        if (strcmp(name, sound[i]) == 0) {
            return true;
        }
    }
    return name == NULL || model_json_refuse(file, "init_lora_weights", name, error);
}

static bool check_kind(const json_t *config, struct error *error)
{
    const char *type = json_string_value(json_object_get(config, "peft_type"));
    const json_t *bias = json_object_get(config, "bias");
    if (type == NULL || strcmp(type, "LORA") != 0) {
        return model_json_refuse(file, "peft_type", type == NULL ? "that is no text" : type, error);
    }
    if (!is_idle(bias) && (!json_is_string(bias) || strcmp(json_string_value(bias), "none") != 0)) {
        return model_json_refuse(
            file, "bias", json_is_string(bias) ? json_string_value(bias) : "of its kind", error);
    }
    for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
        if (!is_idle(json_object_get(config, refused[i]))) {
            return model_json_refuse(file, "an adapter with", refused[i], error);
        }
    }
    return check_beginning(config, error);
}

/* Patterns are regular expressions, of which only names are read. */
static bool check_pattern(const json_t *config, const char *member, struct error *error)
{
    const char *name;
    json_t *value;
    json_t *pattern = json_object_get(config, member);
    json_object_foreach (pattern, name, value) {
        if (strpbrk(name, "^$*+?()[]{}|\\") != NULL) {
            return model_json_refuse(file, member, name, error);
        }
        if (!json_is_number(value) || !(json_number_value(value) > 0)) {
            return error_set(error, ERROR_CONFIG, NULL, NULL,
                             "%s: %s of %s must be a positive number", file, member, name);
        }
    }
    return true;
}

static bool read_config(struct adapter *adapter, struct error *error)
{
    const json_t *config = adapter->config;
    const struct int_field rank = {file, "r", 1, RANK_MAX};
    const struct number_field alpha = {file, "lora_alpha", 0, 1e6};
    const json_t *targets = json_object_get(config, "target_modules");
    bool is_partial = !is_idle(json_object_get(config, "layers_to_transform")) ||
                      !is_idle(json_object_get(config, "exclude_modules"));
    adapter->targets = json_is_array(targets) && !is_partial ? targets : NULL;
    return check_kind(config, error) && check_pattern(config, "rank_pattern", error) &&
           check_pattern(config, "alpha_pattern", error) &&
           model_json_int(config, &rank, true, &adapter->rank, error) &&
           model_json_number(config, &alpha, true, &adapter->alpha, error) &&
           model_json_bool(config, file, "use_rslora", &adapter->is_rank_stabilized, error);
}

bool adapter_open(const char *path, struct adapter **adapter_out, struct error *error)
{
    struct adapter *adapter = calloc(1, sizeof(*adapter));
    if (adapter == NULL) {
        return error_set(error, ERROR_FATAL, NULL, NULL, "out of memory for an adapter");
    }
    if (!model_json_load(path, file, CONFIG_BYTES_MAX, &adapter->config, error) ||
        !read_config(adapter, error) ||
        !safetensors_open_file(path, "adapter_model.safetensors", &adapter->safetensors, error)) {
        adapter_close(adapter);
        return false;
    }
    *adapter_out = adapter;
    return true;
}

void adapter_close(struct adapter *adapter)
{
    if (adapter != NULL) {
        safetensors_close(adapter->safetensors);
        json_decref(adapter->config);
        free(adapter);
    }
}

/* Whether `name` is `end`, or ends with a point and it. */
static bool is_end(const char *name, const char *end)
{
    size_t length = strlen(name);
    size_t rest = strlen(end);
    return length >= rest && strcmp(name + length - rest, end) == 0 &&
           (length == rest || name[length - rest - 1] == '.');
}

/* The first that fits, as PEFT takes it. */
static double by_pattern(const struct adapter *adapter, const char *member, const char *name,
                         double otherwise)
{
    const char *end;
    json_t *value;
    json_object_foreach (json_object_get(adapter->config, member), end, value) {
        if (is_end(name, end)) {
            return json_number_value(value);
        }
    }
    return otherwise;
}

static bool is_target(const struct adapter *adapter, const char *name)
{
    for (size_t i = 0; i < json_array_size(adapter->targets); i++) {
        const char *end = json_string_value(json_array_get(adapter->targets, i));
        if (end != NULL && is_end(name, end)) {
            return true;
        }
    }
    return false;
}

static const struct tensor *claim(struct adapter *adapter, const char *module, const char *member)
{
    char name[NAME_BYTES];
    int length = snprintf(name, sizeof(name), "base_model.model.%s.%s.weight", module, member);
    return length < NAME_BYTES ? safetensors_claim(adapter->safetensors, name) : NULL;
}

static bool has_shape(const struct tensor *tensor, int rows, int columns)
{
    enum dtype dtype;
    return tensor->dims == 2 && tensor->shape[0] == rows && tensor->shape[1] == columns &&
           tensor_dtype(tensor, DTYPE_F32, DTYPE_F16, &dtype);
}

bool adapter_find(struct adapter *adapter, const char *name, int rows, int columns,
                  struct adapter_pair *pair_out, struct error *error)
{
    const struct tensor *a = claim(adapter, name, "lora_A");
    const struct tensor *b = claim(adapter, name, "lora_B");
    double rank = by_pattern(adapter, "rank_pattern", name, adapter->rank);
    *pair_out = (struct adapter_pair){0};
    if (a == NULL && b == NULL && !is_target(adapter, name)) {
        return true;
    }
    if (a == NULL || b == NULL) {
        return error_set(error, ERROR_CONFIG, "invalid_weights", NULL,
                         "adapter tensor base_model.model.%s.%s.weight is missing", name,
                         a == NULL ? "lora_A" : "lora_B");
    }
    if (!(rank <= RANK_MAX) || rank != floor(rank) || !has_shape(a, (int)rank, columns) ||
        !has_shape(b, rows, (int)rank)) {
        return error_set(error, ERROR_CONFIG, "invalid_weights", NULL,
                         "the adapter's pair of %s must be [%g, %d] and [%d, %g] in F32, BF16 or "
                         "F16",
                         name, rank, columns, rows, rank);
    }
    double alpha = by_pattern(adapter, "alpha_pattern", name, adapter->alpha);
    *pair_out =
        (struct adapter_pair){.a = a,
                              .b = b,
                              .rows = rows,
                              .columns = columns,
                              .rank = (int)rank,
                              .scale = alpha / (adapter->is_rank_stabilized ? sqrt(rank) : rank)};
    return true;
}

/* As f32, malloc'ed. */
static float *take_floats(const struct tensor *tensor, size_t count)
{
    enum dtype dtype = DTYPE_F32;
    float *values = calloc(count, sizeof(float));
    if (values != NULL && tensor_dtype(tensor, DTYPE_F32, DTYPE_F16, &dtype)) {
        dtype_to_f32(values, tensor->data, dtype, count);
    }
    return values;
}

bool adapter_load_into(const struct adapter_pair *pair, float *values, struct error *error)
{
    size_t columns = (size_t)pair->columns;
    size_t rank = (size_t)pair->rank;
    float *a = take_floats(pair->a, rank * columns);
    float *b = take_floats(pair->b, (size_t)pair->rows * rank);
    float *sum = malloc(columns * sizeof(float));
    bool is_ok = a != NULL && b != NULL && sum != NULL;
    for (size_t r = 0; is_ok && r < (size_t)pair->rows; r++) {
        float *row = values + r * columns;
        memset(sum, 0, columns * sizeof(float));
        for (size_t k = 0; k < rank; k++) {
            float factor = b[r * rank + k];
            for (size_t c = 0; c < columns; c++) {
                sum[c] += factor * a[k * columns + c];
            }
        }
        for (size_t c = 0; c < columns; c++) {
            row[c] += (float)pair->scale * sum[c];
        }
    }
    free(a);
    free(b);
    free(sum);
    return is_ok || error_set(error, ERROR_FATAL, NULL, NULL, "out of memory for the adapter");
}

bool adapter_check_surplus(const struct adapter *adapter, struct error *error)
{
    size_t count = 0;
    const struct tensor *tensor = safetensors_unclaimed(adapter->safetensors, &count);
    return tensor == NULL ||
           error_set(error, ERROR_CONFIG, "invalid_weights", NULL,
                     "the model has no place for adapter tensor %s (%zu such tensors)",
                     tensor->name, count);
}

static int hash_bytes(const char *bytes, size_t count, void *state)
{
    return XXH3_64bits_update(state, bytes, count) == XXH_OK ? 0 : -1;
}

uint64_t adapter_hash(const struct adapter *adapter)
{
    XXH3_state_t state;
    (void)XXH3_64bits_reset_withSeed(&state, safetensors_hash(adapter->safetensors));
    (void)json_dump_callback(adapter->config, hash_bytes, &state, JSON_SORT_KEYS | JSON_COMPACT);
    return XXH3_64bits_digest(&state);
}
