/* model_config: what config.json and generation_config.json say, checked and bounded.
 *
 * Families are data: the fields say what a layer does, not which family it is. A folder that asks
 * for something else is refused by name.
 */
#ifndef PIPELINE_MODEL_MODEL_CONFIG_H
#define PIPELINE_MODEL_MODEL_CONFIG_H

#include <stdbool.h>
#include <stdint.h>

#include "kernels/dtype.h"
#include "pipeline/model/encoder_config.h"
#include "pipeline/model/experts_config.h"
#include "pipeline/model/quantization.h"
#include "pipeline/model/rope_config.h"
#include "schemas/base/error.h"

enum { STOP_TOKENS_MAX = 16, LAYERS_MAX = 1024 };

/* Latent attention: keys and values of all heads are made of one short vector per position, which
 * is what the cache holds. kv_rank 0: plain heads. */
struct latent_config {
    int q_rank;  // of the query's own bottleneck; 0: none
    int kv_rank; // width of the vector
    int plain;   // dimensions of a query head without position
    int rotated; // and with
    int value_dim;
    bool is_interleaved; // rope turns the pairs i, i + 1; else half-split
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
    int head_dim; // of keys in the cache; not always hidden / heads
    int context;  // positions, prompt and output together
    double norm_epsilon;
    int window;                  // positions that a windowed layer sees, its own included
    bool has_window[LAYERS_MAX]; // by layer
    struct rope_config rope;
    bool has_qkv_bias;
    bool has_output_bias; // of the attention's output projection
    bool has_mlp_bias;
    bool has_qk_norm;      // each head of q and k is normalized before it is rotated
    bool is_qk_norm_whole; // rather all heads of q together, and all of k
    bool norms_results;    // attention and MLP normalize what they add; else what they read
    bool ties_embeddings;
    struct latent_config latent;
    struct experts_config experts;
    struct quantization quantization;
    struct encoder_config encoder;
    struct sampling_defaults sampling;
    int prediction_layers; // behind the last layer in the files; not used
    int32_t bos_token;     // -1: none
    int32_t stop_tokens[STOP_TOKENS_MAX];
    int stop_tokens_count;
};

/* Reads config.json and, where it is there, generation_config.json of the folder `path`. */
MUST_CHECK bool model_config_load(const char *path, struct model_config *config_out,
                                  struct error *error);

/* Whether a layer's MLP is a mixture of experts. */
bool model_config_has_experts(const struct model_config *config, int layer);

/* Dimensions of a head that rope turns. */
int model_config_rotated(const struct model_config *config);
/* Width of a row of attention's results, before the output projection. */
int model_config_attended(const struct model_config *config);
/* What scores are multiplied with. */
float model_config_scale(const struct model_config *config);

#endif
