/* weights: a model's tensors where the backend wants them. Owned by the model. */
#ifndef PIPELINE_MODEL_WEIGHTS_H
#define PIPELINE_MODEL_WEIGHTS_H

#include "kernels/backend.h"
#include "pipeline/model/model_config.h"
#include "pipeline/model/safetensors.h"
#include "schemas/base/error.h"

/* A mixture layer. */
struct expert_weights {
    struct weight *router;   // [experts, hidden], f32 in every format
    struct weight **gate_up; // [experts] of [2 expert intermediate, hidden]
    struct weight **down;    // [experts] of [hidden, expert intermediate]
    int count;
};

struct layer_weights {
    struct device_buffer *input_norm; // [hidden]
    struct weight *qkv;               // [(heads + 2 kv_heads) head_dim, hidden]
    struct device_buffer *q_norm;     // [head_dim], or NULL
    struct device_buffer *k_norm;     // [head_dim], or NULL
    struct weight *output;            // [hidden, heads head_dim]
    struct device_buffer *post_norm;  // [hidden]
    struct weight *gate_up;           // [2 intermediate, hidden]; NULL in a mixture layer
    struct weight *down;              // [hidden, intermediate]; likewise
    struct expert_weights experts;    // of a mixture layer
};

struct weights {
    struct backend *backend;
    struct device_buffer *embeddings; // [vocabulary, hidden]
    struct layer_weights *layers;
    int layers_count;
    struct device_buffer *final_norm;
    struct weight *lm_head; // [vocabulary, hidden]
};

/* Copies every tensor that `config` calls for; one that is missing, left over or of another shape
 * is an error that names it. */
MUST_CHECK bool weights_open(const struct model_config *config, enum weight_format format,
                             struct backend *backend, struct safetensors *safetensors,
                             struct weights **weights_out, struct error *error);
void weights_close(struct weights *weights); // accepts NULL

#endif
