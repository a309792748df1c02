/* weights: a model's tensors where the backend wants them. Owned by the model. */
#ifndef PIPELINE_MODEL_WEIGHTS_H
#define PIPELINE_MODEL_WEIGHTS_H

#include "kernels/backend.h"
#include "pipeline/model/layer_weights.h"
#include "pipeline/model/loader.h"
#include "schemas/base/error.h"

struct weights {
    struct backend *backend;
    struct device_buffer *embeddings; // [vocabulary, hidden]
    struct layer_weights *layers;
    int layers_count;
    struct device_buffer *final_norm;
    struct weight *lm_head; // [vocabulary, hidden]

    // Encoders, which lack the two above.
    struct device_buffer *positions;      // [context, hidden], the type of all tokens added
    struct device_buffer *embedding_norm; // [hidden]
    struct device_buffer *embedding_bias; // [hidden]
};

/* Loads every tensor that the loader's config calls for; one that is missing, left over or of
 * another shape is an error that names it. */
MUST_CHECK bool weights_open(const struct loader *loader, struct weights **weights_out);
void weights_close(struct weights *weights); // accepts NULL

#endif
