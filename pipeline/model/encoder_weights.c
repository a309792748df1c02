/* encoder_weights: names of the BERT layout. */
#include "pipeline/model/encoder_weights.h"

#include <stdio.h>
#include <stdlib.h>

enum { PREFIX_BYTES = LOADER_NAME_BYTES / 2 };

/* A model with a head keeps the encoder under a name; the bare one has none. */
static const char *find_prefix(const struct loader *loader)
{
    static const char *const prefixes[] = {"bert.", "roberta."};
    for (size_t i = 0; i < sizeof prefixes / sizeof prefixes[0]; i++) {
        char name[LOADER_NAME_BYTES];
        (void)snprintf(name, sizeof name, "%sembeddings.word_embeddings.weight", prefixes[i]);
        if (safetensors_claim(loader->safetensors, name) != NULL) {
            return prefixes[i];
        }
    }
    return "";
}

/* Old files call scale and bias gamma and beta. */
static bool load_norm(const struct loader *loader, const char *prefix, const char *name,
                      struct device_buffer **scale_out, struct device_buffer **bias_out)
{
    char scale[LOADER_NAME_BYTES];
    char bias[LOADER_NAME_BYTES];
    char old[LOADER_NAME_BYTES];
    (void)snprintf(old, sizeof old, "%s%s.gamma", prefix, name);
    bool is_old = safetensors_claim(loader->safetensors, old) != NULL;
    (void)snprintf(scale, sizeof scale, "%s.%s", name, is_old ? "gamma" : "weight");
    (void)snprintf(bias, sizeof bias, "%s.%s", name, is_old ? "beta" : "bias");
    int hidden = loader->config->hidden;
    return loader_vector(loader, prefix, scale, hidden, scale_out) &&
           loader_vector(loader, prefix, bias, hidden, bias_out);
}

/* Every token has the first type, so its row is part of each position. */
static bool load_type(const struct loader *loader, const char *prefix, float *positions, int count)
{
    const struct model_config *config = loader->config;
    char name[LOADER_NAME_BYTES];
    float *types = NULL;
    if (config->encoder.types == 0) {
        return true;
    }
    (void)snprintf(name, sizeof name, "%sembeddings.token_type_embeddings.weight", prefix);
    if (!loader_take_floats(loader, name, config->encoder.types, config->hidden, &types)) {
        return false;
    }
    for (int p = 0; p < count; p++) {
        for (int i = 0; i < config->hidden; i++) {
            positions[(size_t)p * (size_t)config->hidden + (size_t)i] += types[i];
        }
    }
    free(types);
    return true;
}

static bool load_positions(const struct loader *loader, const char *prefix,
                           struct device_buffer **positions_out)
{
    const struct model_config *config = loader->config;
    const struct encoder_config *encoder = &config->encoder;
    char name[LOADER_NAME_BYTES];
    float *table = NULL;
    (void)snprintf(name, sizeof name, "%sembeddings.position_embeddings.weight", prefix);
    if (!loader_take_floats(loader, name, encoder->positions, config->hidden, &table)) {
        return false;
    }
    float *first = table + (size_t)encoder->positions_first * (size_t)config->hidden;
    struct weight_part part = {.data = first, .dtype = DTYPE_F32, .rows = config->context};
    bool is_loaded = load_type(loader, prefix, first, config->context) &&
                     loader_table(loader, name, &part, positions_out);
    free(table);
    return is_loaded;
}

static bool load_words(const struct loader *loader, const char *prefix,
                       struct device_buffer **embeddings_out)
{
    const struct model_config *config = loader->config;
    struct part_spec spec = {"embeddings.word_embeddings", config->vocabulary, false};
    struct loader_part part;
    if (!loader_find_part(loader, prefix, &spec, config->hidden, &part)) {
        return false;
    }
    bool is_loaded = loader_table(loader, spec.name, &part.part, embeddings_out);
    loader_part_close(&part);
    return is_loaded;
}

static bool load_layer(const struct loader *loader, const char *prefix, struct layer_weights *layer)
{
    const struct model_config *config = loader->config;
    int hidden = config->hidden;
    const struct part_spec qkv[] = {{"attention.self.query", hidden, true},
                                    {"attention.self.key", hidden, true},
                                    {"attention.self.value", hidden, true}};
    const struct part_spec output = {"attention.output.dense", hidden, true};
    const struct part_spec up = {"intermediate.dense", config->intermediate, true};
    const struct part_spec down = {"output.dense", hidden, true};
    return loader_weight(loader, prefix, qkv, 3, hidden, &layer->qkv) &&
           loader_weight(loader, prefix, &output, 1, hidden, &layer->output) &&
           load_norm(loader, prefix, "attention.output.LayerNorm", &layer->post_norm,
                     &layer->post_bias) &&
           loader_weight(loader, prefix, &up, 1, hidden, &layer->gate_up) &&
           loader_weight(loader, prefix, &down, 1, config->intermediate, &layer->down) &&
           load_norm(loader, prefix, "output.LayerNorm", &layer->output_norm, &layer->output_bias);
}

/* Heads of other tasks, and what can be computed. */
static void claim_rest(const struct loader *loader, const char *prefix)
{
    static const char *const heads[] = {"cls.", "lm_head.", "pooler.", "classifier."};
    char name[LOADER_NAME_BYTES];
    for (size_t i = 0; i < sizeof heads / sizeof heads[0]; i++) {
        safetensors_claim_all(loader->safetensors, heads[i]);
    }
    (void)snprintf(name, sizeof name, "%spooler.", prefix);
    safetensors_claim_all(loader->safetensors, name);
    (void)snprintf(name, sizeof name, "%sembeddings.position_ids", prefix);
    (void)safetensors_claim(loader->safetensors, name);
    (void)snprintf(name, sizeof name, "%sembeddings.token_type_ids", prefix);
    (void)safetensors_claim(loader->safetensors, name);
}

bool encoder_weights_load(const struct loader *loader, struct weights *weights)
{
    const char *prefix = find_prefix(loader);
    if (!load_words(loader, prefix, &weights->embeddings) ||
        !load_positions(loader, prefix, &weights->positions) ||
        !load_norm(loader, prefix, "embeddings.LayerNorm", &weights->embedding_norm,
                   &weights->embedding_bias)) {
        return false;
    }
    for (int i = 0; i < weights->layers_count; i++) {
        char layer[PREFIX_BYTES];
        (void)snprintf(layer, sizeof layer, "%sencoder.layer.%d.", prefix, i);
        if (!load_layer(loader, layer, &weights->layers[i])) {
            return false;
        }
        loader_layer_done(loader, i + 1);
    }
    claim_rest(loader, prefix);
    return true;
}
