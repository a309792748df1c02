/* loader: tensors by name, with errors that name them. */
#include "pipeline/model/loader.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pipeline/model/quantized_matrix.h"
#include "schemas/base/check.h"

enum { PARTS_MAX = 3 };

bool loader_failed(const struct loader *loader, const char *name, enum kernel_status status)
{
    return error_set(loader->error, status == KERNEL_OUT_OF_MEMORY ? ERROR_FATAL : ERROR_CONFIG,
                     NULL, NULL, "cannot load %s: %s", name, kernel_status_text(status));
}

void loader_layer_done(const struct loader *loader, int done)
{
    if (loader->progress.on_layer != NULL) {
        loader->progress.on_layer(loader->progress.context, done, loader->config->layers);
    }
}

bool loader_find(const struct loader *loader, const char *name, int rows, int columns,
                 const struct tensor **tensor_out)
{
    const struct tensor *tensor = safetensors_claim(loader->safetensors, name);
    if (tensor == NULL) {
        return error_set(loader->error, ERROR_CONFIG, "invalid_weights", NULL,
                         "tensor %s is missing", name);
    }
    int dims = columns == 0 ? 1 : 2;
    bool is_scalar = dims == 1 && rows == 1 && tensor->dims == 0;
    if (!is_scalar && (tensor->dims != dims || tensor->shape[0] != rows ||
                       (dims == 2 && tensor->shape[1] != columns))) {
        return error_set(loader->error, ERROR_CONFIG, "invalid_weights", NULL,
                         "tensor %s has %d dimensions [%lld, %lld], config.json calls for "
                         "[%d, %d]",
                         name, tensor->dims, (long long)tensor->shape[0],
                         (long long)tensor->shape[1], rows, columns);
    }
    *tensor_out = tensor;
    return true;
}

/* The same, of numbers that a back end reads. */
static bool find(const struct loader *loader, const char *name, int rows, int columns,
                 const void **data_out, enum dtype *dtype_out)
{
    const struct tensor *tensor = NULL;
    if (!loader_find(loader, name, rows, columns, &tensor)) {
        return false;
    }
    if (!tensor_dtype(tensor, DTYPE_F32, DTYPE_F16, dtype_out)) {
        return error_set(loader->error, ERROR_CONFIG, "invalid_weights", NULL,
                         "tensor %s has dtype %s, must be F32, BF16 or F16", name, tensor->dtype);
    }
    *data_out = tensor->data;
    return true;
}

bool loader_take_floats(const struct loader *loader, const char *name, int rows, int columns,
                        float **values_out)
{
    const void *data = NULL;
    enum dtype dtype = DTYPE_F32;
    if (!find(loader, name, rows, columns, &data, &dtype)) {
        return false;
    }
    size_t count = (size_t)rows * (columns == 0 ? 1 : (size_t)columns);
    float *values = malloc(count * sizeof(float));
    if (values == NULL) {
        return loader_failed(loader, name, KERNEL_OUT_OF_MEMORY);
    }
    dtype_to_f32(values, data, dtype, count);
    *values_out = values;
    return true;
}

static void count(const struct loader *loader, size_t bytes)
{
    if (loader->bytes != NULL) {
        *loader->bytes += bytes;
    }
}

static bool load_vector(const struct loader *loader, const char *name, int width,
                        struct device_buffer **buffer_out)
{
    float *values = NULL;
    if (!loader_take_floats(loader, name, width, 0, &values)) {
        return false;
    }
    size_t bytes = (size_t)width * sizeof(float);
    const struct backend_operations *ops = loader->backend->ops;
    enum kernel_status status = ops->buffer_open(loader->backend, bytes, buffer_out);
    if (status == KERNEL_OK) {
        status = ops->copy_in(loader->backend, *buffer_out, 0, values, bytes);
    }
    free(values);
    count(loader, bytes);
    return status == KERNEL_OK || loader_failed(loader, name, status);
}

void loader_part_close(struct loader_part *part)
{
    free(part->values);
    part->values = NULL;
}

/* Gives the part memory of its own, with the numbers of the file. */
static bool take_values(const struct loader *loader, const char *name, int columns,
                        struct loader_part *part)
{
    size_t elements = (size_t)part->part.rows * (size_t)columns;
    float *values = part->values != NULL ? part->values : calloc(elements, sizeof(*values));
    if (values == NULL) {
        return loader_failed(loader, name, KERNEL_OUT_OF_MEMORY);
    }
    if (part->values == NULL && !loader->is_dry) {
        dtype_to_f32(values, part->part.data, part->part.dtype, elements);
    }
    part->values = values;
    part->part.data = values;
    part->part.dtype = DTYPE_F32;
    return true;
}

static bool apply_adapter(const struct loader *loader, const char *name, int columns,
                          struct loader_part *part)
{
    struct adapter_pair pair;
    if (!adapter_find(loader->adapter, name, part->part.rows, columns, &pair, loader->error)) {
        return false;
    }
    if (pair.rank == 0) {
        return true;
    }
    return take_values(loader, name, columns, part) &&
           (loader->is_dry || adapter_load_into(&pair, part->values, loader->error));
}

static bool find_matrix(const struct loader *loader, const char *name, int columns,
                        struct loader_part *part)
{
    char full[LOADER_TENSOR_BYTES];
    int rows = part->part.rows;
    if (quantized_matrix_is(loader, name)) {
        return quantized_matrix_take(loader, name, rows, columns, &part->values) &&
               take_values(loader, name, columns, part);
    }
    (void)snprintf(full, sizeof(full), "%s.weight", name);
    return find(loader, full, rows, columns, &part->part.data, &part->part.dtype);
}

bool loader_find_part(const struct loader *loader, const char *prefix, const struct part_spec *spec,
                      int columns, struct loader_part *part_out)
{
    char name[LOADER_NAME_BYTES];
    char bias[LOADER_TENSOR_BYTES];
    struct loader_part part = {.part.rows = spec->rows};
    (void)snprintf(name, sizeof(name), "%s%s", prefix, spec->name);
    (void)snprintf(bias, sizeof(bias), "%s%s.bias", prefix, spec->name);
    if (!find_matrix(loader, name, columns, &part) ||
        (loader->adapter != NULL && !apply_adapter(loader, name, columns, &part)) ||
        (spec->has_bias &&
         !find(loader, bias, spec->rows, 0, &part.part.bias, &part.part.bias_dtype))) {
        loader_part_close(&part);
        return false;
    }
    *part_out = part;
    return true;
}

/* As the report counts them (model_report.c). */
static void count_weight(const struct loader *loader, const struct weight_source *source)
{
    size_t element = source->format == WEIGHTS_INT8 ? 1 : source->format == WEIGHTS_BF16 ? 2 : 4;
    size_t scale = source->format == WEIGHTS_INT8 ? sizeof(float) : 0;
    for (int i = 0; i < source->parts_count; i++) {
        size_t bias = source->parts[i].bias == NULL ? 0 : sizeof(float);
        size_t row = (size_t)source->columns * element + scale + bias;
        count(loader, (size_t)source->parts[i].rows * row);
    }
}

bool loader_weight(const struct loader *loader, const char *prefix, const struct part_spec *specs,
                   int specs_count, int columns, struct weight **weight_out)
{
    struct loader_part found[PARTS_MAX] = {0};
    struct weight_part parts[PARTS_MAX];
    CHECK(specs_count <= PARTS_MAX);
    bool is_ok = true;
    for (int i = 0; is_ok && i < specs_count; i++) {
        is_ok = loader_find_part(loader, prefix, &specs[i], columns, &found[i]);
        parts[i] = found[i].part;
    }
    if (is_ok) {
        struct weight_source source = {.parts = parts,
                                       .parts_count = specs_count,
                                       .columns = columns,
                                       .format = loader->format};
        enum kernel_status status =
            loader->backend->ops->weight_open(loader->backend, &source, weight_out);
        is_ok = status == KERNEL_OK || loader_failed(loader, specs[0].name, status);
        count_weight(loader, &source);
    }
    for (int i = 0; i < specs_count; i++) {
        loader_part_close(&found[i]);
    }
    return is_ok;
}

bool loader_table(const struct loader *loader, const char *name, const struct weight_part *part,
                  struct device_buffer **table_out)
{
    int width = loader->config->hidden;
    enum kernel_status status =
        loader->backend->ops->table_open(loader->backend, part, width, table_out);
    count(loader, (size_t)part->rows * (size_t)width * dtype_bytes(part->dtype));
    return status == KERNEL_OK || loader_failed(loader, name, status);
}

bool loader_vector(const struct loader *loader, const char *prefix, const char *name, int width,
                   struct device_buffer **buffer_out)
{
    char whole[LOADER_NAME_BYTES];
    (void)snprintf(whole, sizeof(whole), "%s%s", prefix, name);
    return load_vector(loader, whole, width, buffer_out);
}
