/* layer_weights: one layer's tensors where the backend wants them. Owned by the model's weights. */
#ifndef PIPELINE_MODEL_LAYER_WEIGHTS_H
#define PIPELINE_MODEL_LAYER_WEIGHTS_H

#include "pipeline/model/expert_weights.h"
#include "pipeline/model/latent_weights.h"
#include "pipeline/model/loader.h"

struct layer_weights {
    struct device_buffer *input_norm;     // [hidden], or NULL
    struct weight *qkv;                   // [(heads + 2 kv_heads) head_dim, hidden]; NULL: latent
    struct device_buffer *q_norm;         // [head_dim], whole: [heads, head_dim]; or NULL
    struct device_buffer *k_norm;         // [head_dim], whole: [kv_heads, head_dim]; or NULL
    struct latent_weights latent;         // where qkv is NULL
    struct weight *output;                // [hidden, heads head_dim (latent: value_dim)]
    struct device_buffer *attention_norm; // [hidden] of what attention adds, or NULL
    struct device_buffer *post_norm;      // [hidden] before the MLP, or NULL
    struct device_buffer *mlp_norm;       // [hidden] of what the MLP adds, or NULL
    struct weight *gate_up;               // [2 intermediate, hidden]; in a mixture layer the shared
    struct weight *down;                  // [hidden, intermediate];   MLP's, or NULL; an encoder's
                                          // has no gate: [intermediate, hidden]
    struct expert_weights experts;        // of a mixture layer

    // Encoders, where norms come after: post_norm behind attention, this one behind the MLP.
    struct device_buffer *post_bias;   // [hidden]
    struct device_buffer *output_norm; // [hidden]
    struct device_buffer *output_bias; // [hidden]
};

/* What was loaded before a failure is closed by layer_weights_close. */
MUST_CHECK bool layer_weights_load(const struct loader *loader, int index,
                                   struct layer_weights *layer);
void layer_weights_close(struct backend *backend, struct layer_weights *layer);

#endif
