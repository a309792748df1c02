/* forward_internal: what the parts of a step share. Rows are those of the step, or in the last
 * layer those whose logits are wanted. */
#ifndef PIPELINE_MODEL_FORWARD_INTERNAL_H
#define PIPELINE_MODEL_FORWARD_INTERNAL_H

#include "pipeline/model/model_internal.h"

/* One step in the making. */
struct forward {
    struct model *model;
    struct backend *backend;
    const struct backend_operations *ops;
    struct step_arrays step;
    struct error *error;
};

MUST_CHECK bool forward_linear(struct forward *forward, const struct weight *weight,
                               const struct device_buffer *input, struct device_buffer *output,
                               int rows);
MUST_CHECK bool forward_gather(struct forward *forward, const struct gather_args *args);
/* residual += delta (may be NULL); `normed` = its norm times scale (NULL: as it is). `consumer`: as
 * in add_norm_args. */
MUST_CHECK bool forward_norm(struct forward *forward, struct device_buffer *residual,
                             const struct device_buffer *delta, const struct device_buffer *scale,
                             enum weight_format consumer, int rows);

/* From `normed` to the cache and the queries of a layer. */
MUST_CHECK bool forward_project(struct forward *forward, int layer);
/* From there to `attended`. */
MUST_CHECK bool forward_attend(struct forward *forward, int layer);
/* From `normed` to `projected`: a plain MLP or a mixture. */
MUST_CHECK bool forward_mlp(struct forward *forward, int layer, int rows);
/* The whole of an encoder, from tokens to states in `normed`. */
MUST_CHECK bool forward_encode(struct forward *forward);

#endif
