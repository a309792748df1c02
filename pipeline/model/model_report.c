/* model_report: runs the loader over a backend that only counts. */
#include "pipeline/model/model_report.h"

#include <string.h>

#include "pipeline/model/weights.h"
#include "schemas/base/check.h"

/* A backend without memory: its handles are all the same, and it sums what it is given. */
struct counting_backend {
    struct backend backend;
    size_t fixed_bytes; // of what is the same in every format: vectors and the embeddings
    size_t matrix_elements;
    size_t matrix_rows;
};

static struct counting_backend *counting_of(struct backend *backend)
{
    return (struct counting_backend *)backend;
}

static enum kernel_status count_buffer(struct backend *backend, size_t bytes,
                                       struct device_buffer **buffer_out)
{
    counting_of(backend)->fixed_bytes += bytes;
    *buffer_out = (struct device_buffer *)(void *)backend;
    return KERNEL_OK;
}

static void forget_buffer(struct backend *backend, struct device_buffer *buffer)
{
    (void)backend;
    (void)buffer;
}

static enum kernel_status ignore_copy(struct backend *backend, struct device_buffer *target,
                                      size_t offset, const void *source, size_t bytes)
{
    (void)backend;
    (void)target;
    (void)offset;
    (void)source;
    (void)bytes;
    return KERNEL_OK;
}

static enum kernel_status count_weight(struct backend *backend, const struct weight_source *source,
                                       struct weight **weight_out)
{
    for (int i = 0; i < source->parts_count; i++) {
        const struct weight_part *part = &source->parts[i];
        counting_of(backend)->matrix_elements += (size_t)part->rows * (size_t)source->columns;
        counting_of(backend)->matrix_rows += (size_t)part->rows;
        counting_of(backend)->fixed_bytes +=
            part->bias == NULL ? 0 : (size_t)part->rows * sizeof(float);
    }
    *weight_out = (struct weight *)(void *)backend;
    return KERNEL_OK;
}

static void forget_weight(struct backend *backend, struct weight *weight)
{
    (void)backend;
    (void)weight;
}

static enum kernel_status count_table(struct backend *backend, const struct weight_part *part,
                                      int columns, struct device_buffer **table_out)
{
    counting_of(backend)->fixed_bytes +=
        (size_t)part->rows * (size_t)columns * dtype_bytes(part->dtype);
    *table_out = (struct device_buffer *)(void *)backend;
    return KERNEL_OK;
}

static const struct backend_operations counting_operations = {
    .buffer_open = count_buffer,
    .buffer_close = forget_buffer,
    .copy_in = ignore_copy,
    .weight_open = count_weight,
    .weight_close = forget_weight,
    .table_open = count_table,
};

static int64_t elements_of(const struct tensor *tensor)
{
    int64_t elements = 1; // the file's own check keeps the product within its size
    for (int i = 0; i < tensor->dims; i++) {
        elements *= tensor->shape[i];
    }
    return elements;
}

static void add_tensor(struct model_report *report, const struct tensor *tensor)
{
    int64_t elements = elements_of(tensor);
    report->parameters += elements;
    report->file_bytes += tensor->bytes;
    int i = 0;
    while (i < report->dtypes_count && strcmp(report->dtypes[i].name, tensor->dtype) != 0) {
        i++;
    }
    if (i == report->dtypes_count) {
        CHECK(i < REPORT_DTYPES_MAX); // safetensors knows fewer
        memcpy(report->dtypes[i].name, tensor->dtype, sizeof tensor->dtype);
        report->dtypes_count++;
    }
    report->dtypes[i].parameters += elements;
}

static bool count_weights(struct safetensors *safetensors, struct adapter *adapter,
                          struct model_report *report, struct error *error)
{
    struct counting_backend counting = {.backend.ops = &counting_operations};
    struct weights *weights = NULL;
    const struct loader loader = {.config = &report->config,
                                  .format = WEIGHTS_F32,
                                  .backend = &counting.backend,
                                  .safetensors = safetensors,
                                  .adapter = adapter,
                                  .is_dry = true,
                                  .error = error};
    if (!weights_open(&loader, &weights)) {
        return false;
    }
    weights_close(weights);
    report->weights_bytes_f32 = counting.fixed_bytes + 4 * counting.matrix_elements;
    report->weights_bytes_bf16 = counting.fixed_bytes + 2 * counting.matrix_elements;
    report->weights_bytes_int8 = // with a scale per output
        counting.fixed_bytes + counting.matrix_elements + sizeof(float) * counting.matrix_rows;
    return true;
}

/* What the files hold, whether the model uses it or not. */
static void add_tensors(const struct safetensors *safetensors, struct model_report *report)
{
    const struct model_config *config = &report->config;
    int value_dim = config->latent.kv_rank > 0 ? config->latent.kv_rank : config->head_dim;
    report->tensors = (int64_t)safetensors_count(safetensors);
    for (size_t i = 0; i < safetensors_count(safetensors); i++) {
        add_tensor(report, safetensors_at(safetensors, i));
    }
    report->kv_bytes_per_token = sizeof(float) * (size_t)config->layers * (size_t)config->kv_heads *
                                 (size_t)(config->head_dim + value_dim);
}

bool model_report_make(const char *path, const char *adapter_path, struct model_report *report_out,
                       struct error *error)
{
    struct model_report report = {0};
    struct safetensors *safetensors = NULL;
    struct adapter *adapter = NULL;
    bool is_ok = model_config_load(path, &report.config, error) &&
                 (adapter_path == NULL || adapter_open(adapter_path, &adapter, error)) &&
                 safetensors_open(path, &safetensors, error);
    if (is_ok) {
        add_tensors(safetensors, &report);
        is_ok = count_weights(safetensors, adapter, &report, error);
    }
    adapter_close(adapter);
    safetensors_close(safetensors);
    if (is_ok) {
        *report_out = report;
    }
    return is_ok;
}
