/* forward_encoder: a step of whole texts through an encoder; its rows are in `normed` all the way.
 */
#include "pipeline/model/model.h"

#include <math.h>

#include "pipeline/model/forward_internal.h"

/* output = norm(residual + delta), where both may be one buffer. */
static bool norm_after(struct forward *forward, struct device_buffer *residual,
                       const struct device_buffer *delta, const struct device_buffer *scale,
                       const struct device_buffer *bias)
{
    const struct model *model = forward->model;
    struct add_norm_args args = {
        .residual = residual,
        .delta = delta,
        .scale = scale,
        .bias = bias,
        .output = model->buffers.normed,
        .rows = forward->step.rows,
        .width = model->config.hidden,
        .epsilon = (float)model->config.norm_epsilon,
    };
    return model_check(forward->ops->add_norm(forward->backend, &args), "norm", forward->error);
}

static bool embed(struct forward *forward)
{
    const struct model *model = forward->model;
    const struct weights *weights = model->weights;
    struct embed_args args = {
        .table = weights->embeddings,
        .position_table = weights->positions,
        .step = &forward->step,
        .output = model->buffers.residual,
        .width = model->config.hidden,
    };
    return model_check(forward->ops->embed(forward->backend, &args), "embed", forward->error) &&
           norm_after(forward, model->buffers.residual, NULL, weights->embedding_norm,
                      weights->embedding_bias);
}

static bool run_mlp(struct forward *forward, const struct layer_weights *layer, int rows)
{
    const struct step_buffers *buffers = &forward->model->buffers;
    return forward_linear(forward, layer->gate_up, buffers->normed, buffers->gate_up, rows) &&
           model_check(forward->ops->gelu(forward->backend, buffers->gate_up, buffers->activated,
                                          rows, forward->model->config.intermediate),
                       "activation", forward->error) &&
           forward_linear(forward, layer->down, buffers->activated, buffers->projected, rows);
}

static bool run_layer(struct forward *forward, int index)
{
    const struct step_buffers *buffers = &forward->model->buffers;
    const struct layer_weights *layer = &forward->model->weights->layers[index];
    int rows = forward->step.rows;
    return forward_project(forward, index) && forward_attend(forward, index) &&
           forward_linear(forward, layer->output, buffers->attended, buffers->projected, rows) &&
           norm_after(forward, buffers->normed, buffers->projected, layer->post_norm,
                      layer->post_bias) &&
           run_mlp(forward, layer, rows) &&
           norm_after(forward, buffers->normed, buffers->projected, layer->output_norm,
                      layer->output_bias);
}

bool forward_encode(struct forward *forward)
{
    bool is_ok = embed(forward);
    for (int i = 0; is_ok && i < forward->model->config.layers; i++) {
        is_ok = run_layer(forward, i);
    }
    return is_ok;
}

bool model_states(struct model *model, float *states_out, struct error *error)
{
    struct backend *backend = model->backend;
    size_t count = (size_t)model->rows_count * (size_t)model->config.hidden;
    size_t element = backend->activation_bytes;
    // Narrower numbers are brought to the end of the room, and widened from the front.
    char *target = (char *)states_out + count * (sizeof(float) - element);
    if (!model_check(
            backend->ops->copy_out(backend, target, model->buffers.normed, 0, count * element),
            "states", error)) {
        return false;
    }
    for (size_t i = 0; element < sizeof(float) && i < count; i++) {
        dtype_to_f32(&states_out[i], target + i * element, DTYPE_BF16, 1);
    }
    return true;
}

void model_normalize(float *vector, int width)
{
    double squares = 0;
    for (int i = 0; i < width; i++) {
        squares += (double)vector[i] * (double)vector[i];
    }
    double length = squares > 0 ? sqrt(squares) : 1;
    for (int i = 0; i < width; i++) {
        vector[i] = (float)((double)vector[i] / length);
    }
}

/* One text's vector of its rows' states. */
static void pool(const struct model_config *config, const float *states, int rows,
                 float *vector_out)
{
    size_t hidden = (size_t)config->hidden;
    int used = config->encoder.pooling == POOLING_FIRST ? 1 : rows;
    for (size_t i = 0; i < hidden; i++) {
        double sum = 0;
        for (int r = 0; r < used; r++) {
            sum += (double)states[(size_t)r * hidden + i];
        }
        vector_out[i] = (float)(sum / used);
    }
    if (config->encoder.normalizes) {
        model_normalize(vector_out, config->hidden);
    }
}

bool model_encode(struct model *model, const struct model_batch *batch, float *const *vectors_out,
                  struct error *error)
{
    if (!model_forward(model, batch, error) || !model_states(model, model->states, error)) {
        return false;
    }
    for (int s = 0; s < batch->sequences_count; s++) {
        int first = batch->row_starts[s];
        pool(&model->config, model->states + (size_t)first * (size_t)model->config.hidden,
             batch->row_starts[s + 1] - first, vectors_out[s]);
    }
    return true;
}
