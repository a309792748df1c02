/* quantized_matrix: a module's tensors under the names of its kind.
 *
 * fp8: weight, and weight_scale or weight_scale_inv, which both are what to multiply with.
 * AWQ, GPTQ: qweight, qzeros, scales, and g_idx, the group of each input.
 */
#include "pipeline/model/quantized_matrix.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pipeline/model/dequantize.h"

static const struct quantization *quantization_of(const struct loader *loader)
{
    return &loader->config->quantization;
}

static bool is_fp8(const struct tensor *tensor)
{
    enum dtype dtype;
    return tensor_dtype(tensor, DTYPE_F8_E4M3, DTYPE_F8_E5M2, &dtype);
}

static const struct tensor *look(const struct loader *loader, const char *module,
                                 const char *member)
{
    char name[LOADER_TENSOR_BYTES];
    (void)snprintf(name, sizeof(name), "%s.%s", module, member);
    return safetensors_find(loader->safetensors, name);
}

bool quantized_matrix_is(const struct loader *loader, const char *name)
{
    const struct tensor *weight = look(loader, name, "weight");
    switch (quantization_of(loader)->kind) {
    case QUANTIZATION_NONE:
        break;
    case QUANTIZATION_FP8:
        return weight != NULL && is_fp8(weight);
    case QUANTIZATION_AWQ:
    case QUANTIZATION_GPTQ:
        return weight == NULL; // without either, what is missing is qweight
    }
    return false;
}

static bool fail(const struct loader *loader, const char *module, const char *what)
{
    return error_set(loader->error, ERROR_CONFIG, "invalid_weights", NULL, "%s: %s", module, what);
}

/* The scales of an fp8 matrix: in blocks as config.json says, else one, or one for each row. */
static bool read_scales(const struct loader *loader, const char *module, struct fp8_matrix *matrix,
                        float **scales_out)
{
    const struct quantization *quantization = quantization_of(loader);
    const char *member =
        look(loader, module, "weight_scale_inv") != NULL ? "weight_scale_inv" : "weight_scale";
    const struct tensor *scale = look(loader, module, member);
    char name[LOADER_TENSOR_BYTES];
    (void)snprintf(name, sizeof(name), "%s.%s", module, member);
    matrix->block_rows = matrix->rows;
    matrix->block_columns = matrix->columns;
    if (quantization->block_rows > 0) {
        matrix->block_rows = quantization->block_rows;
        matrix->block_columns = quantization->block_columns;
        return loader_take_floats(loader, name, (matrix->rows - 1) / matrix->block_rows + 1,
                                  (matrix->columns - 1) / matrix->block_columns + 1, scales_out);
    }
    if (scale != NULL && (scale->dims == 0 || (scale->dims == 1 && scale->shape[0] == 1))) {
        return loader_take_floats(loader, name, 1, 0, scales_out);
    }
    matrix->block_rows = scale != NULL && scale->shape[0] == 1 ? matrix->rows : 1;
    int scales = matrix->block_rows == 1 ? matrix->rows : 1;
    return loader_take_floats(loader, name, scales, scale != NULL && scale->dims == 1 ? 0 : 1,
                              scales_out);
}

static bool take_fp8(const struct loader *loader, const char *module, int rows, int columns,
                     float *values)
{
    const struct tensor *tensor = NULL;
    float *scales = NULL;
    char name[LOADER_TENSOR_BYTES];
    (void)snprintf(name, sizeof(name), "%s.weight", module);
    struct fp8_matrix matrix = {.rows = rows, .columns = columns};
    if (!loader_find(loader, name, rows, columns, &tensor) ||
        !read_scales(loader, module, &matrix, &scales)) {
        return false;
    }
    matrix.data = tensor->data;
    (void)tensor_dtype(tensor, DTYPE_F8_E4M3, DTYPE_F8_E5M2, &matrix.dtype); // is_fp8 said so
    matrix.scales = scales;
    if (!loader->is_dry) {
        dequantize_fp8(&matrix, values);
    }
    free(scales);
    return true;
}

/* What belongs to one packed matrix while it is read. */
struct packed {
    struct packed_matrix matrix;
    float *scales;
    float *zeros;
    int *groups;
};

static bool find_words(const struct loader *loader, const char *module, const char *member,
                       int rows, int columns, const void **words_out)
{
    const struct tensor *tensor = NULL;
    char name[LOADER_TENSOR_BYTES];
    (void)snprintf(name, sizeof(name), "%s.%s", module, member);
    if (!loader_find(loader, name, rows, columns, &tensor)) {
        return false;
    }
    if (strcmp(tensor->dtype, "I32") != 0) {
        return error_set(loader->error, ERROR_CONFIG, "invalid_weights", NULL,
                         "tensor %s has dtype %s, must be I32", name, tensor->dtype);
    }
    *words_out = tensor->data;
    return true;
}

/* The group of each input, which untrusted numbers may say. */
static bool read_groups(const struct loader *loader, const char *module, struct packed *packed)
{
    const struct quantization *quantization = quantization_of(loader);
    struct packed_matrix *matrix = &packed->matrix;
    const unsigned char *listed = NULL;
    bool is_listed = quantization->kind == QUANTIZATION_GPTQ &&
                     (quantization->is_reordered || look(loader, module, "g_idx") != NULL);
    if (is_listed &&
        !find_words(loader, module, "g_idx", matrix->columns, 0, (const void **)&listed)) {
        return false;
    }
    for (int k = 0; k < matrix->columns; k++) {
        int32_t group = quantization->group == 0 ? 0 : k / quantization->group;
        if (is_listed) {
            memcpy(&group, listed + sizeof(group) * (size_t)k, sizeof(group));
        }
        if (group < 0 || group >= matrix->groups_count) {
            return error_set(loader->error, ERROR_CONFIG, "invalid_weights", NULL,
                             "%s.g_idx: input %d is in group %d, must be below %d", module, k,
                             (int)group, matrix->groups_count);
        }
        packed->groups[k] = group;
    }
    return true;
}

static bool fill_packed(const struct loader *loader, const char *module, struct packed *packed)
{
    struct packed_matrix *matrix = &packed->matrix;
    int count = 32 / matrix->bits;
    bool is_awq = matrix->is_awq;
    char name[LOADER_TENSOR_BYTES];
    (void)snprintf(name, sizeof(name), "%s.scales", module);
    if (matrix->rows % count != 0 || (!is_awq && matrix->columns % count != 0)) {
        return fail(loader, module, "its sides do not fill words of 32 bits");
    }
    if (!find_words(loader, module, "qweight", is_awq ? matrix->columns : matrix->columns / count,
                    is_awq ? matrix->rows / count : matrix->rows, &matrix->words) ||
        !find_words(loader, module, "qzeros", matrix->groups_count, matrix->rows / count,
                    &matrix->zero_points) ||
        !loader_take_floats(loader, name, matrix->groups_count, matrix->rows, &packed->scales) ||
        !read_groups(loader, module, packed)) {
        return false;
    }
    matrix->scales = packed->scales;
    matrix->groups = packed->groups;
    return true;
}

static bool take_packed(const struct loader *loader, const char *module, int rows, int columns,
                        float *values)
{
    const struct quantization *quantization = quantization_of(loader);
    struct packed packed = {
        .matrix = {.rows = rows,
                   .columns = columns,
                   .bits = quantization->bits,
                   .is_awq = quantization->kind == QUANTIZATION_AWQ,
                   .is_less_one = quantization->is_less_one,
                   .groups_count =
                       quantization->group == 0 ? 1 : (columns - 1) / quantization->group + 1}};
    size_t zeros = (size_t)packed.matrix.groups_count * (size_t)rows;
    packed.groups = malloc((size_t)columns * sizeof(*packed.groups));
    packed.zeros = malloc(zeros * sizeof(*packed.zeros));
    bool is_ok = packed.groups != NULL && packed.zeros != NULL;
    is_ok = is_ok ? fill_packed(loader, module, &packed)
                  : loader_failed(loader, module, KERNEL_OUT_OF_MEMORY);
    if (is_ok && !loader->is_dry) {
        dequantize_packed(&packed.matrix, packed.zeros, values);
    }
    free(packed.groups);
    free(packed.zeros);
    free(packed.scales);
    return is_ok;
}

bool quantized_matrix_take(const struct loader *loader, const char *name, int rows, int columns,
                           float **values_out)
{
    size_t elements = (size_t)rows * (size_t)columns;
    float *values = calloc(elements, sizeof(*values)); // never touched where it is dry
    if (values == NULL) {
        return loader_failed(loader, name, KERNEL_OUT_OF_MEMORY);
    }
    bool is_ok = quantization_of(loader)->kind == QUANTIZATION_FP8
                     ? take_fp8(loader, name, rows, columns, values)
                     : take_packed(loader, name, rows, columns, values);
    if (!is_ok) {
        free(values);
        return false;
    }
    *values_out = values;
    return true;
}

static bool ends_with(const char *name, const char *suffix)
{
    size_t length = strlen(name);
    size_t suffix_length = strlen(suffix);
    return length >= suffix_length && strcmp(name + length - suffix_length, suffix) == 0;
}

static bool is_all_zero(const struct tensor *tensor)
{
    const unsigned char *bytes = tensor->data;
    for (size_t i = 0; i < tensor->bytes; i++) {
        if (bytes[i] != 0) {
            return false;
        }
    }
    return true;
}

/* GPTQ's tools give every module a bias. */
static bool is_idle_bias(const struct loader *loader, const struct tensor *tensor)
{
    char name[LOADER_TENSOR_BYTES];
    int length = (int)strlen(tensor->name) - (int)strlen("bias");
    return ends_with(tensor->name, ".bias") &&
           snprintf(name, sizeof(name), "%.*sqweight", length, tensor->name) <
               LOADER_TENSOR_BYTES &&
           safetensors_find(loader->safetensors, name) != NULL && is_all_zero(tensor);
}

void quantized_matrix_claim_redundant(const struct loader *loader)
{
    static const char *const scales[] = {".input_scale", ".k_scale", ".v_scale", ".output_scale"};
    enum quantization_kind kind = quantization_of(loader)->kind;
    size_t count = safetensors_count(loader->safetensors);
    for (size_t i = 0; kind != QUANTIZATION_NONE && i < count; i++) {
        const struct tensor *tensor = safetensors_at(loader->safetensors, i);
        bool is_redundant = kind == QUANTIZATION_GPTQ && is_idle_bias(loader, tensor);
        for (size_t s = 0; kind == QUANTIZATION_FP8 && s < sizeof(scales) / sizeof(scales[0]);
             s++) {
            is_redundant = is_redundant || ends_with(tensor->name, scales[s]);
        }
        if (is_redundant) {
            (void)safetensors_claim(loader->safetensors, tensor->name);
        }
    }
}
