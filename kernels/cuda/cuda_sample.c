/* cuda_sample: brings rows' parameters to the device and launches the kernel that chooses. */
#include "kernels/cuda/cuda_backend_internal.h"
#include "kernels/random.h"

_Static_assert(sizeof(struct kernel_token_count) == sizeof(struct token_count), "token counts");

static bool is_edited(const struct sample_params *params)
{
    return params->allowed != NULL || params->output_counts_count > 0;
}

/* One row's parameters, with what they point to on the device. */
static enum kernel_status upload_row(struct cuda_backend *cuda, const struct sample_params *params,
                                     int vocabulary, struct kernel_sample_row *row_out)
{
    *row_out = (struct kernel_sample_row){
        .random = random_of(params->seed, params->position),
        .counts_count = params->output_counts_count,
        .top_k = params->top_k,
        .temperature = params->temperature,
        .top_p = params->top_p,
        .min_p = params->min_p,
        .frequency_penalty = params->frequency_penalty,
        .presence_penalty = params->presence_penalty,
        .repetition_penalty = params->repetition_penalty,
    };
    enum kernel_status status = KERNEL_OK;
    void *memory = NULL;
    if (params->allowed != NULL) {
        size_t words = ((size_t)vocabulary + 31) / 32;
        status = cuda_upload(cuda, params->allowed, words * sizeof(uint32_t), &memory);
        row_out->allowed = memory;
    }
    if (status == KERNEL_OK && params->output_counts_count > 0) {
        status =
            cuda_upload(cuda, params->output_counts,
                        (size_t)params->output_counts_count * sizeof(struct token_count), &memory);
        row_out->counts = memory;
    }
    return status;
}

/* The parameters of up to CUDA_SAMPLE_GROUP rows. `edited`: memory for the next edited row. */
static enum kernel_status upload_group(struct cuda_backend *cuda, const struct sample_args *args,
                                       int first, float **edited,
                                       const struct kernel_sample_row **group_out)
{
    struct kernel_sample_row group[CUDA_SAMPLE_GROUP];
    int count = args->rows - first < CUDA_SAMPLE_GROUP ? args->rows - first : CUDA_SAMPLE_GROUP;
    for (int i = 0; i < count; i++) {
        const struct sample_params *params = &args->params[first + i];
        enum kernel_status status = upload_row(cuda, params, args->vocabulary, &group[i]);
        if (status != KERNEL_OK) {
            return status;
        }
        if (is_edited(params)) {
            group[i].edited = *edited;
            *edited += args->vocabulary;
        }
    }
    void *memory = NULL;
    enum kernel_status status = cuda_upload(cuda, group, (size_t)count * sizeof(group[0]), &memory);
    *group_out = memory;
    return status;
}

/* What the row takes of the upload ring, whose places are multiples of 256 bytes. */
static size_t upload_bytes(const struct sample_params *params, int vocabulary)
{
    enum { UNIT = 256 };
    size_t mask = params->allowed == NULL ? 0 : (size_t)vocabulary / 8 + UNIT;
    size_t counts = (size_t)params->output_counts_count * sizeof(struct token_count);
    return mask + counts + UNIT + sizeof(struct kernel_sample_row);
}

enum kernel_status cuda_sample(struct backend *backend, const struct sample_args *args)
{
    struct cuda_backend *cuda = cuda_of(backend);
    struct sample_kernel_args kernel = {
        .logits = cuda_pointer(args->logits),
        .tokens = cuda_pointer(args->tokens),
        .logprobs = cuda_pointer(args->logprobs),
        .vocabulary = args->vocabulary,
    };
    if (args->vocabulary <= 0 || args->vocabulary > 1 << 20 ||
        args->rows > CUDA_SAMPLE_GROUP * CUDA_SAMPLE_GROUPS) {
        return KERNEL_BAD_SHAPE;
    }
    size_t edits = 0;
    size_t uploads_bytes = 0;
    for (int i = 0; i < args->rows; i++) {
        edits += is_edited(&args->params[i]);
        uploads_bytes += upload_bytes(&args->params[i], args->vocabulary);
    }
    if (uploads_bytes > CUDA_UPLOADS_BYTES_MAX) {
        return KERNEL_OUT_OF_MEMORY; // half as many rows may do
    }
    void *scratch = NULL;
    if (edits > 0) {
        enum kernel_status status =
            cuda_scratch(cuda, edits * (size_t)args->vocabulary * sizeof(float), &scratch);
        if (status != KERNEL_OK) {
            return status;
        }
    }
    float *edited = scratch;
    for (int first = 0; first < args->rows; first += CUDA_SAMPLE_GROUP) {
        enum kernel_status status =
            upload_group(cuda, args, first, &edited, &kernel.groups[first / CUDA_SAMPLE_GROUP]);
        if (status != KERNEL_OK) {
            return status;
        }
    }
    struct cuda_grid grid = {.x = (unsigned)args->rows, .threads = CUDA_SAMPLE_THREADS};
    return cuda_launch(cuda, CUDA_SAMPLE, &grid, &kernel, sizeof(kernel));
}
