/* forward_attention: a layer's attention, with plain heads or latent ones. */
#include "pipeline/model/model.h"

#include <stddef.h>

#include "pipeline/model/forward_internal.h"

static bool project_heads(struct forward *forward, int index)
{
    struct model *model = forward->model;
    struct step_buffers *buffers = &model->buffers;
    const struct layer_weights *layer = &model->weights->layers[index];
    struct rope_kv_write_args rope = {
        .step = &forward->step,
        .shape = model_shape(model),
        .rotations = model->config.encoder.is_encoder ? NULL : buffers->rotations,
        .q_norm = layer->q_norm,
        .k_norm = layer->k_norm,
        .is_norm_whole = model->config.is_qk_norm_whole,
        .epsilon = (float)model->config.norm_epsilon,
        .qkv = buffers->qkv,
        .kv = model->kv[index],
    };
    return forward_linear(forward, layer->qkv, buffers->normed, buffers->qkv, forward->step.rows) &&
           model_check(forward->ops->rope_kv_write(forward->backend, &rope), "rope",
                       forward->error);
}

/* The queries, through their bottleneck where there is one. */
static bool project_queries(struct forward *forward, const struct latent_weights *latent)
{
    struct step_buffers *buffers = &forward->model->buffers;
    int rows = forward->step.rows;
    if (latent->q_down == NULL) {
        return forward_linear(forward, latent->q, buffers->normed, buffers->latent_q, rows);
    }
    struct add_norm_args norm = {
        .residual = buffers->q_down,
        .scale = latent->q_norm,
        .output = buffers->q_normed,
        .consumer = forward->model->format,
        .rows = rows,
        .width = forward->model->config.latent.q_rank,
        .epsilon = (float)forward->model->config.norm_epsilon,
    };
    return forward_linear(forward, latent->q_down, buffers->normed, buffers->q_down, rows) &&
           model_check(forward->ops->add_norm(forward->backend, &norm), "norm", forward->error) &&
           forward_linear(forward, latent->q, buffers->q_normed, buffers->latent_q, rows);
}

static bool head_linear(struct forward *forward, const struct head_linear_args *args)
{
    return model_check(forward->ops->head_linear(forward->backend, args), "product of heads",
                       forward->error);
}

static bool project_latent(struct forward *forward, int index)
{
    struct model *model = forward->model;
    struct step_buffers *buffers = &model->buffers;
    const struct latent_weights *latent = &model->weights->layers[index].latent;
    const struct latent_config *sizes = &model->config.latent;
    struct head_linear_args absorb = {
        .weights = latent->absorb,
        .heads = latent->heads,
        .input = buffers->latent_q,
        .input_width = sizes->plain + sizes->rotated,
        .output = buffers->qkv,
        .output_width = model->config.head_dim,
        .rows = forward->step.rows,
    };
    struct latent_write_args write = {
        .step = &forward->step,
        .shape = model_shape(model),
        .is_interleaved = sizes->is_interleaved,
        .rotations = buffers->rotations,
        .keys = buffers->latent_keys,
        .norm = latent->kv_norm,
        .epsilon = (float)model->config.norm_epsilon,
        .q = buffers->latent_q,
        .q_width = sizes->plain + sizes->rotated,
        .absorbed = buffers->qkv,
        .kv = model->kv[index],
    };
    return project_queries(forward, latent) &&
           forward_linear(forward, latent->kv_down, buffers->normed, buffers->latent_keys,
                          forward->step.rows) &&
           head_linear(forward, &absorb) &&
           model_check(forward->ops->latent_write(forward->backend, &write), "latent keys",
                       forward->error);
}

bool forward_project(struct forward *forward, int layer)
{
    return forward->model->config.latent.kv_rank > 0 ? project_latent(forward, layer)
                                                     : project_heads(forward, layer);
}

bool forward_attend(struct forward *forward, int layer)
{
    struct model *model = forward->model;
    struct step_buffers *buffers = &model->buffers;
    const struct latent_config *sizes = &model->config.latent;
    bool is_latent = sizes->kv_rank > 0;
    struct attention_args args = {
        .step = &forward->step,
        .shape = model_shape(model),
        .scale = model_config_scale(&model->config),
        .window = model->config.has_window[layer] ? model->config.window : 0,
        .is_bidirectional = model->config.encoder.is_encoder,
        .qkv = buffers->qkv,
        .kv = model->kv[layer],
        .output = is_latent ? buffers->latent_attended : buffers->attended,
    };
    const struct latent_weights *latent = &model->weights->layers[layer].latent;
    struct head_linear_args expand = {
        .weights = latent->expand,
        .heads = latent->heads,
        .input = buffers->latent_attended,
        .input_width = sizes->kv_rank,
        .output = buffers->attended,
        .output_width = sizes->value_dim,
        .rows = forward->step.rows,
    };
    return model_check(forward->ops->attention(forward->backend, &args), "attention",
                       forward->error) &&
           (!is_latent || head_linear(forward, &expand));
}
