/* expert_weights: the tensors of a mixture layer under the names of its family. */
#include "pipeline/model/expert_weights.h"

#include <stdio.h>
#include <stdlib.h>

struct expert_tensors {
    const char *router;
    const char *experts;
    const char *gate;
    const char *up;
    const char *down;
};

static const struct expert_tensors expert_tensors[] = {
    [EXPERT_NAMES_MLP] = {"mlp.gate", "mlp.experts", "gate_proj", "up_proj", "down_proj"},
    [EXPERT_NAMES_SPARSE] = {"block_sparse_moe.gate", "block_sparse_moe.experts", "w1", "w3", "w2"},
};

static bool load_expert(const struct loader *loader, const char *layer_prefix, int index,
                        struct expert_weights *experts)
{
    const struct model_config *config = loader->config;
    const struct expert_tensors *names = &expert_tensors[config->experts.names];
    int width = config->experts.intermediate;
    const struct part_spec gate_up[] = {{names->gate, width, false}, {names->up, width, false}};
    const struct part_spec down = {names->down, config->hidden, false};
    char prefix[LOADER_NAME_BYTES];
    (void)snprintf(prefix, sizeof(prefix), "%s%s.%d.", layer_prefix, names->experts, index);
    return loader_weight(loader, prefix, gate_up, 2, config->hidden, &experts->gate_up[index]) &&
           loader_weight(loader, prefix, &down, 1, width, &experts->down[index]);
}

/* The router stays in f32: its choices are discrete, and it is small. */
bool expert_weights_load(const struct loader *loader, const char *prefix,
                         struct expert_weights *experts)
{
    const struct model_config *config = loader->config;
    int count = config->experts.routing.experts;
    struct loader exact = *loader;
    exact.format = WEIGHTS_F32;
    const struct part_spec router = {expert_tensors[config->experts.names].router, count, false};
    experts->gate_up = calloc((size_t)count, sizeof(*experts->gate_up));
    experts->down = calloc((size_t)count, sizeof(*experts->down));
    if (experts->gate_up == NULL || experts->down == NULL) {
        return loader_failed(loader, "the list of experts", KERNEL_OUT_OF_MEMORY);
    }
    experts->count = count;
    bool is_ok =
        loader_weight(&exact, prefix, &router, 1, config->hidden, &experts->router) &&
        (!config->experts.has_bias ||
         loader_vector(loader, prefix, "mlp.gate.e_score_correction_bias", count, &experts->bias));
    for (int i = 0; is_ok && i < count; i++) {
        is_ok = load_expert(loader, prefix, i, experts);
    }
    return is_ok;
}

void expert_weights_close(struct backend *backend, struct expert_weights *experts)
{
    backend->ops->weight_close(backend, experts->router);
    backend->ops->buffer_close(backend, experts->bias);
    for (int i = 0; i < experts->count; i++) {
        backend->ops->weight_close(backend, experts->gate_up[i]);
        backend->ops->weight_close(backend, experts->down[i]);
    }
    free(experts->gate_up);
    free(experts->down);
}
