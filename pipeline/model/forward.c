/* forward: one step through the layers.
 *
 * The last layer runs only for the rows whose logits are wanted, once their keys and values and
 * those of all others are in the cache.
 */
#include "pipeline/model/model.h"

#include <string.h>

#include "pipeline/model/forward_internal.h"
#include "schemas/base/check.h"

static bool check_rows(const struct model *model, const struct model_batch *batch,
                       struct error *error)
{
    for (int r = 0; r < batch->rows_count; r++) {
        if (batch->tokens[r] < 0 || batch->tokens[r] >= model->config.vocabulary) {
            return error_set(error, ERROR_INVALID, "invalid_token", NULL,
                             "token id %d must be from 0 to %d", batch->tokens[r],
                             model->config.vocabulary - 1);
        }
        if (batch->positions[r] < 0 || batch->positions[r] >= model->config.context) {
            return error_set(error, ERROR_INVALID, "context_length_exceeded", NULL,
                             "position %d must be from 0 to %d", batch->positions[r],
                             model->config.context - 1);
        }
    }
    return true;
}

/* Every position of sequence `s` up to its last row's must have a block. */
static bool check_sequence(const struct model *model, const struct model_batch *batch, int s)
{
    int first = batch->row_starts[s];
    int end = batch->row_starts[s + 1];
    if (first >= end) {
        return false;
    }
    for (int r = first + 1; r < end; r++) {
        if (batch->positions[r] <= batch->positions[r - 1]) {
            return false;
        }
    }
    int blocks = batch->positions[end - 1] / model->block_tokens + 1;
    const int32_t *table = batch->block_tables + (size_t)s * (size_t)batch->blocks_max;
    for (int b = 0; b < blocks && blocks <= batch->blocks_max; b++) {
        if (table[b] < 0 || table[b] >= model->blocks_count) {
            return false;
        }
    }
    return blocks <= batch->blocks_max;
}

/* An encoder's rows see all of their text, so all of it must be there. */
static bool has_whole_texts(const struct model_batch *batch)
{
    for (int s = 0; s < batch->sequences_count; s++) {
        int last = batch->row_starts[s + 1] - 1;
        if (batch->positions[last] != last - batch->row_starts[s]) {
            return false;
        }
    }
    return batch->logit_rows_count == 0;
}

/* What the engine must have right. */
static bool is_sound(const struct model *model, const struct model_batch *batch)
{
    if (batch->rows_count < 1 || batch->rows_count > model->rows_max ||
        batch->logit_rows_count < 0 || batch->logit_rows_count > model->logit_rows_max ||
        batch->sequences_count < 1 || batch->row_starts[0] != 0 ||
        batch->row_starts[batch->sequences_count] != batch->rows_count) {
        return false;
    }
    for (int s = 0; s < batch->sequences_count; s++) {
        if (batch->row_starts[s + 1] > batch->rows_count || !check_sequence(model, batch, s)) {
            return false;
        }
    }
    if (model->config.encoder.is_encoder && !has_whole_texts(batch)) {
        return false;
    }
    for (int i = 0; i < batch->logit_rows_count; i++) {
        int least = i == 0 ? 0 : batch->logit_rows[i - 1] + 1;
        if (batch->logit_rows[i] < least || batch->logit_rows[i] >= batch->rows_count) {
            return false;
        }
    }
    return true;
}

static size_t append(struct model *model, size_t *used, const int32_t *values, size_t count)
{
    size_t at = *used;
    if (count > 0) {
        memcpy(model->staging + at, values, count * sizeof(*values));
    }
    *used += count;
    return at;
}

/* Brings the index arrays to the device in one copy. */
static bool bring_arrays(struct forward *forward, const struct model_batch *batch)
{
    struct model *model = forward->model;
    size_t rows = (size_t)batch->rows_count;
    size_t starts = (size_t)batch->sequences_count + 1;
    size_t tables = (size_t)batch->sequences_count * (size_t)batch->blocks_max;
    size_t logit_rows = (size_t)batch->logit_rows_count;
    if (!model_arrays_reserve(model, 2 * rows + starts + tables + logit_rows, forward->error)) {
        return false;
    }
    size_t used = 0;
    struct step_arrays *step = &forward->step;
    step->tokens = append(model, &used, batch->tokens, rows);
    step->positions = append(model, &used, batch->positions, rows);
    step->row_starts = append(model, &used, batch->row_starts, starts);
    step->block_tables = append(model, &used, batch->block_tables, tables);
    step->logit_rows = append(model, &used, batch->logit_rows, logit_rows);
    step->buffer = model->arrays;
    step->rows = batch->rows_count;
    step->sequences = batch->sequences_count;
    step->blocks_max = batch->blocks_max;
    return model_check(forward->ops->copy_in(forward->backend, model->arrays, 0, model->staging,
                                             used * sizeof(int32_t)),
                       "step arrays", forward->error);
}

bool forward_norm(struct forward *forward, struct device_buffer *residual,
                  const struct device_buffer *delta, const struct device_buffer *scale,
                  enum weight_format consumer, int rows)
{
    const struct model *model = forward->model;
    struct add_norm_args args = {
        .residual = residual,
        .delta = delta,
        .scale = scale,
        .output = model->buffers.normed,
        .consumer = consumer,
        .rows = rows,
        .width = model->config.hidden,
        .epsilon = (float)model->config.norm_epsilon,
    };
    return model_check(forward->ops->add_norm(forward->backend, &args), "norm", forward->error);
}

bool forward_gather(struct forward *forward, const struct gather_args *args)
{
    return model_check(forward->ops->gather_rows(forward->backend, args), "gather", forward->error);
}

bool forward_linear(struct forward *forward, const struct weight *weight,
                    const struct device_buffer *input, struct device_buffer *output, int rows)
{
    return model_check(forward->ops->linear(forward->backend, weight, input, output, rows),
                       "matrix product", forward->error);
}

static bool start(struct forward *forward)
{
    struct model *model = forward->model;
    struct embed_args embed = {
        .table = model->weights->embeddings,
        .step = &forward->step,
        .output = model->buffers.residual,
        .width = model->config.hidden,
    };
    struct rope_angles_args angles = {
        .step = &forward->step,
        .inverse_frequencies = model->frequencies,
        .rotations = model->buffers.rotations,
        .head_dim = model_config_rotated(&model->config),
        .magnitude = (float)model->config.rope.magnitude,
    };
    return model_check(forward->ops->embed(forward->backend, &embed), "embed", forward->error) &&
           model_check(forward->ops->rope_angles(forward->backend, &angles), "rope angles",
                       forward->error);
}

/* The norm before attention takes what the layer before has left in `projected`. */
static bool project(struct forward *forward, int index)
{
    struct model *model = forward->model;
    struct step_buffers *buffers = &model->buffers;
    return forward_norm(forward, buffers->residual, index == 0 ? NULL : buffers->projected,
                        model->weights->layers[index].input_norm, model->format,
                        forward->step.rows) &&
           forward_project(forward, index);
}

/* Normalizes what a half of a layer has left in `projected`; scale NULL: does not. */
static bool norm_result(struct forward *forward, const struct device_buffer *scale, int rows)
{
    const struct model *model = forward->model;
    struct add_norm_args args = {
        .residual = model->buffers.projected,
        .scale = scale,
        .output = model->buffers.projected,
        .rows = rows,
        .width = model->config.hidden,
        .epsilon = (float)model->config.norm_epsilon,
    };
    return scale == NULL ||
           model_check(forward->ops->add_norm(forward->backend, &args), "norm", forward->error);
}

/* The attention's output projection and the MLP; leaves the layer's delta in `projected`. */
static bool finish_layer(struct forward *forward, int index, struct device_buffer *residual,
                         const struct device_buffer *attended, int rows)
{
    struct model *model = forward->model;
    struct step_buffers *buffers = &model->buffers;
    const struct layer_weights *layer = &model->weights->layers[index];
    // A router is f32, and experts' rows are picked one by one.
    enum weight_format consumer = layer->experts.router != NULL ? WEIGHTS_AUTO : model->format;
    return forward_linear(forward, layer->output, attended, buffers->projected, rows) &&
           norm_result(forward, layer->attention_norm, rows) &&
           forward_norm(forward, residual, buffers->projected, layer->post_norm, consumer, rows) &&
           forward_mlp(forward, index, rows) && norm_result(forward, layer->mlp_norm, rows);
}

/* Picks the rows whose logits are wanted. */
static bool keep_rows(struct forward *forward, const struct device_buffer *input,
                      struct device_buffer *output, int count, int width)
{
    struct gather_args args = {.indices = forward->step.buffer,
                               .first = forward->step.logit_rows,
                               .input = input,
                               .output = output,
                               .count = count,
                               .width = width};
    return forward_gather(forward, &args);
}

/* The last layer from attention on, and the logits. */
static bool finish(struct forward *forward, int count)
{
    struct model *model = forward->model;
    struct step_buffers *buffers = &model->buffers;
    const struct model_config *config = &model->config;
    int last = config->layers - 1;
    return forward_attend(forward, last) &&
           keep_rows(forward, buffers->attended, buffers->kept_attended, count,
                     model_config_attended(config)) &&
           keep_rows(forward, buffers->residual, buffers->kept_residual, count, config->hidden) &&
           finish_layer(forward, last, buffers->kept_residual, buffers->kept_attended, count) &&
           forward_norm(forward, buffers->kept_residual, buffers->projected,
                        model->weights->final_norm, model->format, count) &&
           model_check(forward->ops->logits(forward->backend, model->weights->lm_head,
                                            buffers->normed, buffers->logits, count),
                       "logits", forward->error);
}

bool model_forward(struct model *model, const struct model_batch *batch, struct error *error)
{
    CHECK(model->kv != NULL && model->rows_max > 0);
    struct forward forward = {
        .model = model, .backend = model->backend, .ops = model->backend->ops, .error = error};
    model->logits_count = 0;
    model->rows_count = 0;
    if (!is_sound(model, batch)) {
        return error_set(error, ERROR_INTERNAL, "invalid_batch", NULL,
                         "a step of %d rows and %d sequences does not fit the model's memory",
                         batch->rows_count, batch->sequences_count);
    }
    if (!check_rows(model, batch, error) || !bring_arrays(&forward, batch)) {
        return false;
    }
    if (model->config.encoder.is_encoder) {
        model->rows_count = batch->rows_count;
        return forward_encode(&forward);
    }
    if (!start(&forward)) {
        return false;
    }
    int last = model->config.layers - 1;
    for (int i = 0; i < last; i++) {
        if (!project(&forward, i) || !forward_attend(&forward, i) ||
            !finish_layer(&forward, i, model->buffers.residual, model->buffers.attended,
                          batch->rows_count)) {
            return false;
        }
    }
    if (!project(&forward, last)) {
        return false;
    }
    if (batch->logit_rows_count > 0 && !finish(&forward, batch->logit_rows_count)) {
        return false;
    }
    model->logits_count = batch->logit_rows_count;
    return true;
}
