/* expert_weights: the matrices of one mixture layer. Owned by its layer. */
#ifndef PIPELINE_MODEL_EXPERT_WEIGHTS_H
#define PIPELINE_MODEL_EXPERT_WEIGHTS_H

#include "pipeline/model/loader.h"

struct expert_weights {
    struct weight *router;      // [experts, hidden], f32 in every format
    struct device_buffer *bias; // [experts] f32 of the choice, or NULL
    struct weight **gate_up;    // [experts] of [2 expert intermediate, hidden]
    struct weight **down;       // [experts] of [hidden, expert intermediate]
    int count;
};

/* What was loaded before a failure is closed by expert_weights_close. */
MUST_CHECK bool expert_weights_load(const struct loader *loader, const char *prefix,
                                    struct expert_weights *experts);
void expert_weights_close(struct backend *backend, struct expert_weights *experts);

#endif
