/* weights: names and shapes of the Llama layout, and the way from file to backend. */
#include "pipeline/model/weights.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "schemas/base/check.h"

enum { NAME_BYTES = 128, PARTS_MAX = 3 };

struct loader {
    const struct model_config *config;
    enum weight_format format;
    struct backend *backend;
    struct safetensors *safetensors;
    struct error *error;
};

/* One matrix of the model: where it is and what shape it must have. */
struct part_spec {
    const char *name; // after the layer's prefix: "self_attn.q_proj"
    int rows;
    bool has_bias;
};

static bool backend_failed(const struct loader *loader, const char *name, enum kernel_status status)
{
    return error_set(loader->error, status == KERNEL_OUT_OF_MEMORY ? ERROR_FATAL : ERROR_CONFIG,
                     NULL, NULL, "cannot load %s: %s", name, kernel_status_text(status));
}

static bool read_dtype(const struct tensor *tensor, enum dtype *dtype_out)
{
    for (enum dtype dtype = DTYPE_F32; dtype <= DTYPE_F16; dtype++) {
        if (strcmp(tensor->dtype, dtype_name(dtype)) == 0) {
            *dtype_out = dtype;
            return true;
        }
    }
    return false;
}

/* Finds `name` with the shape [rows] (columns 0) or [rows, columns]. */
static bool find(const struct loader *loader, const char *name, int rows, int columns,
                 const void **data_out, enum dtype *dtype_out)
{
    const struct tensor *tensor = safetensors_claim(loader->safetensors, name);
    if (tensor == NULL) {
        return error_set(loader->error, ERROR_CONFIG, "invalid_weights", NULL,
                         "tensor %s is missing", name);
    }
    int dims = columns == 0 ? 1 : 2;
    if (tensor->dims != dims || tensor->shape[0] != rows ||
        (dims == 2 && tensor->shape[1] != columns)) {
        return error_set(loader->error, ERROR_CONFIG, "invalid_weights", NULL,
                         "tensor %s has %d dimensions [%lld, %lld], config.json calls for "
                         "[%d, %d]",
                         name, tensor->dims, (long long)tensor->shape[0],
                         (long long)tensor->shape[1], rows, columns);
    }
    if (!read_dtype(tensor, dtype_out)) {
        return error_set(loader->error, ERROR_CONFIG, "invalid_weights", NULL,
                         "tensor %s has dtype %s, must be F32, BF16 or F16", name, tensor->dtype);
    }
    *data_out = tensor->data;
    return true;
}

static bool load_vector(const struct loader *loader, const char *name, int width,
                        struct device_buffer **buffer_out)
{
    struct weight_part part = {.rows = 1};
    if (!find(loader, name, width, 0, &part.data, &part.dtype)) {
        return false;
    }
    size_t bytes = (size_t)width * sizeof(float);
    float *values = malloc(bytes);
    if (values == NULL) {
        return backend_failed(loader, name, KERNEL_OUT_OF_MEMORY);
    }
    dtype_to_f32(values, part.data, part.dtype, (size_t)width);
    const struct backend_operations *ops = loader->backend->ops;
    enum kernel_status status = ops->buffer_open(loader->backend, bytes, buffer_out);
    if (status == KERNEL_OK) {
        status = ops->copy_in(loader->backend, *buffer_out, 0, values, bytes);
    }
    free(values);
    return status == KERNEL_OK || backend_failed(loader, name, status);
}

static bool find_part(const struct loader *loader, const char *prefix, const struct part_spec *spec,
                      int columns, struct weight_part *part_out)
{
    char name[NAME_BYTES];
    (void)snprintf(name, sizeof(name), "%s%s.weight", prefix, spec->name);
    *part_out = (struct weight_part){.rows = spec->rows};
    if (!find(loader, name, spec->rows, columns, &part_out->data, &part_out->dtype)) {
        return false;
    }
    if (!spec->has_bias) {
        return true;
    }
    (void)snprintf(name, sizeof(name), "%s%s.bias", prefix, spec->name);
    return find(loader, name, spec->rows, 0, &part_out->bias, &part_out->bias_dtype);
}

/* Stacks up to PARTS_MAX matrices of the same width into one weight. */
static bool load_weight(const struct loader *loader, const char *prefix,
                        const struct part_spec *specs, int specs_count, int columns,
                        struct weight **weight_out)
{
    struct weight_part parts[PARTS_MAX];
    CHECK(specs_count <= PARTS_MAX);
    for (int i = 0; i < specs_count; i++) {
        if (!find_part(loader, prefix, &specs[i], columns, &parts[i])) {
            return false;
        }
    }
    struct weight_source source = {
        .parts = parts, .parts_count = specs_count, .columns = columns, .format = loader->format};
    enum kernel_status status =
        loader->backend->ops->weight_open(loader->backend, &source, weight_out);
    return status == KERNEL_OK || backend_failed(loader, specs[0].name, status);
}

static bool load_norm(const struct loader *loader, const char *prefix, const char *norm, int width,
                      struct device_buffer **buffer_out)
{
    char name[NAME_BYTES];
    (void)snprintf(name, sizeof(name), "%s%s.weight", prefix, norm);
    return load_vector(loader, name, width, buffer_out);
}

static bool load_norms(const struct loader *loader, const char *prefix, struct layer_weights *layer)
{
    const struct model_config *config = loader->config;
    static const char post[] = "post_attention_layernorm";
    return load_norm(loader, prefix, "input_layernorm", config->hidden, &layer->input_norm) &&
           load_norm(loader, prefix, post, config->hidden, &layer->post_norm) &&
           (!config->has_qk_norm ||
            (load_norm(loader, prefix, "self_attn.q_norm", config->head_dim, &layer->q_norm) &&
             load_norm(loader, prefix, "self_attn.k_norm", config->head_dim, &layer->k_norm)));
}

/* The plain MLP. */
static bool load_mlp(const struct loader *loader, const char *prefix, struct layer_weights *layer)
{
    const struct model_config *config = loader->config;
    const struct part_spec gate_up[] = {
        {"mlp.gate_proj", config->intermediate, config->has_mlp_bias},
        {"mlp.up_proj", config->intermediate, config->has_mlp_bias}};
    const struct part_spec down = {"mlp.down_proj", config->hidden, config->has_mlp_bias};
    return load_weight(loader, prefix, gate_up, 2, config->hidden, &layer->gate_up) &&
           load_weight(loader, prefix, &down, 1, config->intermediate, &layer->down);
}

struct expert_tensors {
    const char *router;
    const char *experts;
    const char *gate;
    const char *up;
    const char *down;
};

static const struct expert_tensors expert_tensors[] = {
    [EXPERT_NAMES_MLP] = {"mlp.gate", "mlp.experts", "gate_proj", "up_proj", "down_proj"},
    [EXPERT_NAMES_SPARSE] = {"block_sparse_moe.gate", "block_sparse_moe.experts", "w1", "w3", "w2"},
};

static bool load_expert(const struct loader *loader, const char *layer_prefix, int index,
                        struct expert_weights *experts)
{
    const struct model_config *config = loader->config;
    const struct expert_tensors *names = &expert_tensors[config->experts.names];
    int width = config->experts.intermediate;
    const struct part_spec gate_up[] = {{names->gate, width, false}, {names->up, width, false}};
    const struct part_spec down = {names->down, config->hidden, false};
    char prefix[NAME_BYTES];
    (void)snprintf(prefix, sizeof(prefix), "%s%s.%d.", layer_prefix, names->experts, index);
    return load_weight(loader, prefix, gate_up, 2, config->hidden, &experts->gate_up[index]) &&
           load_weight(loader, prefix, &down, 1, width, &experts->down[index]);
}

/* The router stays in f32: its choices are discrete, and it is small. */
static bool load_experts(const struct loader *loader, const char *prefix,
                         struct expert_weights *experts)
{
    const struct model_config *config = loader->config;
    int count = config->experts.routing.experts;
    struct loader exact = *loader;
    exact.format = WEIGHTS_F32;
    const struct part_spec router = {expert_tensors[config->experts.names].router, count, false};
    experts->gate_up = calloc((size_t)count, sizeof(*experts->gate_up));
    experts->down = calloc((size_t)count, sizeof(*experts->down));
    if (experts->gate_up == NULL || experts->down == NULL) {
        return backend_failed(loader, "the list of experts", KERNEL_OUT_OF_MEMORY);
    }
    experts->count = count;
    bool is_ok = load_weight(&exact, prefix, &router, 1, config->hidden, &experts->router);
    for (int i = 0; is_ok && i < count; i++) {
        is_ok = load_expert(loader, prefix, i, experts);
    }
    return is_ok;
}

static bool load_layer(const struct loader *loader, int index, struct layer_weights *layer)
{
    const struct model_config *config = loader->config;
    int q = config->heads * config->head_dim;
    int kv = config->kv_heads * config->head_dim;
    const struct part_spec qkv[] = {{"self_attn.q_proj", q, config->has_qkv_bias},
                                    {"self_attn.k_proj", kv, config->has_qkv_bias},
                                    {"self_attn.v_proj", kv, config->has_qkv_bias}};
    const struct part_spec output = {"self_attn.o_proj", config->hidden, config->has_output_bias};
    char prefix[NAME_BYTES / 2];
    (void)snprintf(prefix, sizeof(prefix), "model.layers.%d.", index);
    return load_norms(loader, prefix, layer) &&
           load_weight(loader, prefix, qkv, 3, config->hidden, &layer->qkv) &&
           load_weight(loader, prefix, &output, 1, q, &layer->output) &&
           (model_config_has_experts(config, index) ? load_experts(loader, prefix, &layer->experts)
                                                    : load_mlp(loader, prefix, layer));
}

/* The embeddings, and the output matrix, which may be the same tensor. */
static bool load_ends(const struct loader *loader, struct weights *weights)
{
    const struct model_config *config = loader->config;
    static const char embeddings[] = "model.embed_tokens";
    struct part_spec spec = {embeddings, config->vocabulary, false};
    struct weight_part part;
    if (!find_part(loader, "", &spec, config->hidden, &part)) {
        return false;
    }
    enum kernel_status status = loader->backend->ops->table_open(
        loader->backend, &part, config->hidden, &weights->embeddings);
    if (status != KERNEL_OK) {
        return backend_failed(loader, embeddings, status);
    }
    struct part_spec head = {config->ties_embeddings ? embeddings : "lm_head", config->vocabulary,
                             false};
    return load_norm(loader, "", "model.norm", config->hidden, &weights->final_norm) &&
           load_weight(loader, "", &head, 1, config->hidden, &weights->lm_head);
}

/* Old folders hold rope's frequencies, and some a copy of tied embeddings: both can be computed. */
static void claim_redundant(const struct loader *loader)
{
    char name[NAME_BYTES];
    for (int i = 0; i < loader->config->layers; i++) {
        (void)snprintf(name, sizeof(name), "model.layers.%d.self_attn.rotary_emb.inv_freq", i);
        (void)safetensors_claim(loader->safetensors, name);
    }
    if (loader->config->ties_embeddings) {
        (void)safetensors_claim(loader->safetensors, "lm_head.weight");
    }
}

static bool check_surplus(const struct loader *loader)
{
    size_t count = 0;
    claim_redundant(loader);
    const struct tensor *tensor = safetensors_unclaimed(loader->safetensors, &count);
    return tensor == NULL || error_set(loader->error, ERROR_CONFIG, "invalid_weights", NULL,
                                       "config.json has no place for tensor %s (%zu such tensors)",
                                       tensor->name, count);
}

bool weights_open(const struct model_config *config, enum weight_format format,
                  struct backend *backend, struct safetensors *safetensors,
                  struct weights **weights_out, struct error *error)
{
    struct loader loader = {config, format, backend, safetensors, error};
    struct weights *weights = calloc(1, sizeof(*weights));
    bool is_ok = weights != NULL;
    if (is_ok) {
        weights->backend = backend;
        weights->layers = calloc((size_t)config->layers, sizeof(*weights->layers));
        weights->layers_count = weights->layers == NULL ? 0 : config->layers;
        is_ok = weights->layers != NULL;
    }
    is_ok = is_ok || backend_failed(&loader, "the list of layers", KERNEL_OUT_OF_MEMORY);
    is_ok = is_ok && load_ends(&loader, weights);
    for (int i = 0; is_ok && i < config->layers; i++) {
        is_ok = load_layer(&loader, i, &weights->layers[i]);
    }
    if (!is_ok || !check_surplus(&loader)) {
        weights_close(weights);
        return false;
    }
    *weights_out = weights;
    return true;
}

static void close_experts(struct backend *backend, struct expert_weights *experts)
{
    backend->ops->weight_close(backend, experts->router);
    for (int i = 0; i < experts->count; i++) {
        backend->ops->weight_close(backend, experts->gate_up[i]);
        backend->ops->weight_close(backend, experts->down[i]);
    }
    free(experts->gate_up);
    free(experts->down);
}

void weights_close(struct weights *weights)
{
    if (weights == NULL) {
        return;
    }
    struct backend *backend = weights->backend;
    const struct backend_operations *ops = backend->ops;
    for (int i = 0; i < weights->layers_count; i++) {
        struct layer_weights *layer = &weights->layers[i];
        ops->buffer_close(backend, layer->input_norm);
        ops->weight_close(backend, layer->qkv);
        ops->weight_close(backend, layer->output);
        ops->buffer_close(backend, layer->post_norm);
        ops->buffer_close(backend, layer->q_norm);
        ops->buffer_close(backend, layer->k_norm);
        ops->weight_close(backend, layer->gate_up);
        ops->weight_close(backend, layer->down);
        close_experts(backend, &layer->experts);
    }
    ops->buffer_close(backend, weights->embeddings);
    ops->buffer_close(backend, weights->final_norm);
    ops->weight_close(backend, weights->lm_head);
    free(weights->layers);
    free(weights);
}
