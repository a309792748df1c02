/* loader: finds a model's tensors, checks their shapes and gives them to the backend: as the files
 * have them, or made f32 where they are packed (quantized_matrix) or an adapter changes them.
 * Internal to the loading of weights.
 */
#ifndef PIPELINE_MODEL_LOADER_H
#define PIPELINE_MODEL_LOADER_H

#include <stdbool.h>

#include "kernels/backend.h"
#include "pipeline/model/adapter.h"
#include "pipeline/model/model.h"
#include "pipeline/model/model_config.h"
#include "pipeline/model/safetensors.h"
#include "schemas/base/error.h"

enum { LOADER_NAME_BYTES = 128, LOADER_TENSOR_BYTES = LOADER_NAME_BYTES + 32 };

struct loader {
    const struct model_config *config;
    enum weight_format format;
    struct backend *backend;
    struct safetensors *safetensors;
    struct adapter *adapter; // or NULL
    bool is_dry;             // checks names and shapes alone; matrices may be all zeros
    struct model_progress progress;
    size_t *bytes; // of what the backend keeps, added up; NULL: nobody asks
    struct error *error;
};

/* A matrix that was found. */
struct loader_part {
    struct weight_part part;
    float *values; // its own memory, where it is not in the file as it is
};

/* One matrix of the model: where it is and what shape it must have. */
struct part_spec {
    const char *name; // after the prefix, without ".weight": "self_attn.q_proj"
    int rows;
    bool has_bias;
};

/* Sets the error that names what could not be loaded. Returns false. */
bool loader_failed(const struct loader *loader, const char *name, enum kernel_status status);
/* Tells whoever watches that the first `done` layers are loaded. */
void loader_layer_done(const struct loader *loader, int done);
/* Finds the tensor `name` of [rows] (columns 0) or [rows, columns] and claims it. */
MUST_CHECK bool loader_find(const struct loader *loader, const char *name, int rows, int columns,
                            const struct tensor **tensor_out);
/* The same as f32, malloc'ed: scales, biases. */
MUST_CHECK bool loader_take_floats(const struct loader *loader, const char *name, int rows,
                                   int columns, float **values_out);
/* Finds a matrix of `columns` and its bias, and claims them; closed when it has been read. */
MUST_CHECK bool loader_find_part(const struct loader *loader, const char *prefix,
                                 const struct part_spec *spec, int columns,
                                 struct loader_part *part_out);
void loader_part_close(struct loader_part *part);
/* Stacks a few matrices of the same width into one weight. */
MUST_CHECK bool loader_weight(const struct loader *loader, const char *prefix,
                              const struct part_spec *specs, int specs_count, int columns,
                              struct weight **weight_out);
/* The rows of a matrix as `embed` wants them. `name`: for errors. */
MUST_CHECK bool loader_table(const struct loader *loader, const char *name,
                             const struct weight_part *part, struct device_buffer **table_out);
/* The tensor `prefix` `name`, [width], as f32. */
MUST_CHECK bool loader_vector(const struct loader *loader, const char *prefix, const char *name,
                              int width, struct device_buffer **buffer_out);

#endif
