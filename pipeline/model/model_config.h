/* model_config: what config.json and generation_config.json say, checked and bounded.
 *
 * Families are data: the fields say what a layer does, not which family it is. A folder that asks
 * for something else is refused by name.
 */
#ifndef PIPELINE_MODEL_MODEL_CONFIG_H
#define PIPELINE_MODEL_MODEL_CONFIG_H

#include <stdbool.h>
#include <stdint.h>

#include "kernels/backend.h"
#include "schemas/base/error.h"

enum { STOP_TOKENS_MAX = 16, LAYERS_MAX = 1024 };

enum rope_scaling { ROPE_PLAIN, ROPE_LINEAR, ROPE_LLAMA3 };

struct rope_config {
    double theta;
    enum rope_scaling scaling;
    double factor;           // linear, llama3
    double low_freq_factor;  // llama3
    double high_freq_factor; // llama3
    double original_context; // llama3: positions that the model was first trained for
};

/* How a family calls the tensors of a mixture layer. */
enum expert_names {
    EXPERT_NAMES_MLP,    // mlp.experts.0.gate_proj, up_proj, down_proj
    EXPERT_NAMES_SPARSE, // block_sparse_moe.experts.0.w1, w3, w2
};

/* The mixture layers; routing.experts 0: there are none. */
struct experts_config {
    struct expert_routing routing;
    enum expert_names names;
    int intermediate; // width of one expert
    int first_layer;  // the layers before it have a plain MLP
};

/* What a request that does not say otherwise is sampled with: generation_config.json's, else
 * OpenAI's. */
struct sampling_defaults {
    double temperature; // 0 where do_sample is false
    double top_p;
    int top_k; // 0: off
    double min_p;
    double repetition_penalty;
};

struct model_config {
    char architecture[48]; // "LlamaForCausalLM"
    enum dtype dtype;      // what config.json declares; tensors may differ
    int vocabulary;
    int hidden;
    int intermediate; // width of the MLP
    int layers;
    int heads;
    int kv_heads;
    int head_dim; // not always hidden / heads
    int context;  // positions, prompt and output together
    double norm_epsilon;
    int window;                  // positions that a windowed layer sees, its own included
    bool has_window[LAYERS_MAX]; // by layer
    struct rope_config rope;
    bool has_qkv_bias;
    bool has_output_bias; // of the attention's output projection
    bool has_mlp_bias;
    bool has_qk_norm; // each head of q and k is normalized before it is rotated
    bool ties_embeddings;
    struct experts_config experts;
    struct sampling_defaults sampling;
    int32_t bos_token; // -1: none
    int32_t stop_tokens[STOP_TOKENS_MAX];
    int stop_tokens_count;
};

/* Reads config.json and, where it is there, generation_config.json of the folder `path`. */
MUST_CHECK bool model_config_load(const char *path, struct model_config *config_out,
                                  struct error *error);

/* Whether a layer's MLP is a mixture of experts. */
bool model_config_has_experts(const struct model_config *config, int layer);

/* inverse_frequencies_out: [head_dim / 2], scaling applied. */
void model_config_frequencies(const struct model_config *config, float *inverse_frequencies_out);

#endif
