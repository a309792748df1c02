/* cuda_experts: launches the kernels of mixture layers. How many rows an expert has stays on the
 * device: no launch waits for it. */
#include "kernels/cuda/cuda_backend_internal.h"

enum { WARPS = CUDA_EXPERT_THREADS / 32 };

static bool is_sound(const struct expert_routing *routing)
{
    return routing->experts > 0 && routing->experts <= CUDA_EXPERTS_MAX && routing->top_k > 0 &&
           routing->groups > 0 && routing->experts % routing->groups == 0 &&
           routing->groups_top > 0 && routing->groups_top <= routing->groups &&
           routing->top_k <= routing->experts / routing->groups * routing->groups_top;
}

enum kernel_status cuda_expert_route(struct backend *backend, const struct expert_route_args *args)
{
    struct cuda_backend *cuda = cuda_of(backend);
    const struct expert_routing *routing = &args->routing;
    if (!is_sound(routing)) {
        return KERNEL_BAD_SHAPE;
    }
    size_t choices = (size_t)args->rows * (size_t)routing->top_k;
    void *chosen = NULL;
    enum kernel_status status = cuda_scratch(cuda, choices * sizeof(int32_t), &chosen);
    if (status != KERNEL_OK) {
        return status;
    }
    struct expert_choose_kernel_args choose = {
        .logits = cuda_pointer(args->logits),
        .bias = cuda_pointer(args->bias),
        .chosen = chosen,
        .weights = cuda_pointer(args->slots->weights),
        .rows = args->rows,
        .experts = routing->experts,
        .top_k = routing->top_k,
        .is_sigmoid = routing->is_sigmoid,
        .normalizes = routing->normalizes,
        .scale = routing->scale,
        .groups = routing->groups,
        .groups_top = routing->groups_top,
        .is_pair_sum = routing->is_pair_sum,
    };
    struct cuda_grid grid = {
        .x = (unsigned)((args->rows + WARPS - 1) / WARPS),
        .threads = CUDA_EXPERT_THREADS,
        .shared_bytes = (unsigned)(WARPS * 3 * (size_t)routing->experts * sizeof(float)),
    };
    status = cuda_launch(cuda, CUDA_EXPERT_CHOOSE, &grid, &choose, sizeof(choose));
    if (status != KERNEL_OK) {
        return status;
    }
    struct expert_place_kernel_args place = {
        .chosen = chosen,
        .rows = cuda_pointer(args->slots->rows),
        .slots = cuda_pointer(args->slots->slots),
        .starts = cuda_pointer(args->slots->starts),
        .choices = (int)choices,
        .top_k = routing->top_k,
        .experts = routing->experts,
    };
    grid = (struct cuda_grid){.x = (unsigned)routing->experts, .threads = CUDA_EXPERT_THREADS};
    return cuda_launch(cuda, CUDA_EXPERT_PLACE, &grid, &place, sizeof(place));
}

/* Brings the weights' addresses to the device. */
static enum kernel_status upload_experts(struct cuda_backend *cuda,
                                         const struct expert_linear_args *args,
                                         const struct kernel_expert **experts_out)
{
    struct kernel_expert experts[CUDA_EXPERTS_MAX];
    const struct weight *first = args->weights[0];
    for (int e = 0; e < args->experts; e++) {
        const struct weight *weight = args->weights[e];
        if (weight->rows != first->rows || weight->columns != first->columns ||
            (weight->scales == NULL) != (first->scales == NULL)) {
            return KERNEL_BAD_SHAPE;
        }
        experts[e] = (struct kernel_expert){
            .data = cuda_pointer(weight->data),
            .scales = cuda_pointer(weight->scales),
            .bias = cuda_pointer(weight->bias),
        };
    }
    void *memory = NULL;
    enum kernel_status status =
        cuda_upload(cuda, experts, (size_t)args->experts * sizeof(experts[0]), &memory);
    *experts_out = memory;
    return status;
}

enum kernel_status cuda_expert_linear(struct backend *backend,
                                      const struct expert_linear_args *args)
{
    struct cuda_backend *cuda = cuda_of(backend);
    if (args->experts <= 0 || args->experts > CUDA_EXPERTS_MAX) {
        return KERNEL_BAD_SHAPE;
    }
    const struct weight *weight = args->weights[0];
    bool is_fp8 = weight->scales != NULL;
    if (weight->columns % (is_fp8 ? 16 : 8) != 0) { // rows must begin at multiples of 16 bytes
        return KERNEL_BAD_SHAPE;
    }
    struct expert_linear_kernel_args kernel = {
        .starts = cuda_pointer(args->slots->starts),
        .input = cuda_pointer(args->input),
        .output = cuda_pointer(args->output),
        .experts = args->experts,
        .inputs = weight->columns,
        .columns = weight->rows,
    };
    enum kernel_status status = upload_experts(cuda, args, &kernel.weights);
    if (status != KERNEL_OK) {
        return status;
    }
    const size_t row_bytes = 2 * (CUDA_EXPERT_INPUTS + 8);
    size_t inputs = CUDA_EXPERT_ROWS * row_bytes;
    size_t weights = CUDA_EXPERT_COLUMNS * row_bytes;
    size_t shared =
        is_fp8 ? CUDA_EXPERT_STAGES * (inputs + (size_t)CUDA_EXPERT_COLUMNS * CUDA_EXPERT_INPUTS) +
                     weights
               : CUDA_EXPERT_STAGES * (inputs + weights);
    struct cuda_grid grid = {
        .x = (unsigned)(args->count / CUDA_EXPERT_ROWS + args->experts),
        .y = (unsigned)((weight->rows + CUDA_EXPERT_COLUMNS - 1) / CUDA_EXPERT_COLUMNS),
        .threads = CUDA_EXPERT_THREADS,
        .shared_bytes = (unsigned)shared,
    };
    return cuda_launch(cuda, is_fp8 ? CUDA_EXPERT_LINEAR_FP8 : CUDA_EXPERT_LINEAR, &grid, &kernel,
                       sizeof(kernel));
}

enum kernel_status cuda_expert_combine(struct backend *backend,
                                       const struct expert_combine_args *args)
{
    struct expert_combine_kernel_args kernel = {
        .slots = cuda_pointer(args->slots->slots),
        .weights = cuda_pointer(args->slots->weights),
        .input = cuda_pointer(args->input),
        .output = cuda_pointer(args->output),
        .top_k = args->top_k,
        .is_first = args->is_first,
        .width = args->width,
    };
    struct cuda_grid grid = {.x = (unsigned)args->rows, .threads = CUDA_EXPERT_THREADS};
    return cuda_launch(cuda_of(backend), CUDA_EXPERT_COMBINE, &grid, &kernel, sizeof(kernel));
}
