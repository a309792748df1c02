/* weights: names and shapes of the Llama layout, and the way from file to backend. */
#include "pipeline/model/weights.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pipeline/model/encoder_weights.h"
#include "pipeline/model/loader.h"
#include "pipeline/model/quantized_matrix.h"

/* The embeddings, and the output matrix, which may be the same tensor. */
static bool load_ends(const struct loader *loader, struct weights *weights)
{
    const struct model_config *config = loader->config;
    static const char embeddings[] = "model.embed_tokens";
    struct part_spec spec = {embeddings, config->vocabulary, false};
    struct loader_part part;
    if (!loader_find_part(loader, "", &spec, config->hidden, &part)) {
        return false;
    }
    bool is_loaded = loader_table(loader, embeddings, &part.part, &weights->embeddings);
    loader_part_close(&part);
    struct part_spec head = {config->ties_embeddings ? embeddings : "lm_head", config->vocabulary,
                             false};
    return is_loaded &&
           loader_vector(loader, "", "model.norm.weight", config->hidden, &weights->final_norm) &&
           loader_weight(loader, "", &head, 1, config->hidden, &weights->lm_head);
}

/* DeepSeek-V3's layers behind the last one predict further tokens, which is not done here. */
static void claim_prediction_layers(const struct loader *loader)
{
    int first = loader->config->layers;
    for (int i = first; i < first + loader->config->prediction_layers; i++) {
        char prefix[LOADER_NAME_BYTES];
        (void)snprintf(prefix, sizeof(prefix), "model.layers.%d.", i);
        safetensors_claim_all(loader->safetensors, prefix);
    }
}

/* Old folders hold rope's frequencies, and some a copy of tied embeddings: both can be computed. */
static void claim_redundant(const struct loader *loader)
{
    char name[LOADER_NAME_BYTES];
    for (int i = 0; i < loader->config->layers; i++) {
        (void)snprintf(name, sizeof(name), "model.layers.%d.self_attn.rotary_emb.inv_freq", i);
        (void)safetensors_claim(loader->safetensors, name);
    }
    if (loader->config->ties_embeddings) {
        (void)safetensors_claim(loader->safetensors, "lm_head.weight");
    }
    claim_prediction_layers(loader);
    quantized_matrix_claim_redundant(loader);
}

static bool check_surplus(const struct loader *loader)
{
    size_t count = 0;
    claim_redundant(loader);
    const struct tensor *tensor = safetensors_unclaimed(loader->safetensors, &count);
    if (tensor != NULL) {
        return error_set(loader->error, ERROR_CONFIG, "invalid_weights", NULL,
                         "config.json has no place for tensor %s (%zu such tensors)", tensor->name,
                         count);
    }
    return loader->adapter == NULL || adapter_check_surplus(loader->adapter, loader->error);
}

bool weights_open(const struct loader *loader, struct weights **weights_out)
{
    const struct model_config *config = loader->config;
    struct weights *weights = calloc(1, sizeof(*weights));
    struct layer_weights *layers = calloc((size_t)config->layers, sizeof(*layers));
    if (weights == NULL || layers == NULL) {
        free(weights);
        free(layers);
        return loader_failed(loader, "the list of layers", KERNEL_OUT_OF_MEMORY);
    }
    *weights = (struct weights){
        .backend = loader->backend, .layers = layers, .layers_count = config->layers};
    bool is_ok = config->encoder.is_encoder ? encoder_weights_load(loader, weights)
                                            : load_ends(loader, weights);
    for (int i = 0; is_ok && !config->encoder.is_encoder && i < config->layers; i++) {
        is_ok = layer_weights_load(loader, i, &weights->layers[i]);
        if (is_ok) {
            loader_layer_done(loader, i + 1);
        }
    }
    if (!is_ok || !check_surplus(loader)) {
        weights_close(weights);
        return false;
    }
    *weights_out = weights;
    return true;
}

void weights_close(struct weights *weights)
{
    if (weights == NULL) {
        return;
    }
    struct backend *backend = weights->backend;
    const struct backend_operations *ops = backend->ops;
    for (int i = 0; i < weights->layers_count; i++) {
        layer_weights_close(backend, &weights->layers[i]);
    }
    ops->buffer_close(backend, weights->embeddings);
    ops->buffer_close(backend, weights->final_norm);
    ops->weight_close(backend, weights->lm_head);
    ops->buffer_close(backend, weights->positions);
    ops->buffer_close(backend, weights->embedding_norm);
    ops->buffer_close(backend, weights->embedding_bias);
    free(weights->layers);
    free(weights);
}
