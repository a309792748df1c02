/* quantization: the dialects of those who write such folders.
 *
 * fp8: DeepSeek's and transformers' own (with weight_block_size), AutoFP8's and vLLM's (without),
 * fbgemm_fp8, and compressed-tensors' float-quantized. AWQ: AutoAWQ's gemm layout. GPTQ: AutoGPTQ's
 * layout and that of gptqmodel, in either form of its zero points.
 */
#include "pipeline/model/quantization.h"

#include <string.h>
#include <strings.h>

#include "pipeline/model/model_json.h"

enum { SIDE_MAX = 1 << 18 };

struct reader {
    const json_t *object; // quantization_config
    const char *file;
    struct error *error;
};

static bool refuse(const struct reader *reader, const char *what, const char *value)
{
    return model_json_refuse(reader->file, what, value, reader->error);
}

/* Whether the text member `name` is `wanted` (or the other, unless NULL) or is not there. */
static bool is_text(const struct reader *reader, const char *name, const char *wanted,
                    const char *wanted_too)
{
    const json_t *value = json_object_get(reader->object, name);
    if (value == NULL || json_is_null(value)) {
        return true;
    }
    const char *text = json_string_value(value);
    return (text != NULL && (strcasecmp(text, wanted) == 0 ||
                             (wanted_too != NULL && strcasecmp(text, wanted_too) == 0))) ||
           refuse(reader, name, text == NULL ? "that is no text" : text);
}

/* A pair of sizes, or null. */
static bool read_block(const struct reader *reader, const json_t *block,
                       struct quantization *quantization)
{
    if (block == NULL || json_is_null(block)) {
        return true;
    }
    json_int_t rows = json_integer_value(json_array_get(block, 0));
    json_int_t columns = json_integer_value(json_array_get(block, 1));
    if (json_array_size(block) != 2 || rows < 1 || rows > SIDE_MAX || columns < 1 ||
        columns > SIDE_MAX) {
        return error_set(reader->error, ERROR_CONFIG, NULL, NULL,
                         "%s: the block of a scale must be two sizes from 1 to %d", reader->file,
                         SIDE_MAX);
    }
    quantization->block_rows = (int)rows;
    quantization->block_columns = (int)columns;
    return true;
}

static bool read_fp8(const struct reader *reader, struct quantization *quantization)
{
    quantization->kind = QUANTIZATION_FP8;
    return is_text(reader, "fmt", "e4m3", "e5m2") &&
           read_block(reader, json_object_get(reader->object, "weight_block_size"), quantization);
}

/* One of compressed-tensors' groups: what its matrices are. */
static bool read_group(const struct reader *outer, const json_t *group,
                       struct quantization *quantization)
{
    const struct reader reader = {json_object_get(group, "weights"), outer->file, outer->error};
    int bits = 0;
    bool is_symmetric = true;
    const struct int_field field = {reader.file, "num_bits", 8, 8};
    const json_t *strategy = json_object_get(reader.object, "strategy");
    bool is_block = json_is_string(strategy) && strcmp(json_string_value(strategy), "block") == 0;
    struct quantization found = {.kind = QUANTIZATION_FP8};
    if (!json_is_object(reader.object)) {
        return refuse(&reader, "config_groups without", "weights");
    }
    if (!is_text(&reader, "type", "float", NULL) ||
        !model_json_int(reader.object, &field, true, &bits, reader.error) ||
        !model_json_bool(reader.object, reader.file, "symmetric", &is_symmetric, reader.error) ||
        (!is_block && !is_text(&reader, "strategy", "tensor", "channel")) ||
        (is_block &&
         !read_block(&reader, json_object_get(reader.object, "block_structure"), &found))) {
        return false;
    }
    if (!is_symmetric || (is_block && found.block_rows == 0)) {
        return refuse(&reader, "quantization of weights",
                      is_symmetric ? "in blocks of no size" : "with zero points");
    }
    if (quantization->kind != QUANTIZATION_NONE &&
        (quantization->block_rows != found.block_rows ||
         quantization->block_columns != found.block_columns)) {
        return refuse(&reader, "config_groups", "that differ in their blocks");
    }
    *quantization = found;
    return true;
}

static bool read_compressed(const struct reader *reader, struct quantization *quantization)
{
    json_t *groups = json_object_get(reader->object, "config_groups");
    const json_t *sparsity =
        json_object_get(json_object_get(reader->object, "sparsity_config"), "format");
    if (!is_text(reader, "format", "float-quantized", "naive-quantized")) {
        return false;
    }
    if (json_is_string(sparsity) && strcmp(json_string_value(sparsity), "dense") != 0) {
        return refuse(reader, "sparsity", json_string_value(sparsity));
    }
    if (json_object_size(json_object_get(reader->object, "transform_config")) > 0) {
        return refuse(reader, "transform_config", "with transforms");
    }
    if (json_object_size(groups) == 0) {
        return refuse(reader, "compressed-tensors without", "config_groups");
    }
    const char *name;
    json_t *group;
    json_object_foreach (groups, name, group) {
        if (!read_group(reader, group, quantization)) {
            return false;
        }
    }
    return true;
}

static bool read_packed(const struct reader *reader, int bits_most,
                        struct quantization *quantization)
{
    const struct int_field bits = {reader->file, "bits", 4, bits_most};
    const struct int_field group = {reader->file, "group_size", -1, SIDE_MAX};
    if (!model_json_int(reader->object, &bits, true, &quantization->bits, reader->error) ||
        !model_json_int(reader->object, &group, true, &quantization->group, reader->error)) {
        return false;
    }
    if (quantization->bits != 4 && quantization->bits != 8) {
        return error_set(reader->error, ERROR_CONFIG, "unsupported_model", NULL,
                         "%s: bits is %d, must be 4 or 8", reader->file, quantization->bits);
    }
    if (quantization->group == 0) {
        return error_set(reader->error, ERROR_CONFIG, NULL, NULL,
                         "%s: group_size is 0, must be positive, or -1 for one group",
                         reader->file);
    }
    quantization->group = quantization->group < 0 ? 0 : quantization->group;
    return true;
}

static bool read_awq(const struct reader *reader, struct quantization *quantization)
{
    bool has_zero_points = true;
    quantization->kind = QUANTIZATION_AWQ;
    if (!model_json_bool(reader->object, reader->file, "zero_point", &has_zero_points,
                         reader->error) ||
        !is_text(reader, "version", "gemm", NULL)) {
        return false;
    }
    return has_zero_points ? read_packed(reader, 4, quantization)
                           : refuse(reader, "awq without", "zero_point");
}

/* gptqmodel's exceptions from the rest: patterns of modules, which may be left as they are
 * ("-:..."), but not be packed in another way. */
static bool check_dynamic(const struct reader *reader)
{
    const char *pattern;
    json_t *value;
    json_t *dynamic = json_object_get(reader->object, "dynamic");
    json_object_foreach (dynamic, pattern, value) {
        if (strncmp(pattern, "-:", 2) != 0) {
            return refuse(reader, "dynamic quantization of", pattern);
        }
    }
    return true;
}

static bool read_gptq(const struct reader *reader, struct quantization *quantization)
{
    bool is_marlin = false;
    const char *form = json_string_value(json_object_get(reader->object, "checkpoint_format"));
    quantization->kind = QUANTIZATION_GPTQ;
    quantization->is_less_one = form == NULL || strcmp(form, "gptq_v2") != 0;
    if (!is_text(reader, "checkpoint_format", "gptq", "gptq_v2") ||
        !is_text(reader, "pack_dtype", "int32", NULL) || !check_dynamic(reader) ||
        !model_json_bool(reader->object, reader->file, "desc_act", &quantization->is_reordered,
                         reader->error) ||
        !model_json_bool(reader->object, reader->file, "is_marlin_format", &is_marlin,
                         reader->error)) {
        return false;
    }
    return is_marlin ? refuse(reader, "gptq in", "marlin format")
                     : read_packed(reader, 8, quantization);
}

static const struct method {
    const char *name;
    bool (*read)(const struct reader *reader, struct quantization *quantization);
} methods[] = {
    {"fp8", read_fp8}, {"fbgemm_fp8", read_fp8}, {"compressed-tensors", read_compressed},
    {"awq", read_awq}, {"gptq", read_gptq},
};

bool quantization_read(const json_t *root, const char *file, struct quantization *quantization_out,
                       struct error *error)
{
    const json_t *object = json_object_get(root, "quantization_config");
    const struct reader reader = {object, file, error};
    *quantization_out = (struct quantization){0};
    if (object == NULL || json_is_null(object)) {
        return true;
    }
    const char *name = json_string_value(json_object_get(object, "quant_method"));
    for (size_t i = 0; name != NULL && i < sizeof(methods) / sizeof(methods[0]); i++) {
        if (strcmp(name, methods[i].name) == 0) {
            return methods[i].read(&reader, quantization_out);
        }
    }
    return refuse(&reader, "quantization", name == NULL ? "of an unknown kind" : name);
}

const char *quantization_name(enum quantization_kind kind)
{
    static const char *const names[] = {"none", "fp8", "awq", "gptq"};
    return names[kind];
}
