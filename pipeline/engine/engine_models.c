/* engine_open: the engine over real models, and the division of the KV cache's memory among them.
 */
#include "pipeline/engine/engine.h"

#include <stdlib.h>

#include "pipeline/engine/engine_internal.h"

enum { BLOCKS_MAX = 1 << 30 };

static bool forward(void *context, const struct model_batch *batch, struct error *error)
{
    return model_forward(context, batch, error);
}

static bool sample(void *context, const struct sample_params *params, int32_t *tokens_out,
                   float *logprobs_out, struct error *error)
{
    return model_sample(context, params, tokens_out, logprobs_out, error);
}

static bool encode(void *context, const struct model_batch *batch, float *const *vectors_out,
                   struct error *error)
{
    return model_encode(context, batch, vectors_out, error);
}

static bool check_shares(const struct engine_options *options, struct error *error)
{
    double sum = 0;
    for (int i = 0; options->kv_shares != NULL && i < options->models_count; i++) {
        double share = options->kv_shares[i];
        sum += share;
        if (!(share > 0) || sum > 1 + 1e-9) {
            return error_set(error, ERROR_CONFIG, "invalid_value", "kv_share",
                             "kv_share of model %d is %g, must be above 0 and the sum at most 1", i,
                             share);
        }
    }
    return true;
}

/* The blocks that model `index` gets of kv_bytes. */
static bool count_blocks(const struct engine_options *options, int index, int *count_out,
                         struct error *error)
{
    size_t block_bytes = model_kv_block_bytes(options->models[index]);
    double share =
        options->kv_shares == NULL ? 1.0 / options->models_count : options->kv_shares[index];
    size_t bytes = (size_t)((double)options->kv_bytes * share);
    size_t count = bytes / block_bytes;
    if (count < 1) {
        return error_set(
            error, ERROR_CONFIG, "kv_cache_too_small", NULL,
            "the kv cache of model %d has %zu bytes, must have at least the %zu of one "
            "block",
            index, bytes, block_bytes);
    }
    *count_out = count > BLOCKS_MAX ? BLOCKS_MAX : (int)count;
    return true;
}

static bool open_device(const struct engine_options *options, int index, struct device *device_out,
                        struct error *error)
{
    struct model *model = options->models[index];
    int blocks_count = 0;
    if (!count_blocks(options, index, &blocks_count, error) ||
        !model_kv_open(model, blocks_count, error) ||
        !model_step_open(model, options->max_num_batched_tokens, options->max_num_seqs, error)) {
        return false;
    }
    const struct model_config *config = model_get_config(model);
    bool is_encoder = config->encoder.is_encoder;
    *device_out = (struct device){
        .forward = is_encoder ? NULL : forward,
        .sample = is_encoder ? NULL : sample,
        .encode = is_encoder ? encode : NULL,
        .context = model,
        .vocabulary = config->vocabulary,
        .vector_width = is_encoder ? config->hidden : 0,
        .context_tokens = config->context + (is_encoder ? 1 : 0),
        .blocks_count = blocks_count,
        .block_tokens = model_block_tokens(model),
    };
    return true;
}

bool engine_open(const struct engine_options *options, struct engine **engine_out,
                 struct error *error)
{
    if (!engine_check_options(options, error) || !check_shares(options, error)) {
        return false;
    }
    struct device *devices = calloc((size_t)options->models_count, sizeof *devices);
    if (devices == NULL) {
        return error_set(error, ERROR_FATAL, "out_of_memory", NULL, "no memory for %d models",
                         options->models_count);
    }
    bool is_open = true;
    for (int i = 0; is_open && i < options->models_count; i++) {
        is_open = open_device(options, i, &devices[i], error);
    }
    is_open = is_open && engine_open_devices(options, devices, engine_out, error);
    free(devices);
    return is_open;
}
