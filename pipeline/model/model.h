/* model: a Hugging Face folder made ready to run on one backend, with its paged KV cache.
 *
 * The engine plans steps and owns the meaning of KV blocks; the model owns their memory and runs a
 * step: tokens in, logits kept on the device, sampled tokens out. Families are data
 * (model_config.h).
 *
 * Thread: one thread at a time, the engine's once it runs.
 */
#ifndef PIPELINE_MODEL_MODEL_H
#define PIPELINE_MODEL_MODEL_H

#include <stdint.h>

#include "kernels/backend.h"
#include "pipeline/model/model_config.h"
#include "schemas/base/error.h"

/* Called on the loading thread after each layer; quick. NULL: nobody watches. */
struct model_progress {
    void (*on_layer)(void *context, int done, int total);
    void *context;
};

struct model_options {
    enum weight_format weights; // AUTO: the fastest format that the backend runs well
    int block_tokens;           // positions of one KV block
    enum kv_format kv_format;   // AUTO: the backend's choice
    const char *adapter;        // a PEFT folder to merge at load, or NULL
    struct model_progress progress;
};

struct model;

/* Maps and checks config.json, generation_config.json and the safetensors files of `path`
 * (untrusted input) and puts the weights where `backend` (borrowed until model_close) wants them.
 */
MUST_CHECK bool model_open(const char *path, struct backend *backend,
                           const struct model_options *options, struct model **model_out,
                           struct error *error);
void model_close(struct model *model); // accepts NULL

const struct model_config *model_get_config(const struct model *model);
enum weight_format model_weights(const struct model *model); // what AUTO became
enum kv_format model_kv_format(const struct model *model);   // what AUTO became
int model_block_tokens(const struct model *model);           // of model_options

/* Of the tensors as the folder has them, and of the adapter's. */
uint64_t model_weights_hash(const struct model *model);

size_t model_weights_bytes(const struct model *model); // in their format, as kept
int model_kv_blocks(const struct model *model);        // of model_kv_open

/* Bytes of one KV block over all layers. */
size_t model_kv_block_bytes(const struct model *model);
/* Obtains the KV cache: once, before the first forward. Block ids are 0..blocks_count-1. */
MUST_CHECK bool model_kv_open(struct model *model, int blocks_count, struct error *error);
/* Obtains what a step of at most `rows_max` rows needs, so that no step allocates. */
MUST_CHECK bool model_step_open(struct model *model, int rows_max, int logit_rows_max,
                                struct error *error);

/* One step's flat arrays; rows of one sequence stand together, in the order of their positions.
 * Row r of sequence s writes its K and V at position positions[r], into block
 * block_tables[s][positions[r] / block_tokens], and attends to positions 0..positions[r]. */
struct model_batch {
    int rows_count;
    int sequences_count;
    const int32_t *tokens;       // [rows]
    const int32_t *positions;    // [rows]
    const int32_t *row_starts;   // [sequences + 1], cumulative row counts
    const int32_t *block_tables; // [sequences, blocks_max]
    int blocks_max;
    const int32_t *logit_rows; // [logit_rows_count] rows whose logits are kept, ascending
    int logit_rows_count;
};

/* Runs the layers and keeps the logits of batch->logit_rows until the next forward. */
MUST_CHECK bool model_forward(struct model *model, const struct model_batch *batch,
                              struct error *error);

/* Makes the length of a vector 1, unless it is 0. */
void model_normalize(float *vector, int width);

/* Of an encoder, whose batches have whole texts, each from position 0, and no logit rows: one
 * vector of `hidden` numbers for each sequence. */
MUST_CHECK bool model_encode(struct model *model, const struct model_batch *batch,
                             float *const *vectors_out, struct error *error);
/* Of an encoder after model_forward: every row's state, [rows, hidden] f32. */
MUST_CHECK bool model_states(struct model *model, float *states_out, struct error *error);

/* Copies the kept logits: [logit_rows, vocabulary] f32. */
MUST_CHECK bool model_logits(struct model *model, float *logits_out, struct error *error);

/* Samples one token per kept logit row. params: [logit_rows]. A row whose logits are not finite
 * gets token -1 and costs its neighbours nothing. logprobs_out (natural log of the chosen token's
 * probability before temperature) may be NULL. */
MUST_CHECK bool model_sample(struct model *model, const struct sample_params *params,
                             int32_t *tokens_out, float *logprobs_out, struct error *error);

#endif
