/* layer_weights: the tensors of a layer by their Hugging Face names. */
#include "pipeline/model/layer_weights.h"

#include <stdio.h>

static bool load_qk_norms(const struct loader *loader, const char *prefix,
                          struct layer_weights *layer)
{
    const struct model_config *config = loader->config;
    int q_heads = config->is_qk_norm_whole ? config->heads : 1;
    int k_heads = config->is_qk_norm_whole ? config->kv_heads : 1;
    return !config->has_qk_norm || (loader_vector(loader, prefix, "self_attn.q_norm.weight",
                                                  q_heads * config->head_dim, &layer->q_norm) &&
                                    loader_vector(loader, prefix, "self_attn.k_norm.weight",
                                                  k_heads * config->head_dim, &layer->k_norm));
}

static bool load_norms(const struct loader *loader, const char *prefix, struct layer_weights *layer)
{
    const struct model_config *config = loader->config;
    bool of_results = config->norms_results;
    return (of_results || loader_vector(loader, prefix, "input_layernorm.weight", config->hidden,
                                        &layer->input_norm)) &&
           loader_vector(loader, prefix, "post_attention_layernorm.weight", config->hidden,
                         of_results ? &layer->attention_norm : &layer->post_norm) &&
           (!of_results || loader_vector(loader, prefix, "post_feedforward_layernorm.weight",
                                         config->hidden, &layer->mlp_norm)) &&
           load_qk_norms(loader, prefix, layer);
}

static bool load_mlp(const struct loader *loader, const char *prefix, int width, bool has_bias,
                     struct layer_weights *layer)
{
    int hidden = loader->config->hidden;
    const struct part_spec gate_up[] = {{"gate_proj", width, has_bias},
                                        {"up_proj", width, has_bias}};
    const struct part_spec down = {"down_proj", hidden, has_bias};
    return loader_weight(loader, prefix, gate_up, 2, hidden, &layer->gate_up) &&
           loader_weight(loader, prefix, &down, 1, width, &layer->down);
}

/* A plain MLP, or experts and beside them perhaps one that all rows share. */
static bool load_mlps(const struct loader *loader, const char *prefix, int index,
                      struct layer_weights *layer)
{
    const struct model_config *config = loader->config;
    bool is_mixture = model_config_has_experts(config, index);
    int width = is_mixture ? config->experts.shared : config->intermediate;
    char mlp[LOADER_NAME_BYTES];
    (void)snprintf(mlp, sizeof(mlp), "%smlp.%s", prefix, is_mixture ? "shared_experts." : "");
    return (width == 0 ||
            load_mlp(loader, mlp, width, config->has_mlp_bias && !is_mixture, layer)) &&
           (!is_mixture || expert_weights_load(loader, prefix, &layer->experts));
}

static bool load_attention(const struct loader *loader, const char *prefix,
                           struct layer_weights *layer)
{
    const struct model_config *config = loader->config;
    int q = config->heads * config->head_dim;
    int kv = config->kv_heads * config->head_dim;
    const struct part_spec qkv[] = {{"self_attn.q_proj", q, config->has_qkv_bias},
                                    {"self_attn.k_proj", kv, config->has_qkv_bias},
                                    {"self_attn.v_proj", kv, config->has_qkv_bias}};
    const struct part_spec output = {"self_attn.o_proj", config->hidden, config->has_output_bias};
    return (config->latent.kv_rank > 0
                ? latent_weights_load(loader, prefix, &layer->latent)
                : loader_weight(loader, prefix, qkv, 3, config->hidden, &layer->qkv)) &&
           loader_weight(loader, prefix, &output, 1, model_config_attended(config), &layer->output);
}

bool layer_weights_load(const struct loader *loader, int index, struct layer_weights *layer)
{
    char prefix[LOADER_NAME_BYTES / 2];
    (void)snprintf(prefix, sizeof(prefix), "model.layers.%d.", index);
    return load_norms(loader, prefix, layer) && load_attention(loader, prefix, layer) &&
           load_mlps(loader, prefix, index, layer);
}

void layer_weights_close(struct backend *backend, struct layer_weights *layer)
{
    const struct backend_operations *ops = backend->ops;
    ops->buffer_close(backend, layer->input_norm);
    ops->weight_close(backend, layer->qkv);
    ops->buffer_close(backend, layer->q_norm);
    ops->buffer_close(backend, layer->k_norm);
    latent_weights_close(backend, &layer->latent);
    ops->weight_close(backend, layer->output);
    ops->buffer_close(backend, layer->attention_norm);
    ops->buffer_close(backend, layer->post_norm);
    ops->buffer_close(backend, layer->mlp_norm);
    ops->weight_close(backend, layer->gate_up);
    ops->weight_close(backend, layer->down);
    expert_weights_close(backend, &layer->experts);
    ops->buffer_close(backend, layer->post_bias);
    ops->buffer_close(backend, layer->output_norm);
    ops->buffer_close(backend, layer->output_bias);
}
