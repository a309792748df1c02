/* latent_weights: the projections of latent attention in its absorbed form. Owned by its layer.
 *
 * A head's keys and values would be kv_b * latent. Instead each query is brought into the latent's
 * space (absorb), attends there, and what it gets is brought back (expand); so one vector per
 * position serves all heads, in prefill and in decode.
 */
#ifndef PIPELINE_MODEL_LATENT_WEIGHTS_H
#define PIPELINE_MODEL_LATENT_WEIGHTS_H

#include "pipeline/model/loader.h"

struct latent_weights {
    struct weight *q_down;         // [q_rank, hidden], or NULL
    struct device_buffer *q_norm;  // [q_rank], or NULL
    struct weight *q;              // [heads (plain + rotated), q_rank or hidden]
    struct weight *kv_down;        // [kv_rank + rotated, hidden]
    struct device_buffer *kv_norm; // [kv_rank]
    struct weight **absorb;        // [heads] of [kv_rank, plain]
    struct weight **expand;        // [heads] of [value_dim, kv_rank]
    int heads;
};

/* What was loaded before a failure is closed by latent_weights_close. */
MUST_CHECK bool latent_weights_load(const struct loader *loader, const char *prefix,
                                    struct latent_weights *latent);
void latent_weights_close(struct backend *backend, struct latent_weights *latent);

#endif
