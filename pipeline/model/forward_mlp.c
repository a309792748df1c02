/* forward_mlp: what follows attention in a layer: an MLP, or a mixture of experts beside which
 * there may be one that all rows share. */
#include "pipeline/model/model.h"

#include <stddef.h>

#include "pipeline/model/forward_internal.h"

static bool plain_mlp(struct forward *forward, const struct layer_weights *layer, int width,
                      int rows)
{
    struct step_buffers *buffers = &forward->model->buffers;
    struct mlp_args args = {
        .gate_up = layer->gate_up,
        .down = layer->down,
        .width = width,
        .input = buffers->normed,
        .gated = buffers->gate_up,
        .activated = buffers->activated,
        .output = buffers->projected,
        .rows = rows,
    };
    return model_check(forward->ops->mlp(forward->backend, &args), "mlp", forward->error);
}

static bool route(struct forward *forward, const struct expert_weights *experts, int rows)
{
    struct step_buffers *buffers = &forward->model->buffers;
    struct expert_route_args args = {
        .logits = buffers->router_logits,
        .bias = experts->bias,
        .routing = forward->model->config.experts.routing,
        .slots = &buffers->slots,
        .rows = rows,
    };
    return model_check(forward->ops->logits(forward->backend, experts->router, buffers->normed,
                                            buffers->router_logits, rows),
                       "router", forward->error) &&
           model_check(forward->ops->expert_route(forward->backend, &args), "routing",
                       forward->error);
}

static bool expert_linear(struct forward *forward, const struct expert_weights *experts,
                          struct weight *const *weights, const struct device_buffer *input,
                          struct device_buffer *output, int count)
{
    struct expert_linear_args args = {
        .weights = weights,
        .experts = experts->count,
        .slots = &forward->model->buffers.slots,
        .count = count,
        .input = input,
        .output = output,
    };
    return model_check(forward->ops->expert_linear(forward->backend, &args), "expert product",
                       forward->error);
}

static bool combine(struct forward *forward, bool has_shared, int rows)
{
    struct step_buffers *buffers = &forward->model->buffers;
    struct expert_combine_args args = {
        .slots = &buffers->slots,
        .top_k = forward->model->config.experts.routing.top_k,
        .input = buffers->expert_output,
        .output = buffers->projected,
        .is_first = !has_shared,
        .rows = rows,
        .width = forward->model->config.hidden,
    };
    return model_check(forward->ops->expert_combine(forward->backend, &args), "expert sum",
                       forward->error);
}

static bool mixture(struct forward *forward, const struct layer_weights *layer, int rows)
{
    const struct model_config *config = &forward->model->config;
    const struct expert_weights *experts = &layer->experts;
    bool has_shared = layer->gate_up != NULL;
    struct step_buffers *buffers = &forward->model->buffers;
    int count = rows * config->experts.routing.top_k;
    struct gather_args gather = {.indices = buffers->slots.rows,
                                 .input = buffers->normed,
                                 .output = buffers->expert_input,
                                 .count = count,
                                 .width = config->hidden};
    return (!has_shared || plain_mlp(forward, layer, config->experts.shared, rows)) &&
           route(forward, experts, rows) && forward_gather(forward, &gather) &&
           expert_linear(forward, experts, experts->gate_up, buffers->expert_input,
                         buffers->expert_gate_up, count) &&
           model_check(forward->ops->silu_mul(forward->backend, buffers->expert_gate_up,
                                              buffers->expert_activated, count,
                                              config->experts.intermediate),
                       "activation", forward->error) &&
           expert_linear(forward, experts, experts->down, buffers->expert_activated,
                         buffers->expert_output, count) &&
           combine(forward, has_shared, rows);
}

bool forward_mlp(struct forward *forward, int layer, int rows)
{
    const struct model *model = forward->model;
    const struct layer_weights *weights = &model->weights->layers[layer];
    return weights->experts.router != NULL
               ? mixture(forward, weights, rows)
               : plain_mlp(forward, weights, model->config.intermediate, rows);
}
