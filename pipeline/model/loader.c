/* loader: tensors by name, with errors that name them. */
#include "pipeline/model/loader.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "schemas/base/check.h"

enum { PARTS_MAX = 3 };

bool loader_failed(const struct loader *loader, const char *name, enum kernel_status status)
{
    return error_set(loader->error, status == KERNEL_OUT_OF_MEMORY ? ERROR_FATAL : ERROR_CONFIG,
                     NULL, NULL, "cannot load %s: %s", name, kernel_status_text(status));
}

static bool read_dtype(const struct tensor *tensor, enum dtype *dtype_out)
{
    for (enum dtype dtype = DTYPE_F32; dtype <= DTYPE_F16; dtype++) {
        if (strcmp(tensor->dtype, dtype_name(dtype)) == 0) {
            *dtype_out = dtype;
            return true;
        }
    }
    return false;
}

/* Finds `name` with the shape [rows] (columns 0) or [rows, columns]. */
static bool find(const struct loader *loader, const char *name, int rows, int columns,
                 const void **data_out, enum dtype *dtype_out)
{
    const struct tensor *tensor = safetensors_claim(loader->safetensors, name);
    if (tensor == NULL) {
        return error_set(loader->error, ERROR_CONFIG, "invalid_weights", NULL,
                         "tensor %s is missing", name);
    }
    int dims = columns == 0 ? 1 : 2;
    if (tensor->dims != dims || tensor->shape[0] != rows ||
        (dims == 2 && tensor->shape[1] != columns)) {
        return error_set(loader->error, ERROR_CONFIG, "invalid_weights", NULL,
                         "tensor %s has %d dimensions [%lld, %lld], config.json calls for "
                         "[%d, %d]",
                         name, tensor->dims, (long long)tensor->shape[0],
                         (long long)tensor->shape[1], rows, columns);
    }
    if (!read_dtype(tensor, dtype_out)) {
        return error_set(loader->error, ERROR_CONFIG, "invalid_weights", NULL,
                         "tensor %s has dtype %s, must be F32, BF16 or F16", name, tensor->dtype);
    }
    *data_out = tensor->data;
    return true;
}

static bool load_vector(const struct loader *loader, const char *name, int width,
                        struct device_buffer **buffer_out)
{
    struct weight_part part = {.rows = 1};
    if (!find(loader, name, width, 0, &part.data, &part.dtype)) {
        return false;
    }
    size_t bytes = (size_t)width * sizeof(float);
    float *values = malloc(bytes);
    if (values == NULL) {
        return loader_failed(loader, name, KERNEL_OUT_OF_MEMORY);
    }
    dtype_to_f32(values, part.data, part.dtype, (size_t)width);
    const struct backend_operations *ops = loader->backend->ops;
    enum kernel_status status = ops->buffer_open(loader->backend, bytes, buffer_out);
    if (status == KERNEL_OK) {
        status = ops->copy_in(loader->backend, *buffer_out, 0, values, bytes);
    }
    free(values);
    return status == KERNEL_OK || loader_failed(loader, name, status);
}

bool loader_find_part(const struct loader *loader, const char *prefix, const struct part_spec *spec,
                      int columns, struct weight_part *part_out)
{
    char name[LOADER_NAME_BYTES];
    (void)snprintf(name, sizeof(name), "%s%s.weight", prefix, spec->name);
    *part_out = (struct weight_part){.rows = spec->rows};
    if (!find(loader, name, spec->rows, columns, &part_out->data, &part_out->dtype)) {
        return false;
    }
    if (!spec->has_bias) {
        return true;
    }
    (void)snprintf(name, sizeof(name), "%s%s.bias", prefix, spec->name);
    return find(loader, name, spec->rows, 0, &part_out->bias, &part_out->bias_dtype);
}

bool loader_weight(const struct loader *loader, const char *prefix, const struct part_spec *specs,
                   int specs_count, int columns, struct weight **weight_out)
{
    struct weight_part parts[PARTS_MAX];
    CHECK(specs_count <= PARTS_MAX);
    for (int i = 0; i < specs_count; i++) {
        if (!loader_find_part(loader, prefix, &specs[i], columns, &parts[i])) {
            return false;
        }
    }
    struct weight_source source = {
        .parts = parts, .parts_count = specs_count, .columns = columns, .format = loader->format};
    enum kernel_status status =
        loader->backend->ops->weight_open(loader->backend, &source, weight_out);
    return status == KERNEL_OK || loader_failed(loader, specs[0].name, status);
}

bool loader_vector(const struct loader *loader, const char *prefix, const char *name, int width,
                   struct device_buffer **buffer_out)
{
    char whole[LOADER_NAME_BYTES];
    (void)snprintf(whole, sizeof(whole), "%s%s", prefix, name);
    return load_vector(loader, whole, width, buffer_out);
}
