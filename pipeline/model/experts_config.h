/* experts_config: the mixture layers of a model, as config.json says. */
#ifndef PIPELINE_MODEL_EXPERTS_CONFIG_H
#define PIPELINE_MODEL_EXPERTS_CONFIG_H

#include <jansson.h>
#include <stdbool.h>

#include "kernels/backend.h"
#include "schemas/base/error.h"

/* How a family calls the tensors of a mixture layer. */
enum expert_names {
    EXPERT_NAMES_MLP,    // mlp.experts.0.gate_proj, up_proj, down_proj
    EXPERT_NAMES_SPARSE, // block_sparse_moe.experts.0.w1, w3, w2
};

/* routing.experts 0: there are no mixture layers. */
struct experts_config {
    struct expert_routing routing;
    enum expert_names names;
    int intermediate; // width of one expert
    int shared;       // width of the MLP that every row goes through beside its experts; 0: none
    int first_layer;  // the layers before it have a plain MLP
    bool has_bias;    // of the choice
};

/* How a mixture family writes its members, and what it implies. */
struct expert_family {
    const char *count;
    const char *count_too;    // other name for it, or NULL
    const char *intermediate; // of one expert
    enum expert_names names;
    bool normalizes;       // unless norm_topk_prob says otherwise
    bool never_normalizes; // ignores norm_topk_prob
    bool is_deepseek;      // shared experts, dense first layers, groups, a factor
    bool is_sigmoid;       // DeepSeek-V3's router: sigmoid scores, a bias, pairs of experts
};

extern const struct expert_family expert_family_mixtral;
extern const struct expert_family expert_family_qwen3;
extern const struct expert_family expert_family_deepseek_v2;
extern const struct expert_family expert_family_deepseek_v3;

/* `family` NULL: no mixture layers. */
MUST_CHECK bool experts_config_read(const json_t *root, const char *file,
                                    const struct expert_family *family,
                                    struct experts_config *experts_out, struct error *error);

#endif
