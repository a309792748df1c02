/* expert_linear: the products of a mixture layer, all experts in one launch.
 *
 * The host does not know how many rows an expert has; blocks find their expert in `starts`: tiles
 * of expert e begin at starts[e] / 64 + e, which leaves each expert room for a partial tile, and
 * blocks past an expert's rows end at once. A block makes 64 rows by 128 columns of the output, a
 * warp all rows of 32 columns: 16 mma for 6 ldmatrix at each 16 inputs. Inputs come in steps of 64
 * through three stages of shared memory, of (64 + 128) rows of 144 bytes, 81 KiB: two blocks share
 * a multiprocessor. E4M3 weights are unpacked to bf16 on their way, and their scale is applied to
 * the sum.
 *
 * No product is split over its inputs, and sums run in their order: a row's result does not depend
 * on its place or on the other rows.
 */
#include "kernels/cuda/attention_tile.cuh"
#include "kernels/cuda/expert_kernels.h"

enum {
    THREADS = CUDA_EXPERT_THREADS,
    ROWS = CUDA_EXPERT_ROWS,
    COLUMNS = CUDA_EXPERT_COLUMNS,
    INPUTS = CUDA_EXPERT_INPUTS,
    STAGES = CUDA_EXPERT_STAGES,
    MT = ROWS / 16,
    NT = COLUMNS / (THREADS / WARP_LANES) / 8, // of a warp
    STRIDE = INPUTS + 8,                       // numbers from row to row in shared memory
};

/* A block's part of the output. */
struct product_block {
    int expert;
    int first; // slot
    int count; // slots; at most 0: none
    int column;
};

static __device__ __forceinline__ product_block find_block(const expert_linear_kernel_args &args)
{
    auto first_tile = [&](int e) { return args.starts[e] / ROWS + e; };
    int index = (int)blockIdx.x;
    product_block block;
    block.expert = sequence_at(args.experts, index, first_tile);
    block.first = args.starts[block.expert] + (index - first_tile(block.expert)) * ROWS;
    block.count = min(ROWS, args.starts[block.expert + 1] - block.first);
    block.column = (int)blockIdx.y * COLUMNS;
    return block;
}

/* One stage: inputs, weights, and weights as they arrive if they are E4M3. */
template <bool FP8> struct stage {
    static constexpr int RAW_BYTES = FP8 ? COLUMNS * INPUTS : 0;
    static constexpr int BYTES = 2 * (ROWS + (FP8 ? 0 : COLUMNS)) * STRIDE + RAW_BYTES;
    uint16_t *inputs;  // [ROWS, STRIDE]
    uint16_t *weights; // [COLUMNS, STRIDE]; of E4M3 one for all stages, behind them
    char *raw;         // [COLUMNS, INPUTS]

    __device__ __forceinline__ explicit stage(int index)
    {
        char *memory = shared_memory() + index * BYTES;
        inputs = reinterpret_cast<uint16_t *>(memory);
        weights = reinterpret_cast<uint16_t *>(FP8 ? shared_memory() + STAGES * BYTES
                                                   : memory + 2 * ROWS * STRIDE);
        raw = memory + 2 * ROWS * STRIDE;
    }
};

/* Copies rows of 64 numbers of NUMBER bytes; rows past `count` and numbers past `width` are zeros.
 */
template <int TILE, int NUMBER>
static __device__ __forceinline__ void fetch_rows(char *target, int stride_bytes,
                                                  const char *source, int count, int width, int at)
{
    constexpr int CHUNKS = INPUTS * NUMBER / 16;
#pragma unroll 4
    for (int i = (int)threadIdx.x; i < TILE * CHUNKS; i += THREADS) {
        int row = i / CHUNKS;
        int offset = i % CHUNKS * 16;
        bool is_there = row < count && at * NUMBER + offset < width * NUMBER;
        const char *from = source;
        if (is_there) {
            from += ((int64_t)row * width + at) * NUMBER + offset;
        }
        copy_async(target + row * stride_bytes + offset, from, is_there ? 16 : 0);
    }
}

template <bool FP8>
static __device__ __forceinline__ void fetch_stage(const expert_linear_kernel_args &args,
                                                   const product_block &block,
                                                   const stage<FP8> &target, int at)
{
    constexpr int NUMBER = FP8 ? 1 : 2;
    const char *weights = static_cast<const char *>(args.weights[block.expert].data) +
                          (int64_t)block.column * args.inputs * NUMBER;
    const char *inputs =
        reinterpret_cast<const char *>(args.input + (int64_t)block.first * args.inputs);
    char *to = FP8 ? target.raw : reinterpret_cast<char *>(target.weights);
    fetch_rows<ROWS, 2>(reinterpret_cast<char *>(target.inputs), 2 * STRIDE, inputs, block.count,
                        args.inputs, at);
    fetch_rows<COLUMNS, NUMBER>(to, FP8 ? INPUTS : 2 * STRIDE, weights, args.columns - block.column,
                                args.inputs, at);
}

/* Writes a warp's sums, scaled and with bias. */
template <bool FP8>
static __device__ __forceinline__ void write_sums(const expert_linear_kernel_args &args,
                                                  const product_block &block,
                                                  const float (&sums)[MT][NT][4])
{
    const kernel_expert &weight = args.weights[block.expert];
#pragma unroll
    for (int i = 0; i < MT * NT * 4; i++) {
        int m = i / (NT * 4);
        int n = i / 4 % NT;
        int row = m * 16 + lane_index() / 4 + i % 4 / 2 * 8;
        int column = block.column + (warp_index() * NT + n) * 8 + lane_index() % 4 * 2 + i % 2;
        if (row < block.count && column < args.columns) {
            float sum = sums[m][n][i % 4] * (FP8 ? weight.scales[column] : 1.0f);
            sum += weight.bias == nullptr ? 0.0f : weight.bias[column];
            args.output[(int64_t)(block.first + row) * args.columns + column] = float_to_bf16(sum);
        }
    }
}

template <bool FP8>
static __device__ __forceinline__ void multiply(const expert_linear_kernel_args &args)
{
    const product_block block = find_block(args);
    if (block.count <= 0) {
        return;
    }
    float sums[MT][NT][4];
#pragma unroll
    for (int i = 0; i < MT * NT * 4; i++) {
        sums[i / (NT * 4)][i / 4 % NT][i % 4] = 0;
    }
    const int steps = (args.inputs + INPUTS - 1) / INPUTS;
    for (int s = 0; s < STAGES - 1; s++) {
        if (s < steps) {
            fetch_stage<FP8>(args, block, stage<FP8>(s), s * INPUTS);
        }
        copy_commit();
    }
    for (int step = 0; step < steps; step++) {
        const stage<FP8> here(step % STAGES);
        copy_wait<STAGES - 2>();
        __syncthreads(); // the stage is here, and all have done with the one before
        if (step + STAGES - 1 < steps) {
            fetch_stage<FP8>(args, block, stage<FP8>((step + STAGES - 1) % STAGES),
                             (step + STAGES - 1) * INPUTS);
        }
        copy_commit();
        if (FP8) {
            const tile packed = {here.weights, here.raw};
            tile_unpack<INPUTS, COLUMNS, THREADS>(packed, (int)threadIdx.x);
            __syncthreads();
        }
        add_keys<INPUTS, MT, NT>(sums, here.inputs, here.weights + warp_index() * NT * 8 * STRIDE);
    }
    copy_wait<0>();
    write_sums<FP8>(args, block, sums);
}

KERNEL(expert_linear_kernel, struct expert_linear_kernel_args, CUDA_EXPERT_THREADS)
{
    multiply<false>(args);
}

KERNEL(expert_linear_fp8_kernel, struct expert_linear_kernel_args, CUDA_EXPERT_THREADS)
{
    multiply<true>(args);
}
