/* model_config: from config.json to the fields that the forward pass follows.
 *
 * Two spellings are read: rope_theta, rope_scaling and torch_dtype, and the newer rope_parameters
 * and dtype. What would change the numbers and is not done here is refused by its name.
 */
#include "pipeline/model/model_config.h"

#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "pipeline/model/model_json.h"

static const char file[] = "config.json";
enum { CONFIG_BYTES_MAX = 1 << 20 };

/* What an architecture implies and does not write down. */
struct family {
    const char *architecture;
    bool has_qkv_bias;
    bool may_have_attention_bias; // reads attention_bias
    bool may_have_mlp_bias;       // reads mlp_bias
    bool has_qk_norm;
    bool is_qk_norm_whole;
    bool norms_results;
    bool uses_window;                    // unless use_sliding_window says otherwise
    const struct expert_family *experts; // NULL: no mixture layers
    bool is_latent;
    bool may_be_split; // rope_interleave is read, where it is latent; else it is true
    bool is_encoder;
    int positions_first; // of an encoder's table of positions
};

static const struct family families[] = {
    {.architecture = "LlamaForCausalLM",
     .may_have_attention_bias = true,
     .may_have_mlp_bias = true},
    {.architecture = "MistralForCausalLM", .uses_window = true},
    {.architecture = "MixtralForCausalLM", .uses_window = true, .experts = &expert_family_mixtral},
    {.architecture = "Qwen2ForCausalLM", .has_qkv_bias = true},
    {.architecture = "Qwen3ForCausalLM", .may_have_attention_bias = true, .has_qk_norm = true},
    {.architecture = "Qwen3MoeForCausalLM",
     .may_have_attention_bias = true,
     .has_qk_norm = true,
     .experts = &expert_family_qwen3},
    {.architecture = "Olmo2ForCausalLM",
     .may_have_attention_bias = true,
     .has_qk_norm = true,
     .is_qk_norm_whole = true,
     .norms_results = true},
    {.architecture = "DeepseekV2ForCausalLM",
     .is_latent = true,
     .experts = &expert_family_deepseek_v2},
    {.architecture = "DeepseekV3ForCausalLM",
     .is_latent = true,
     .may_be_split = true,
     .experts = &expert_family_deepseek_v3},
    {.architecture = "BertModel", .is_encoder = true},
    {.architecture = "BertForMaskedLM", .is_encoder = true},
    {.architecture = "RobertaModel", .is_encoder = true, .positions_first = 2},
    {.architecture = "RobertaForMaskedLM", .is_encoder = true, .positions_first = 2},
    {.architecture = "XLMRobertaModel", .is_encoder = true, .positions_first = 2},
};

static const struct family *find_family(const json_t *root, struct error *error)
{
    const json_t *architectures = json_object_get(root, "architectures");
    const char *name = json_string_value(json_array_get(architectures, 0));
    if (name == NULL) {
        (void)error_set(error, ERROR_CONFIG, NULL, NULL, "%s: architectures names no model", file);
        return NULL;
    }
    for (size_t i = 0; i < sizeof(families) / sizeof(families[0]); i++) {
        if (strcmp(families[i].architecture, name) == 0) {
            return &families[i];
        }
    }
    (void)model_json_refuse(file, "architecture", name, error);
    return NULL;
}

struct size_field {
    const char *name;
    int most;
    int *value;
};

static bool read_sizes(const json_t *root, struct model_config *config, struct error *error)
{
    const struct size_field fields[] = {
        {"vocab_size", 1 << 22, &config->vocabulary},
        {"hidden_size", 1 << 16, &config->hidden},
        {"intermediate_size", 1 << 18, &config->intermediate},
        {"num_hidden_layers", LAYERS_MAX, &config->layers},
        {"num_attention_heads", 1 << 10, &config->heads},
        {"max_position_embeddings", 1 << 24, &config->context},
    };
    for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
        struct int_field field = {file, fields[i].name, 1, fields[i].most};
        if (!model_json_int(root, &field, true, fields[i].value, error)) {
            return false;
        }
    }
    return true;
}

static bool read_heads(const json_t *root, struct model_config *config, struct error *error)
{
    config->kv_heads = config->heads;
    struct int_field kv_heads = {file, "num_key_value_heads", 1, config->heads};
    struct int_field head_dim = {file, "head_dim", 2, 512};
    return model_json_int(root, &kv_heads, false, &config->kv_heads, error) &&
           model_json_int(root, &head_dim, false, &config->head_dim, error);
}

static bool check_heads(struct model_config *config, struct error *error)
{
    if (config->head_dim == 0) {
        if (config->hidden % config->heads != 0) {
            return error_set(error, ERROR_CONFIG, NULL, NULL,
                             "%s: hidden_size %d is no multiple of num_attention_heads %d and "
                             "head_dim is missing",
                             file, config->hidden, config->heads);
        }
        config->head_dim = config->hidden / config->heads;
    }
    if (config->head_dim % 2 != 0 || config->head_dim > 512) {
        return error_set(error, ERROR_CONFIG, NULL, NULL,
                         "%s: head_dim is %d, must be even and at most 512", file,
                         config->head_dim);
    }
    if (config->heads % config->kv_heads != 0) {
        return error_set(error, ERROR_CONFIG, NULL, NULL,
                         "%s: num_attention_heads %d is no multiple of num_key_value_heads %d",
                         file, config->heads, config->kv_heads);
    }
    return true;
}

/* Seen from the cache there is one key-value head. */
static bool read_latent(const json_t *root, const struct family *family,
                        struct model_config *config, struct error *error)
{
    struct latent_config *latent = &config->latent;
    const struct int_field q_rank = {file, "q_lora_rank", 1, 1 << 16};
    const struct int_field kv_rank = {file, "kv_lora_rank", 1, 512};
    const struct int_field plain = {file, "qk_nope_head_dim", 1, 512};
    const struct int_field rotated = {file, "qk_rope_head_dim", 2, 128};
    const struct int_field value_dim = {file, "v_head_dim", 1, 512};
    latent->is_interleaved = true;
    if (!model_json_int(root, &q_rank, false, &latent->q_rank, error) ||
        !model_json_int(root, &kv_rank, true, &latent->kv_rank, error) ||
        !model_json_int(root, &plain, true, &latent->plain, error) ||
        !model_json_int(root, &rotated, true, &latent->rotated, error) ||
        !model_json_int(root, &value_dim, true, &latent->value_dim, error) ||
        (family->may_be_split &&
         !model_json_bool(root, file, "rope_interleave", &latent->is_interleaved, error))) {
        return false;
    }
    if (latent->rotated % 2 != 0 || (latent->kv_rank + latent->rotated) % 2 != 0) {
        return error_set(error, ERROR_CONFIG, NULL, NULL,
                         "%s: qk_rope_head_dim %d and kv_lora_rank %d must be even", file,
                         latent->rotated, latent->kv_rank);
    }
    config->kv_heads = 1;
    config->head_dim = latent->kv_rank + latent->rotated;
    return true;
}

static bool read_dtype(const json_t *root, struct model_config *config, struct error *error)
{
    static const char *const names[] = {"float32", "bfloat16", "float16"}; // as enum dtype
    const json_t *value = json_object_get(root, "dtype");
    if (!json_is_string(value)) {
        value = json_object_get(root, "torch_dtype");
    }
    if (!json_is_string(value)) {
        config->dtype = DTYPE_F32;
        return true;
    }
    for (int i = 0; i < 3; i++) {
        if (strcmp(json_string_value(value), names[i]) == 0) {
            config->dtype = (enum dtype)i;
            return true;
        }
    }
    return model_json_refuse(file, "dtype", json_string_value(value), error);
}

/* Which layers are windowed: listed one by one, or those from max_window_layers on, or all. */
static bool read_window_layers(const json_t *root, struct model_config *config, struct error *error)
{
    const json_t *types = json_object_get(root, "layer_types");
    int first = 0;
    const struct int_field from = {file, "max_window_layers", 0, INT_MAX};
    if (!json_is_array(types)) {
        if (!model_json_int(root, &from, false, &first, error)) {
            return false;
        }
        for (int i = first; i < config->layers; i++) {
            config->has_window[i] = true;
        }
        return true;
    }
    if (json_array_size(types) != (size_t)config->layers) {
        return error_set(error, ERROR_CONFIG, NULL, NULL,
                         "%s: layer_types has %zu entries, must have one for each of %d layers",
                         file, json_array_size(types), config->layers);
    }
    for (int i = 0; i < config->layers; i++) {
        const char *type = json_string_value(json_array_get(types, (size_t)i));
        config->has_window[i] = type != NULL && strcmp(type, "sliding_attention") == 0;
        if (!config->has_window[i] && (type == NULL || strcmp(type, "full_attention") != 0)) {
            return model_json_refuse(file, "layer type", type == NULL ? "that is no text" : type,
                                     error);
        }
    }
    return true;
}

/* A window is nothing where no two positions are further apart. */
static bool read_window(const json_t *root, const struct family *family,
                        struct model_config *config, struct error *error)
{
    bool is_used = family->uses_window;
    int window = 0;
    const struct int_field field = {file, "sliding_window", 1, INT_MAX};
    if (!model_json_bool(root, file, "use_sliding_window", &is_used, error) ||
        !model_json_int(root, &field, false, &window, error) ||
        !read_window_layers(root, config, error)) {
        return false;
    }
    config->window = is_used && window > 0 && window < config->context ? window : 0;
    for (int i = 0; i < config->layers; i++) {
        config->has_window[i] = config->has_window[i] && config->window > 0;
    }
    return true;
}

static bool check_activation(const json_t *root, struct error *error)
{
    const json_t *activation = json_object_get(root, "hidden_act");
    if (json_is_string(activation) && strcmp(json_string_value(activation), "silu") != 0) {
        return model_json_refuse(file, "hidden_act", json_string_value(activation), error);
    }
    return true;
}

static bool add_stop_token(const json_t *value, struct model_config *config, const char *from,
                           struct error *error)
{
    json_int_t token = json_integer_value(value);
    if (!json_is_integer(value) || token < 0 || token >= config->vocabulary) {
        return error_set(error, ERROR_CONFIG, NULL, NULL,
                         "%s: eos_token_id must hold token ids below vocab_size %d", from,
                         config->vocabulary);
    }
    for (int i = 0; i < config->stop_tokens_count; i++) {
        if (config->stop_tokens[i] == token) {
            return true;
        }
    }
    if (config->stop_tokens_count == STOP_TOKENS_MAX) {
        return error_set(error, ERROR_CONFIG, NULL, NULL, "%s: more than %d stop tokens", from,
                         STOP_TOKENS_MAX);
    }
    config->stop_tokens[config->stop_tokens_count++] = (int32_t)token;
    return true;
}

static bool read_stop_tokens(const json_t *root, struct model_config *config, const char *from,
                             struct error *error)
{
    const json_t *value = json_object_get(root, "eos_token_id");
    if (value == NULL || json_is_null(value)) {
        return true;
    }
    if (!json_is_array(value)) {
        return add_stop_token(value, config, from, error);
    }
    for (size_t i = 0; i < json_array_size(value); i++) {
        if (!add_stop_token(json_array_get(value, i), config, from, error)) {
            return false;
        }
    }
    return true;
}

static bool read_sampling(const json_t *root, const char *from, struct sampling_defaults *sampling,
                          struct error *error)
{
    const struct number_field temperature = {from, "temperature", 0, 100};
    const struct number_field top_p = {from, "top_p", 0, 1};
    const struct int_field top_k = {from, "top_k", -1, INT_MAX};
    const struct number_field min_p = {from, "min_p", 0, 1};
    const struct number_field repetition = {from, "repetition_penalty", 1e-3, 10};
    bool samples = true;
    if (!model_json_number(root, &temperature, false, &sampling->temperature, error) ||
        !model_json_number(root, &top_p, false, &sampling->top_p, error) ||
        !model_json_int(root, &top_k, false, &sampling->top_k, error) ||
        !model_json_number(root, &min_p, false, &sampling->min_p, error) ||
        !model_json_number(root, &repetition, false, &sampling->repetition_penalty, error) ||
        !model_json_bool(root, from, "do_sample", &samples, error)) {
        return false;
    }
    sampling->top_k = sampling->top_k < 0 ? 0 : sampling->top_k;
    sampling->temperature = samples ? sampling->temperature : 0;
    return true;
}

static bool read_biases(const json_t *root, const struct family *family,
                        struct model_config *config, struct error *error)
{
    bool has_bias = false;
    if ((family->may_have_attention_bias &&
         !model_json_bool(root, file, "attention_bias", &has_bias, error)) ||
        (family->may_have_mlp_bias &&
         !model_json_bool(root, file, "mlp_bias", &config->has_mlp_bias, error))) {
        return false;
    }
    config->has_qkv_bias = family->has_qkv_bias || has_bias;
    config->has_output_bias = has_bias;
    return true;
}

/* What an encoder has otherwise than a model that generates. */
static bool read_encoder(const char *path, const json_t *root, const struct family *family,
                         struct model_config *config, struct error *error)
{
    const struct number_field epsilon = {file, "layer_norm_eps", 0, 1};
    (void)snprintf(config->architecture, sizeof config->architecture, "%s", family->architecture);
    config->norm_epsilon = 1e-12;
    config->bos_token = -1;
    config->has_qkv_bias = true;
    config->has_output_bias = true;
    config->has_mlp_bias = true;
    config->encoder.positions_first = family->positions_first;
    return read_heads(root, config, error) && check_heads(config, error) &&
           model_json_number(root, &epsilon, false, &config->norm_epsilon, error) &&
           read_dtype(root, config, error) &&
           encoder_config_read(path, root, file, &config->encoder, &config->context, error);
}

static bool read_config(const char *path, const json_t *root, struct model_config *config,
                        struct error *error)
{
    const struct family *family = find_family(root, error);
    if (family == NULL || !read_sizes(root, config, error)) {
        return false;
    }
    if (family->is_encoder) {
        return read_encoder(path, root, family, config, error);
    }
    if (family->is_latent ? !read_latent(root, family, config, error)
                          : !read_heads(root, config, error) || !check_heads(config, error)) {
        return false;
    }
    (void)snprintf(config->architecture, sizeof config->architecture, "%s", family->architecture);
    const struct int_field prediction = {file, "num_nextn_predict_layers", 0, LAYERS_MAX};
    if (!model_json_int(root, &prediction, false, &config->prediction_layers, error) ||
        !read_biases(root, family, config, error) ||
        !experts_config_read(root, file, family->experts, &config->experts, error)) {
        return false;
    }
    config->has_qk_norm = family->has_qk_norm;
    config->is_qk_norm_whole = family->is_qk_norm_whole;
    config->norms_results = family->norms_results;
    const struct number_field epsilon = {file, "rms_norm_eps", 0, 1};
    const struct int_field bos = {file, "bos_token_id", -1, config->vocabulary - 1};
    config->norm_epsilon = 1e-6;
    config->bos_token = -1;
    return model_json_number(root, &epsilon, false, &config->norm_epsilon, error) &&
           model_json_bool(root, file, "tie_word_embeddings", &config->ties_embeddings, error) &&
           model_json_int(root, &bos, false, &config->bos_token, error) &&
           read_dtype(root, config, error) &&
           rope_config_read(root, file, config->context, &config->rope, error) &&
           check_activation(root, error) &&
           quantization_read(root, file, &config->quantization, error) &&
           read_window(root, family, config, error) && read_stop_tokens(root, config, file, error);
}

bool model_config_load(const char *path, struct model_config *config_out, struct error *error)
{
    struct model_config config = {
        .sampling = {.temperature = 1, .top_p = 1, .repetition_penalty = 1}};
    json_t *root = NULL;
    json_t *generation = NULL;
    static const char generation_file[] = "generation_config.json";
    bool is_ok = model_json_load(path, file, CONFIG_BYTES_MAX, &root, error) &&
                 read_config(path, root, &config, error);
    if (is_ok && !config.encoder.is_encoder && model_json_exists(path, generation_file)) {
        is_ok = model_json_load(path, generation_file, CONFIG_BYTES_MAX, &generation, error) &&
                read_stop_tokens(generation, &config, generation_file, error) &&
                read_sampling(generation, generation_file, &config.sampling, error);
    }
    json_decref(root);
    json_decref(generation);
    if (is_ok) {
        *config_out = config;
    }
    return is_ok;
}

bool model_config_has_experts(const struct model_config *config, int layer)
{
    return config->experts.routing.experts > 0 && layer >= config->experts.first_layer;
}

int model_config_rotated(const struct model_config *config)
{
    return config->latent.kv_rank > 0 ? config->latent.rotated : config->head_dim;
}

int model_config_attended(const struct model_config *config)
{
    return config->heads *
           (config->latent.kv_rank > 0 ? config->latent.value_dim : config->head_dim);
}

float model_config_scale(const struct model_config *config)
{
    const struct latent_config *latent = &config->latent;
    if (latent->kv_rank == 0) {
        return 1.0f / sqrtf((float)config->head_dim);
    }
    double dims = latent->plain + latent->rotated;
    return (float)(config->rope.score_factor / sqrt(dims));
}
