/* model_internal: the model's parts, shared by model.c and forward.c. */
#ifndef PIPELINE_MODEL_MODEL_INTERNAL_H
#define PIPELINE_MODEL_MODEL_INTERNAL_H

#include "kernels/backend.h"
#include "pipeline/model/model.h"
#include "pipeline/model/weights.h"

/* A step's memory on the device. Activations unless said otherwise. */
struct step_buffers {
    struct device_buffer *residual;  // [rows, hidden]
    struct device_buffer *normed;    // [rows, hidden]
    struct device_buffer *qkv;       // [rows, (heads + 2 kv_heads) head_dim]
    struct device_buffer *attended;  // [rows, model_config_attended]
    struct device_buffer *projected; // [rows, hidden]
    struct device_buffer *gate_up;   // [rows, 2 intermediate (or the shared experts' width)]
    struct device_buffer *activated; // [rows, intermediate (likewise)]
    struct device_buffer *rotations; // [rows, model_config_rotated] f32

    // Latent attention, where qkv holds [rows, heads, head_dim] queries; NULL without.
    struct device_buffer *q_down;          // [rows, q_rank], or NULL
    struct device_buffer *q_normed;        // [rows, q_rank], or NULL
    struct device_buffer *latent_q;        // [rows, heads, plain + rotated]
    struct device_buffer *latent_keys;     // [rows, head_dim]
    struct device_buffer *latent_attended; // [rows, heads, kv_rank]

    // Mixture layers; NULL without.
    struct expert_slots slots;
    struct device_buffer *router_logits;    // [rows, experts] f32
    struct device_buffer *expert_input;     // [rows top_k, hidden]
    struct device_buffer *expert_gate_up;   // [rows top_k, 2 expert intermediate]
    struct device_buffer *expert_activated; // [rows top_k, expert intermediate]
    struct device_buffer *expert_output;    // [rows top_k, hidden]

    // The rows whose logits are wanted, through the last layer.
    struct device_buffer *kept_residual; // [logit rows, hidden]
    struct device_buffer *kept_attended; // [logit rows, model_config_attended]
    struct device_buffer *logits;        // [logit rows, vocabulary] f32
    struct device_buffer *tokens;        // [logit rows] int32
    struct device_buffer *logprobs;      // [logit rows] f32
};

struct model {
    struct backend *backend;
    struct model_config config;
    enum weight_format format;
    uint64_t weights_hash;
    size_t weights_bytes;
    int block_tokens;
    enum kv_format kv_format;
    struct weights *weights;
    struct device_buffer *frequencies; // [head_dim / 2] f32

    struct device_buffer **kv; // [layers]
    int blocks_count;

    struct step_buffers buffers;
    int rows_max;
    int logit_rows_max;
    struct device_buffer *arrays; // struct step_arrays' memory
    int32_t *staging;             // [arrays_capacity], filled on the host
    size_t arrays_capacity;       // int32 each; grows with the block tables
    int logits_count;             // rows kept by the last forward
    int rows_count;               // of an encoder's last forward
    float *states;                // [rows_max, hidden] of an encoder, on the host
};

static inline struct attention_shape model_shape(const struct model *model)
{
    return (struct attention_shape){.heads = model->config.heads,
                                    .kv_heads = model->config.kv_heads,
                                    .head_dim = model->config.head_dim,
                                    .latent = model->config.latent.kv_rank,
                                    .block_tokens = model->block_tokens,
                                    .kv_format = model->kv_format};
}

/* Turns a status into an error that names the operation. */
MUST_CHECK bool model_check(enum kernel_status status, const char *operation, struct error *error);

/* Makes the arrays hold `count` numbers. */
MUST_CHECK bool model_arrays_reserve(struct model *model, size_t count, struct error *error);

#endif
