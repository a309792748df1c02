/* model: opening, memory and results; forward.c has the layers. */
#include "pipeline/model/model.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "pipeline/model/model_internal.h"
#include "pipeline/model/safetensors.h"
#include "schemas/base/check.h"

bool model_check(enum kernel_status status, const char *operation, struct error *error)
{
    if (status == KERNEL_OK) {
        return true;
    }
    // Whatever else fails may fail for one request alone, or for now.
    bool is_lost = status == KERNEL_DEVICE_LOST || status == KERNEL_NO_DEVICE;
    return error_set(error, is_lost ? ERROR_FATAL : ERROR_INTERNAL,
                     is_lost ? "device_lost" : "backend_failed", NULL, "%s: %s", operation,
                     kernel_status_text(status));
}

static bool open_frequencies(struct model *model, struct error *error)
{
    size_t bytes = (size_t)model_config_rotated(&model->config) / 2 * sizeof(float);
    float *frequencies = malloc(bytes);
    if (frequencies == NULL) {
        return model_check(KERNEL_OUT_OF_MEMORY, "rope frequencies", error);
    }
    rope_config_frequencies(&model->config.rope, model_config_rotated(&model->config), frequencies);
    struct backend *backend = model->backend;
    bool is_ok =
        model_check(backend->ops->buffer_open(backend, bytes, &model->frequencies),
                    "rope frequencies", error) &&
        model_check(backend->ops->copy_in(backend, model->frequencies, 0, frequencies, bytes),
                    "rope frequencies", error);
    free(frequencies);
    return is_ok;
}

static uint64_t hash_of(const struct loader *loader)
{
    uint64_t hash = safetensors_hash(loader->safetensors);
    return loader->adapter == NULL ? hash : hash * 31 + adapter_hash(loader->adapter);
}

static bool open_weights(const char *path, const struct model_options *options, struct model *model,
                         struct error *error)
{
    struct loader loader = {.config = &model->config,
                            .format = model->format,
                            .backend = model->backend,
                            .progress = options->progress,
                            .bytes = &model->weights_bytes,
                            .error = error};
    bool is_ok =
        (options->adapter == NULL || adapter_open(options->adapter, &loader.adapter, error)) &&
        safetensors_open(path, &loader.safetensors, error) &&
        weights_open(&loader, &model->weights);
    model->weights_hash = is_ok ? hash_of(&loader) : 0;
    safetensors_close(loader.safetensors);
    adapter_close(loader.adapter);
    return is_ok;
}

bool model_open(const char *path, struct backend *backend, const struct model_options *options,
                struct model **model_out, struct error *error)
{
    CHECK(options->block_tokens > 0);
    struct model *model = calloc(1, sizeof(*model));
    if (model == NULL) {
        return model_check(KERNEL_OUT_OF_MEMORY, "model", error);
    }
    model->backend = backend;
    model->block_tokens = options->block_tokens;
    model->format = options->weights;
    model->kv_format = options->kv_format;
    if (!model_config_load(path, &model->config, error) ||
        !model_check(backend->ops->weight_format(backend, &model->format), "weight format",
                     error) ||
        !model_check(backend->ops->kv_format(backend, model->format, &model->kv_format),
                     "kv cache format", error) ||
        !open_weights(path, options, model, error) ||
        (!model->config.encoder.is_encoder && !open_frequencies(model, error))) {
        model_close(model);
        return false;
    }
    *model_out = model;
    return true;
}

static void close_buffers(struct model *model)
{
    struct backend *backend = model->backend;
    struct step_buffers *buffers = &model->buffers;
    struct device_buffer *const all[] = {
        buffers->residual,       buffers->normed,           buffers->qkv,
        buffers->attended,       buffers->projected,        buffers->gate_up,
        buffers->activated,      buffers->rotations,        buffers->logits,
        buffers->tokens,         buffers->kept_residual,    buffers->kept_attended,
        buffers->logprobs,       buffers->q_down,           buffers->q_normed,
        buffers->latent_q,       buffers->latent_keys,      buffers->latent_attended,
        buffers->slots.rows,     buffers->slots.slots,      buffers->slots.weights,
        buffers->slots.starts,   buffers->router_logits,    buffers->expert_input,
        buffers->expert_gate_up, buffers->expert_activated, buffers->expert_output,
    };
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        backend->ops->buffer_close(backend, all[i]);
    }
    *buffers = (struct step_buffers){0};
}

void model_close(struct model *model)
{
    if (model == NULL) {
        return;
    }
    struct backend *backend = model->backend;
    close_buffers(model);
    backend->ops->buffer_close(backend, model->arrays);
    for (int i = 0; model->kv != NULL && i < model->config.layers; i++) {
        backend->ops->buffer_close(backend, model->kv[i]);
    }
    backend->ops->buffer_close(backend, model->frequencies);
    weights_close(model->weights);
    free(model->kv);
    free(model->staging);
    free(model->states);
    free(model);
}

const struct model_config *model_get_config(const struct model *model)
{
    return &model->config;
}

enum weight_format model_weights(const struct model *model)
{
    return model->format;
}

enum kv_format model_kv_format(const struct model *model)
{
    return model->kv_format;
}

size_t model_weights_bytes(const struct model *model)
{
    return model->weights_bytes;
}

int model_kv_blocks(const struct model *model)
{
    return model->blocks_count;
}

int model_block_tokens(const struct model *model)
{
    return model->block_tokens;
}

uint64_t model_weights_hash(const struct model *model)
{
    return model->weights_hash;
}

size_t model_kv_block_bytes(const struct model *model)
{
    struct attention_shape shape = model_shape(model);
    return (size_t)model->config.layers *
           model->backend->ops->kv_block_bytes(model->backend, &shape);
}

bool model_kv_open(struct model *model, int blocks_count, struct error *error)
{
    CHECK(model->kv == NULL && blocks_count > 0);
    struct backend *backend = model->backend;
    size_t layers = (size_t)model->config.layers;
    size_t bytes = 0;
    if (__builtin_mul_overflow(model_kv_block_bytes(model) / layers, (size_t)blocks_count,
                               &bytes)) {
        return model_check(KERNEL_OUT_OF_MEMORY, "kv cache", error);
    }
    model->kv = calloc(layers, sizeof(struct device_buffer *));
    if (model->kv == NULL) {
        return model_check(KERNEL_OUT_OF_MEMORY, "kv cache", error);
    }
    for (size_t i = 0; i < layers; i++) {
        if (!model_check(backend->ops->buffer_open(backend, bytes, &model->kv[i]), "kv cache",
                         error)) {
            return false; // model_close gives back what is there
        }
    }
    model->blocks_count = blocks_count;
    return true;
}

bool model_arrays_reserve(struct model *model, size_t count, struct error *error)
{
    if (count <= model->arrays_capacity) {
        return true;
    }
    struct backend *backend = model->backend;
    struct device_buffer *arrays = NULL;
    size_t capacity = count + count / 2;
    int32_t *staging = realloc(model->staging, capacity * sizeof(*staging));
    if (staging == NULL) {
        return model_check(KERNEL_OUT_OF_MEMORY, "step arrays", error);
    }
    model->staging = staging;
    if (!model_check(backend->ops->buffer_open(backend, capacity * sizeof(*staging), &arrays),
                     "step arrays", error)) {
        return false;
    }
    backend->ops->buffer_close(backend, model->arrays);
    model->arrays = arrays;
    model->arrays_capacity = capacity;
    return true;
}

struct buffer_size {
    struct device_buffer **buffer;
    int rows;
    int width;
    size_t element_bytes;
};

/* Where an encoder's states are pooled. */
static bool open_states(struct model *model, int rows_max, struct error *error)
{
    free(model->states);
    model->states = NULL;
    if (!model->config.encoder.is_encoder) {
        return true;
    }
    model->states = calloc((size_t)rows_max * (size_t)model->config.hidden, sizeof(float));
    return model->states != NULL || model_check(KERNEL_OUT_OF_MEMORY, "memory of a step", error);
}

bool model_step_open(struct model *model, int rows_max, int logit_rows_max, struct error *error)
{
    CHECK(rows_max > 0 && logit_rows_max > 0);
    const struct model_config *config = &model->config;
    struct step_buffers *b = &model->buffers;
    struct backend *backend = model->backend;
    const struct latent_config *latent = &config->latent;
    bool is_latent = latent->kv_rank > 0;
    int attended = model_config_attended(config);
    int qkv = (config->heads + (is_latent ? 0 : 2 * config->kv_heads)) * config->head_dim;
    int intermediate = config->intermediate > config->experts.shared ? config->intermediate
                                                                     : config->experts.shared;
    int latent_q = is_latent ? config->heads * (latent->plain + latent->rotated) : 0;
    size_t activation = backend->activation_bytes;
    int experts = config->experts.routing.experts;
    int top_k = config->experts.routing.top_k;
    int kept_max = config->encoder.is_encoder ? 0 : logit_rows_max;
    int width = config->experts.intermediate;
    const struct buffer_size sizes[] = {
        {&b->residual, rows_max, config->hidden, activation},
        {&b->normed, rows_max, config->hidden, activation},
        {&b->qkv, rows_max, qkv, activation},
        {&b->attended, rows_max, attended, activation},
        {&b->projected, rows_max, config->hidden, activation},
        {&b->gate_up, rows_max, 2 * intermediate, activation},
        {&b->activated, rows_max, intermediate, activation},
        {&b->rotations, rows_max, model_config_rotated(config), sizeof(float)},
        {&b->q_down, rows_max, latent->q_rank, activation},
        {&b->q_normed, rows_max, latent->q_rank, activation},
        {&b->latent_q, rows_max, latent_q, activation},
        {&b->latent_keys, rows_max, is_latent ? config->head_dim : 0, activation},
        {&b->latent_attended, rows_max, config->heads * latent->kv_rank, activation},
        {&b->kept_residual, kept_max, config->hidden, activation},
        {&b->kept_attended, kept_max, attended, activation},
        {&b->logits, kept_max, config->vocabulary, sizeof(float)},
        {&b->tokens, logit_rows_max, 1, sizeof(int32_t)},
        {&b->logprobs, logit_rows_max, 1, sizeof(float)},
        {&b->slots.rows, rows_max, top_k, sizeof(int32_t)},
        {&b->slots.slots, rows_max, top_k, sizeof(int32_t)},
        {&b->slots.weights, rows_max, top_k, sizeof(float)},
        {&b->slots.starts, experts + 1, 1, sizeof(int32_t)},
        {&b->router_logits, rows_max, experts, sizeof(float)},
        {&b->expert_input, rows_max, top_k * config->hidden, activation},
        {&b->expert_gate_up, rows_max, top_k * 2 * width, activation},
        {&b->expert_activated, rows_max, top_k * width, activation},
        {&b->expert_output, rows_max, top_k * config->hidden, activation},
    };
    close_buffers(model);
    model->rows_max = 0; // until all of it is there
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        size_t bytes = (size_t)sizes[i].rows * (size_t)sizes[i].width * sizes[i].element_bytes;
        if (!model_check(backend->ops->buffer_open(backend, bytes, sizes[i].buffer),
                         "memory of a step", error)) {
            return false;
        }
    }
    if (!open_states(model, rows_max, error)) {
        return false;
    }
    model->rows_max = rows_max;
    model->logit_rows_max = logit_rows_max;
    // Tokens, positions, row starts and logit rows, and tables of a few blocks for each row.
    return model_arrays_reserve(model, (size_t)rows_max * 8 + (size_t)logit_rows_max, error);
}

bool model_logits(struct model *model, float *logits_out, struct error *error)
{
    struct backend *backend = model->backend;
    size_t bytes = (size_t)model->logits_count * (size_t)model->config.vocabulary * sizeof(float);
    return model_check(backend->ops->copy_out(backend, logits_out, model->buffers.logits, 0, bytes),
                       "logits", error);
}

bool model_sample(struct model *model, const struct sample_params *params, int32_t *tokens_out,
                  float *logprobs_out, struct error *error)
{
    struct backend *backend = model->backend;
    struct step_buffers *buffers = &model->buffers;
    struct sample_args args = {
        .logits = buffers->logits,
        .rows = model->logits_count,
        .vocabulary = model->config.vocabulary,
        .params = params,
        .tokens = buffers->tokens,
        .logprobs = logprobs_out == NULL ? NULL : buffers->logprobs,
    };
    size_t count = (size_t)model->logits_count;
    if (!model_check(backend->ops->sample(backend, &args), "sample", error) ||
        !model_check(backend->ops->copy_out(backend, tokens_out, buffers->tokens, 0,
                                            count * sizeof(int32_t)),
                     "sample", error)) {
        return false;
    }
    return logprobs_out == NULL ||
           model_check(backend->ops->copy_out(backend, logprobs_out, buffers->logprobs, 0,
                                              count * sizeof(float)),
                       "sample", error);
}
