/* decode_attention: attention of single rows over long caches, and the merge of its parts.
 *
 * A step that decodes reads every key and value once for a handful of multiplications: at grouped
 * heads g, 4 g operations per 4 bytes of bf16, where the device does hundreds for each byte of
 * memory. So bytes in flight count. By Little's law a bandwidth of 4.8 TB/s (H200 data sheet) at an
 * assumed latency of 1 us keeps 36 KiB under way on each of 132 multiprocessors; a block here has
 * four tiles of 8 KiB (head dimension 128) under way and three blocks fit.
 *
 * A block takes CUDA_DECODE_SPLIT positions, anchored at multiples of that, for up to 16 query
 * heads of one kv head: they are the 16 rows of an mma, so a key is read once for all of them.
 * Warps do not wait for each other: warp w takes the tiles of 16 keys whose number is w modulo 4
 * and has two buffers of its own. At the end the four are added in the order of their numbers.
 * Where a row has more than one split, its parts go to memory and merge_attention adds them, in
 * order: for 512 keys of 512 bytes, 4 heads of 130 floats, under 1 %. What a row's result is
 * depends on its position and its window only.
 */
#include "kernels/cuda/attention_tile.cuh"

enum {
    KEYS = CUDA_DECODE_KEYS,
    SPLIT = CUDA_DECODE_SPLIT,
    THREADS = CUDA_DECODE_THREADS,
    WARPS = THREADS / WARP_LANES,
    HEADS = CUDA_DECODE_HEADS,
    NT = KEYS / 8,
    STAGES = 2,
};

/* The positions that a row sees, and those of them that a split has. */
struct row_span {
    int first; // position
    int last;
    int splits;

    __device__ __forceinline__ row_span(int position, int window)
    {
        first = max(0, position - window + 1);
        last = position;
        splits = last / SPLIT - first / SPLIT + 1;
    }
    __device__ __forceinline__ int split_first(int split) const
    {
        return max(first, (first / SPLIT + split) * SPLIT);
    }
    __device__ __forceinline__ int split_last(int split) const
    {
        return min(last, (first / SPLIT + split + 1) * SPLIT - 1);
    }
};

/* The heads of a block. */
struct decode_block {
    int sequence;
    int row; // -1: this sequence has more than one row, or the row no such split
    int kv_head;
    int head;  // the first
    int count; // heads
};

static __device__ __forceinline__ decode_block find_block(const attention_kernel_args &args)
{
    decode_block block;
    int parts = (args.group + HEADS - 1) / HEADS;
    int first = (int)blockIdx.y % parts * HEADS;
    block.sequence = (int)blockIdx.z;
    block.row = args.row_starts[block.sequence];
    block.kv_head = (int)blockIdx.y / parts;
    block.head = block.kv_head * args.group + first;
    block.count = min(HEADS, args.group - first);
    if (args.row_starts[block.sequence + 1] - block.row != 1) {
        block.row = -1;
    }
    return block;
}

/* A warp's buffers. */
template <int HD, bool FP8> struct warp_memory {
    static constexpr int ROWS_BYTES = 2 * KEYS * tile_stride<HD>();
    static constexpr int RAW_BYTES = FP8 ? KEYS * HD : 0;
    static constexpr int SCALES_BYTES = FP8 ? 2 * KEYS * 4 : 0;
    static constexpr int ROWS = FP8 ? 1 : STAGES; // pairs of tiles that the products read
    static constexpr int BYTES = 2 * ROWS * ROWS_BYTES + STAGES * (2 * RAW_BYTES + SCALES_BYTES);
    char *base;

    __device__ __forceinline__ tile part(int stage, int is_value) const
    {
        tile part;
        int rows = 2 * (FP8 ? 0 : stage) + is_value;
        part.rows = reinterpret_cast<uint16_t *>(base + rows * ROWS_BYTES);
        part.raw = base + 2 * ROWS * ROWS_BYTES + (2 * stage + is_value) * RAW_BYTES;
        return part;
    }
    __device__ __forceinline__ float *scales(int stage) const
    {
        return reinterpret_cast<float *>(base + 2 * ROWS * ROWS_BYTES + 2 * STAGES * RAW_BYTES +
                                         stage * SCALES_BYTES);
    }
    __device__ __forceinline__ void fetch(const tile_source &source, int stage, int first) const
    {
        int lane = lane_index();
        tile_fetch<HD, KEYS, FP8, WARP_LANES>(part(stage, 0), source, 0, first, lane);
        tile_fetch<HD, KEYS, FP8, WARP_LANES>(part(stage, 1), source, source.kv->values, first,
                                              lane);
        if (FP8) {
            scales_fetch<KEYS, WARP_LANES>(scales(stage), source, first, lane);
        }
    }
    __device__ __forceinline__ void unpack(int stage) const
    {
        if (FP8) {
            tile_unpack<HD, KEYS, WARP_LANES>(part(stage, 0), lane_index());
            tile_unpack<HD, KEYS, WARP_LANES>(part(stage, 1), lane_index());
        }
    }
};

/* The queries of the block's heads, [HEADS, tile_stride], zeros where there are none. */
template <int HD>
static __device__ __forceinline__ void load_queries(const attention_kernel_args &args,
                                                    const decode_block &block, uint16_t *target)
{
    const uint16_t *heads =
        args.q + (int64_t)block.row * args.q_stride + block.head * args.head_dim;
    for (int i = (int)threadIdx.x; i < HEADS * HD; i += THREADS) {
        int head = i / HD;
        int d = i % HD;
        bool is_there = head < block.count && d < args.head_dim;
        target[head * tile_stride<HD>() + d] =
            is_there ? heads[head * args.head_dim + d] : (uint16_t)0;
    }
}

/* Takes a warp through its tiles of positions first to last. */
template <int HD, bool FP8>
static __device__ __forceinline__ void walk(const attention_kernel_args &args,
                                            const tile_source &source, const uint16_t *queries,
                                            const warp_memory<HD, FP8> &memory, int first, int last,
                                            query_rows &rows, float (&output)[1][HD / 8][4])
{
    int number = first / KEYS;
    number += (warp_index() - number) & (WARPS - 1);
    const int end = last / KEYS;
    if (number <= end) {
        memory.fetch(source, 0, number * KEYS);
    }
    copy_commit();
    for (int stage = 0; number <= end; number += WARPS, stage ^= 1) {
        float scores[1][NT][4];
        uint32_t probabilities[1][NT][2];
        int position = number * KEYS;
        if (number + WARPS <= end) {
            memory.fetch(source, stage ^ 1, position + WARPS * KEYS);
        }
        copy_commit();
        copy_wait<1>();
        memory.unpack(stage);
        __syncwarp();
        const weighing weighing = {args.scale, args.window, position,
                                   position >= first && position + KEYS - 1 <= last,
                                   memory.scales(stage)};
        multiply_keys<HD, 1, NT>(scores, queries, memory.part(stage, 0).rows);
        weigh_tile<HD, NT, FP8>(scores[0], probabilities[0], output[0], rows, weighing);
        multiply_values<HD, 1, NT>(output, probabilities, memory.part(stage, 1).rows);
        __syncwarp(); // this stage is filled again
    }
    copy_wait<0>();
}

/* The warps' results, [WARPS, HEADS, HD + 2]: sums, their maximum, their weight. */
template <int HD>
static __device__ __forceinline__ void leave_results(float *results, const query_rows &rows,
                                                     const float (&output)[HD / 8][4])
{
#pragma unroll
    for (int half = 0; half < 2; half++) {
        int head = lane_index() / 4 + half * 8;
        float *target = results + (warp_index() * HEADS + head) * (HD + 2);
        float sum = row_sum(rows.sum[half]);
#pragma unroll
        for (int n = 0; n < HD / 8; n++) {
            int d = n * 8 + lane_index() % 4 * 2;
            target[d] = output[n][half * 2];
            target[d + 1] = output[n][half * 2 + 1];
        }
        if (lane_index() % 4 == 0) {
            target[HD] = rows.most[half];
            target[HD + 1] = sum;
        }
    }
}

/* Adds `count` results, each `stride` floats after the last, in order: the sum of number d, and the
 * weight, both relative to the greatest maximum. */
struct added {
    float value;
    float most;
    float weight;
};

static __device__ __forceinline__ added add_results(const float *results, int count, int64_t stride,
                                                    int width, int d)
{
    added added = {0, -INFINITY, 0};
    for (int i = 0; i < count; i++) {
        added.most = fmaxf(added.most, results[i * stride + width]);
    }
    float base = added.most == -INFINITY ? 0.0f : added.most;
    for (int i = 0; i < count; i++) {
        float factor = exp2_fast(results[i * stride + width] - base);
        added.value += results[i * stride + d] * factor;
        added.weight += results[i * stride + width + 1] * factor;
    }
    return added;
}

template <int HD>
static __device__ __forceinline__ void write_results(const attention_kernel_args &args,
                                                     const decode_block &block, int splits,
                                                     const float *results)
{
    int heads = args.kv.kv_heads * args.group;
    int width = args.head_dim;
    for (int i = (int)threadIdx.x; i < block.count * width; i += THREADS) {
        int head = i / width;
        int d = i % width;
        added added = add_results(results + head * (HD + 2), WARPS, HEADS * (HD + 2), HD, d);
        if (splits == 1) {
            args.output[((int64_t)block.row * heads + block.head + head) * width + d] =
                float_to_bf16(added.value / added.weight);
            continue;
        }
        int64_t at = ((int64_t)block.sequence * heads + block.head + head) * args.splits;
        float *partial = args.partials + (at + (int)blockIdx.x) * (width + 2);
        partial[d] = added.value;
        if (d == 0) {
            partial[width] = added.most;
            partial[width + 1] = added.weight;
        }
    }
}

template <int HD, bool FP8>
static __device__ __forceinline__ void decode(const attention_kernel_args &args)
{
    const decode_block block = find_block(args);
    if (block.row < 0) {
        return;
    }
    const row_span span(args.positions[block.row], args.window);
    int split = (int)blockIdx.x;
    if (split >= span.splits) {
        return;
    }
    uint16_t *queries = reinterpret_cast<uint16_t *>(shared_memory());
    char *stages = shared_memory() + 2 * HEADS * tile_stride<HD>();
    const warp_memory<HD, FP8> memory = {stages + warp_index() * warp_memory<HD, FP8>::BYTES};
    const tile_source source = {&args.kv, block.sequence, block.kv_head, span.last + 1};
    query_rows rows;
    float output[1][HD / 8][4];
#pragma unroll
    for (int i = 0; i < HD / 2; i++) {
        output[0][i / 4][i % 4] = 0;
    }
    int head = lane_index() / 4;
    query_rows_start(rows, head < block.count ? span.last : -1,
                     head + 8 < block.count ? span.last : -1);
    load_queries<HD>(args, block, queries);
    __syncthreads();
    walk<HD, FP8>(args, source, queries, memory, span.split_first(split), span.split_last(split),
                  rows, output);
    __syncthreads(); // the warps have done with their buffers
    float *results = reinterpret_cast<float *>(stages);
    leave_results<HD>(results, rows, output[0]);
    __syncthreads();
    write_results<HD>(args, block, span.splits, results);
}

#define DECODE(head_dim)                                                                           \
    KERNEL(decode_attention_##head_dim##_kernel, struct attention_kernel_args, THREADS)            \
    {                                                                                              \
        decode<head_dim, false>(args);                                                             \
    }                                                                                              \
    KERNEL(decode_attention_##head_dim##_fp8_kernel, struct attention_kernel_args, THREADS)        \
    {                                                                                              \
        decode<head_dim, true>(args);                                                              \
    }
CUDA_EACH_HEAD_DIM(DECODE)

KERNEL(merge_attention_kernel, struct merge_attention_kernel_args, THREADS)
{
    int head = (int)blockIdx.x;
    int sequence = (int)blockIdx.y;
    int row = args.row_starts[sequence];
    if (args.row_starts[sequence + 1] - row != 1) {
        return;
    }
    const row_span span(args.positions[row], args.window);
    if (span.splits == 1) {
        return; // decode_attention has written the output
    }
    int64_t stride = args.head_dim + 2;
    const float *partials =
        args.partials + ((int64_t)sequence * args.heads + head) * args.splits * stride;
    for (int d = (int)threadIdx.x; d < args.head_dim; d += THREADS) {
        added added = add_results(partials, span.splits, stride, args.head_dim, d);
        args.output[((int64_t)row * args.heads + head) * args.head_dim + d] =
            float_to_bf16(added.value / added.weight);
    }
}
