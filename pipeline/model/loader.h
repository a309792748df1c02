/* loader: finds a model's tensors, checks their shapes and gives them to the backend. Internal to
 * the loading of weights.
 */
#ifndef PIPELINE_MODEL_LOADER_H
#define PIPELINE_MODEL_LOADER_H

#include <stdbool.h>

#include "kernels/backend.h"
#include "pipeline/model/model_config.h"
#include "pipeline/model/safetensors.h"
#include "schemas/base/error.h"

enum { LOADER_NAME_BYTES = 128 };

struct loader {
    const struct model_config *config;
    enum weight_format format;
    struct backend *backend;
    struct safetensors *safetensors;
    struct error *error;
};

/* One matrix of the model: where it is and what shape it must have. */
struct part_spec {
    const char *name; // after the prefix, without ".weight": "self_attn.q_proj"
    int rows;
    bool has_bias;
};

/* Sets the error that names what could not be loaded. Returns false. */
bool loader_failed(const struct loader *loader, const char *name, enum kernel_status status);
/* Finds a matrix of `columns` and its bias, and claims them. */
MUST_CHECK bool loader_find_part(const struct loader *loader, const char *prefix,
                                 const struct part_spec *spec, int columns,
                                 struct weight_part *part_out);
/* Stacks a few matrices of the same width into one weight. */
MUST_CHECK bool loader_weight(const struct loader *loader, const char *prefix,
                              const struct part_spec *specs, int specs_count, int columns,
                              struct weight **weight_out);
/* The tensor `prefix` `name`, [width], as f32. */
MUST_CHECK bool loader_vector(const struct loader *loader, const char *prefix, const char *name,
                              int width, struct device_buffer **buffer_out);

#endif
