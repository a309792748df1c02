/* cuda_attention: launches the kernels around attention.
 *
 * Sequences of one row in the step go to decode_attention, which splits long caches among blocks;
 * all others go to prefill_attention. Both look at row_starts themselves, so that the host needs to
 * know nothing of what is on the device. A row's result depends on its own numbers and on the
 * kernel that it went to; with batch_invariant every row goes to prefill_attention, and then on its
 * own numbers alone. What that costs a step that decodes is parallelism over long caches.
 */
#include "kernels/cuda/cuda_backend_internal.h"

#define LOG2_E 1.44269504088896340736f // exponents are of base 2 on the device

/* Bytes of a block's head and where its parts begin. */
struct kv_layout {
    size_t values;
    size_t key_scales;
    size_t value_scales;
    size_t bytes;
};

static int padded(int numbers)
{
    return (numbers + 15) / 16 * 16;
}

static struct kv_layout layout_of(const struct attention_shape *shape)
{
    size_t tokens = (size_t)shape->block_tokens;
    bool is_fp8 = shape->kv_format == KV_FP8;
    size_t rows = tokens * (size_t)padded(shape->head_dim) * (is_fp8 ? 1 : 2);
    size_t scales = is_fp8 ? tokens * sizeof(float) : 0;
    bool is_latent = shape->latent > 0; // without values
    struct kv_layout layout = {.values = rows};
    layout.key_scales = is_latent ? rows : 2 * rows;
    layout.value_scales = is_latent ? rows : layout.key_scales + scales;
    layout.bytes = (layout.value_scales + scales + 15) / 16 * 16;
    return layout;
}

size_t cuda_kv_block_bytes(const struct backend *backend, const struct attention_shape *shape)
{
    (void)backend;
    return (size_t)shape->kv_heads * layout_of(shape).bytes;
}

enum kernel_status cuda_kv_view(const struct step_arrays *step, const struct attention_shape *shape,
                                const struct device_buffer *kv, struct kernel_kv *view_out)
{
    if (shape->kv_heads <= 0 || shape->heads % shape->kv_heads != 0 || shape->head_dim <= 0 ||
        shape->head_dim % 2 != 0 || shape->block_tokens <= 0 || shape->latent < 0 ||
        shape->latent > shape->head_dim ||
        (uint64_t)shape->block_tokens * (uint64_t)shape->block_tokens * (uint64_t)step->blocks_max >
            UINT32_MAX) { // kernel_kv's reciprocal is exact below
        return KERNEL_BAD_SHAPE;
    }
    if (shape->kv_format == KV_F32 || shape->kv_format == KV_INT8) {
        return KERNEL_NO_DEVICE;
    }
    struct kv_layout layout = layout_of(shape);
    uint64_t tokens = (uint64_t)shape->block_tokens;
    *view_out = (struct kernel_kv){
        .data = cuda_pointer(kv),
        .block_tables = cuda_step_ints(step, step->block_tables),
        .blocks_max = step->blocks_max,
        .block_tokens = shape->block_tokens,
        .block_reciprocal = (((uint64_t)1 << 32) + tokens - 1) / tokens,
        .kv_heads = shape->kv_heads,
        .is_fp8 = shape->kv_format == KV_FP8,
        .pitch = padded(shape->head_dim),
        .values = (uint32_t)layout.values,
        .key_scales = (uint32_t)layout.key_scales,
        .value_scales = (uint32_t)layout.value_scales,
        .head_bytes = (uint32_t)layout.bytes,
    };
    return KERNEL_OK;
}

enum kernel_status cuda_rope_kv_write(struct backend *backend,
                                      const struct rope_kv_write_args *args)
{
    const struct attention_shape *shape = &args->shape;
    const struct step_arrays *step = args->step;
    struct kv_write_kernel_args kernel = {
        .qkv = cuda_pointer(args->qkv),
        .rotations = cuda_pointer(args->rotations),
        .q_norm = cuda_pointer(args->q_norm),
        .k_norm = cuda_pointer(args->k_norm),
        .positions = cuda_step_ints(step, step->positions),
        .row_starts = cuda_step_ints(step, step->row_starts),
        .sequences = step->sequences,
        .heads = shape->heads,
        .head_dim = shape->head_dim,
        .epsilon = args->epsilon,
    };
    enum kernel_status status = cuda_kv_view(step, shape, args->kv, &kernel.kv);
    if (status != KERNEL_OK) {
        return status;
    }
    if (shape->head_dim > CUDA_HEAD_DIM_MAX || args->is_norm_whole) {
        return KERNEL_BAD_SHAPE; // a head is normalized alone here
    }
    struct cuda_grid grid = {.x = (unsigned)step->rows, .threads = CUDA_KV_WRITE_THREADS};
    return cuda_launch(cuda_of(backend), CUDA_KV_WRITE, &grid, &kernel, sizeof(kernel));
}

/* The kernel of a family, X_64, X_96, ..., X_64_FP8, ..., for a compiled head dimension. */
static enum cuda_kernel variant(enum cuda_kernel first, int head_dim, bool is_fp8)
{
    static const int dims[] = {
#define DIM(dim) dim,
        CUDA_EACH_HEAD_DIM(DIM)
#undef DIM
    };
    enum { DIMS = sizeof(dims) / sizeof(dims[0]) };
    int index = 0;
    while (dims[index] < head_dim) {
        index++;
    }
    return first + (unsigned)(index + (is_fp8 ? DIMS : 0));
}

static size_t tile_bytes(int rows, int head_dim)
{
    return (size_t)rows * 2 * (size_t)(head_dim + 8);
}

static size_t prefill_shared_bytes(int head_dim, bool is_fp8)
{
    size_t raw = is_fp8 ? 2 * (size_t)CUDA_PREFILL_KEYS * ((size_t)head_dim + sizeof(float)) : 0;
    return tile_bytes(CUDA_PREFILL_PAIRS(head_dim) + 2 * CUDA_PREFILL_KEYS, head_dim) + raw;
}

static size_t decode_shared_bytes(int head_dim, bool is_fp8)
{
    const size_t warps = CUDA_DECODE_THREADS / 32;
    size_t tiles = tile_bytes(2 * CUDA_DECODE_KEYS, head_dim); // keys and values
    size_t raw = 2 * (size_t)CUDA_DECODE_KEYS * ((size_t)head_dim + sizeof(float));
    size_t stages = warps * (is_fp8 ? tiles + 2 * raw : 2 * tiles);
    size_t results = warps * CUDA_DECODE_HEADS * ((size_t)head_dim + 2) * sizeof(float);
    return tile_bytes(CUDA_DECODE_HEADS, head_dim) + (stages > results ? stages : results);
}

static enum kernel_status launch_prefill(struct cuda_backend *cuda,
                                         struct attention_kernel_args *kernel, int rows)
{
    int head_dim = cuda_compiled_head_dim(kernel->head_dim);
    bool is_fp8 = kernel->kv.is_fp8 != 0;
    int64_t pairs = (int64_t)rows * kernel->group;
    struct cuda_grid grid = {
        .x = (unsigned)(pairs / CUDA_PREFILL_PAIRS(head_dim) + kernel->sequences),
        .y = (unsigned)kernel->kv.kv_heads,
        .threads = CUDA_PREFILL_THREADS,
        .shared_bytes = (unsigned)prefill_shared_bytes(head_dim, is_fp8),
    };
    return cuda_launch(cuda, variant(CUDA_PREFILL_64, head_dim, is_fp8), &grid, kernel,
                       sizeof(*kernel));
}

/* Splits of the longest row that the step's tables have room for. */
static int splits_max(const struct step_arrays *step, const struct attention_kernel_args *kernel)
{
    int64_t positions = (int64_t)step->blocks_max * kernel->kv.block_tokens;
    int64_t all = (positions + CUDA_DECODE_SPLIT - 1) / CUDA_DECODE_SPLIT;
    int64_t seen = kernel->window / CUDA_DECODE_SPLIT + 2;
    return (int)(all < seen ? all : seen);
}

static enum kernel_status launch_merge(struct cuda_backend *cuda,
                                       const struct attention_kernel_args *kernel)
{
    struct merge_attention_kernel_args merge = {
        .partials = kernel->partials,
        .output = kernel->output,
        .positions = kernel->positions,
        .row_starts = kernel->row_starts,
        .splits = kernel->splits,
        .heads = kernel->kv.kv_heads * kernel->group,
        .head_dim = kernel->head_dim,
        .window = kernel->window,
    };
    struct cuda_grid grid = {.x = (unsigned)merge.heads,
                             .y = (unsigned)kernel->sequences,
                             .threads = CUDA_DECODE_THREADS};
    return cuda_launch(cuda, CUDA_MERGE_ATTENTION, &grid, &merge, sizeof(merge));
}

static enum kernel_status launch_decode(struct cuda_backend *cuda, const struct step_arrays *step,
                                        struct attention_kernel_args *kernel)
{
    int head_dim = cuda_compiled_head_dim(kernel->head_dim);
    bool is_fp8 = kernel->kv.is_fp8 != 0;
    size_t heads = (size_t)kernel->kv.kv_heads * (size_t)kernel->group;
    int parts = (kernel->group + CUDA_DECODE_HEADS - 1) / CUDA_DECODE_HEADS;
    kernel->splits = splits_max(step, kernel);
    if (kernel->splits > 1) {
        size_t results = (size_t)kernel->sequences * heads * (size_t)kernel->splits;
        void *memory = NULL;
        enum kernel_status status =
            cuda_scratch(cuda, results * (size_t)(kernel->head_dim + 2) * sizeof(float), &memory);
        if (status != KERNEL_OK) {
            return status;
        }
        kernel->partials = memory;
    }
    struct cuda_grid grid = {
        .x = (unsigned)kernel->splits,
        .y = (unsigned)(kernel->kv.kv_heads * parts),
        .z = (unsigned)kernel->sequences,
        .threads = CUDA_DECODE_THREADS,
        .shared_bytes = (unsigned)decode_shared_bytes(head_dim, is_fp8),
    };
    enum kernel_status status = cuda_launch(cuda, variant(CUDA_DECODE_64, head_dim, is_fp8), &grid,
                                            kernel, sizeof(*kernel));
    return status == KERNEL_OK && kernel->splits > 1 ? launch_merge(cuda, kernel) : status;
}

/* All rows take one way, so a row's result never depends on others. */
static enum kernel_status launch_latent(struct cuda_backend *cuda,
                                        struct attention_kernel_args *kernel, int rows)
{
    if (kernel->kv.kv_heads != 1 || kernel->head_dim > CUDA_LATENT_KEY_MAX ||
        kernel->value_dim > CUDA_LATENT_VALUE_MAX) {
        return KERNEL_BAD_SHAPE;
    }
    bool is_fp8 = kernel->kv.is_fp8 != 0;
    size_t tile = tile_bytes(CUDA_LATENT_KEYS, CUDA_LATENT_KEY_MAX);
    size_t raw = (size_t)CUDA_LATENT_KEYS * (CUDA_LATENT_KEY_MAX + 2 * sizeof(float));
    size_t scores = (size_t)CUDA_LATENT_PAIRS * (CUDA_LATENT_KEYS + 4) * sizeof(float);
    struct cuda_grid grid = {
        .x = (unsigned)((int64_t)rows * kernel->group / CUDA_LATENT_PAIRS + kernel->sequences),
        .threads = CUDA_LATENT_THREADS,
        .shared_bytes = (unsigned)(tile_bytes(CUDA_LATENT_PAIRS, CUDA_LATENT_KEY_MAX) + scores +
                                   (is_fp8 ? tile + 2 * raw : 2 * tile)),
    };
    return cuda_launch(cuda, is_fp8 ? CUDA_LATENT_ATTENTION_FP8 : CUDA_LATENT_ATTENTION, &grid,
                       kernel, sizeof(*kernel));
}

enum kernel_status cuda_attention(struct backend *backend, const struct attention_args *args)
{
    struct cuda_backend *cuda = cuda_of(backend);
    const struct attention_shape *shape = &args->shape;
    const struct step_arrays *step = args->step;
    struct attention_kernel_args kernel = {
        .q = cuda_pointer(args->qkv),
        .output = cuda_pointer(args->output),
        .positions = cuda_step_ints(step, step->positions),
        .row_starts = cuda_step_ints(step, step->row_starts),
        .sequences = step->sequences,
        .q_stride = (shape->latent > 0 ? shape->heads : shape->heads + 2 * shape->kv_heads) *
                    shape->head_dim,
        .head_dim = shape->head_dim,
        .value_dim = shape->latent > 0 ? shape->latent : shape->head_dim,
        .scale = args->scale * LOG2_E,
        .window =
            args->window > 0 && args->window < CUDA_WINDOW_ALL ? args->window : CUDA_WINDOW_ALL,
        .is_bidirectional = args->is_bidirectional,
        .skips_single = !cuda->is_batch_invariant && shape->latent == 0,
    };
    enum kernel_status status = cuda_kv_view(step, shape, args->kv, &kernel.kv);
    if (status != KERNEL_OK) {
        return status;
    }
    kernel.group = shape->heads / shape->kv_heads;
    if (shape->latent > 0) {
        return launch_latent(cuda, &kernel, step->rows);
    }
    if (cuda_compiled_head_dim(shape->head_dim) == 0) {
        return KERNEL_BAD_SHAPE;
    }
    if (cuda->is_batch_invariant || step->rows > step->sequences) {
        status = launch_prefill(cuda, &kernel, step->rows);
    }
    return status == KERNEL_OK && !cuda->is_batch_invariant ? launch_decode(cuda, step, &kernel)
                                                            : status;
}
