/* device: what the engine asks of one model, as a table, so that tests and benchmarks can put a
 * simulated one in its place. engine_models.c fills it for a struct model. Thread: engine. */
#ifndef PIPELINE_ENGINE_DEVICE_H
#define PIPELINE_ENGINE_DEVICE_H

#include "pipeline/model/model.h"

struct device {
    // As model_forward and model_sample.
    bool (*forward)(void *context, const struct model_batch *batch, struct error *error);
    bool (*sample)(void *context, const struct sample_params *params, int32_t *tokens_out,
                   float *logprobs_out, struct error *error);
    // As model_encode, of an encoder, which has neither of the two above; else NULL. Its steps have
    // whole prompts only, each without an output.
    bool (*encode)(void *context, const struct model_batch *batch, float *const *vectors_out,
                   struct error *error);
    void *context;

    int vocabulary;
    int vector_width;   // of an encoder
    int context_tokens; // prompt and output together; of an encoder one more than a prompt's most
    int blocks_count;   // of the KV cache
    int block_tokens;
};

#endif
