/* latent_attention: attention whose heads share one key, of up to 576 numbers, and whose value is
 * the first 512 of them.
 *
 * The tile of a key is its value too, so the cache is read once for both. A block has 64 pairs of
 * (row, head) and tiles of 32 keys. Eight warps stand four by two: warp w has the 16 pairs of w %
 * 4; of their scores it makes those of half of the keys, and of their output half of the columns,
 * whose sums are 128 registers. Scores pass through shared memory in between, and both warps of a
 * pair weigh them all, to the same result. Shared memory: queries 73 KiB, two tiles of 36 KiB
 * (E4M3: one, and two as bytes), scores 9 KiB: 155 KiB of the 163 that a block of sm_80 may have.
 *
 * Every row takes this way, alone or in a chunk, so a row's result is its own in any step. Caches
 * are not split among blocks.
 */
#include "kernels/cuda/query_block.cuh"

enum {
    HD = CUDA_LATENT_KEY_MAX,
    HALF = CUDA_LATENT_VALUE_MAX / 2,
    KEYS = CUDA_LATENT_KEYS,
    PAIRS = CUDA_LATENT_PAIRS,
    THREADS = CUDA_LATENT_THREADS,
    STRIDE = HD + 8,
    SCORES_STRIDE = KEYS + 4,
    NT = KEYS / 8,
    WARPS_DOWN = PAIRS / 16,
};

template <bool FP8> struct latent_memory {
    static constexpr int TILE_BYTES = 2 * KEYS * STRIDE;
    uint16_t *queries; // [PAIRS, STRIDE]
    float *scores;     // [PAIRS, SCORES_STRIDE]
    char *tiles;

    __device__ __forceinline__ latent_memory()
    {
        queries = reinterpret_cast<uint16_t *>(shared_memory());
        scores = reinterpret_cast<float *>(shared_memory() + 2 * PAIRS * STRIDE);
        tiles = reinterpret_cast<char *>(scores + PAIRS * SCORES_STRIDE);
    }
    __device__ __forceinline__ tile keys(int stage) const
    {
        tile keys;
        keys.rows = reinterpret_cast<uint16_t *>(tiles + (FP8 ? 0 : stage) * TILE_BYTES);
        keys.raw = tiles + TILE_BYTES + stage * KEYS * HD;
        return keys;
    }
    __device__ __forceinline__ float *scales(int stage) const
    {
        return reinterpret_cast<float *>(tiles + TILE_BYTES + 2 * KEYS * HD) + stage * 2 * KEYS;
    }
    __device__ __forceinline__ void fetch(const tile_source &source, int stage, int first) const
    {
        tile_fetch<HD, KEYS, FP8, THREADS>(keys(stage), source, 0, first, (int)threadIdx.x);
        if (FP8) {
            scales_fetch<KEYS, THREADS>(scales(stage), source, first, (int)threadIdx.x);
        }
    }
};

/* This warp's half of the tile's scores, to shared memory. */
static __device__ __forceinline__ void make_scores(const uint16_t *queries, const uint16_t *keys,
                                                   int head_dim, float *scores)
{
    float sums[1][NT / 2][4];
#pragma unroll
    for (int i = 0; i < NT * 2; i++) {
        sums[0][i / 4][i % 4] = 0;
    }
    int down = warp_index() % WARPS_DOWN * 16;
    int key = warp_index() / WARPS_DOWN * (KEYS / 2);
#pragma unroll 4
    for (int d = 0; d < head_dim; d += 16) { // what is behind head_dim is zeros
        add_keys<16, 1, NT / 2, STRIDE>(sums, queries + down * STRIDE + d, keys + key * STRIDE + d);
    }
#pragma unroll
    for (int i = 0; i < NT * 2; i++) {
        int row = down + lane_index() / 4 + i % 4 / 2 * 8;
        scores[row * SCORES_STRIDE + key + i / 4 * 8 + lane_index() % 4 * 2 + i % 2] =
            sums[0][i / 4][i % 4];
    }
}

/* The scores of this warp's pairs with all keys of the tile. */
static __device__ __forceinline__ void take_scores(const float *scores, float (&taken)[NT][4])
{
    int down = warp_index() % WARPS_DOWN * 16;
#pragma unroll
    for (int i = 0; i < NT * 4; i++) {
        int row = down + lane_index() / 4 + i % 4 / 2 * 8;
        taken[i / 4][i % 4] =
            scores[row * SCORES_STRIDE + i / 4 * 8 + lane_index() % 4 * 2 + i % 2];
    }
}

template <bool FP8> static __device__ __forceinline__ void attend(const attention_kernel_args &args)
{
    const query_block block = find_block(args, PAIRS);
    if (block.count == 0) {
        return;
    }
    const latent_memory<FP8> memory;
    const int first_pair = warp_index() % WARPS_DOWN * 16;
    const int column = warp_index() / WARPS_DOWN * HALF;
    const tile_range<KEYS> range = range_of<KEYS>(args, block, 0, PAIRS);
    const tile_range<KEYS> mine = range_of<KEYS>(args, block, first_pair, 16);
    const tile_source source = {&args.kv, block.sequence, 0, range.high + 1};
    query_rows rows;
    float output[1][HALF / 8][4];
    int pair = first_pair + lane_index() / 4;
    query_rows_start(rows, pair_limit(args, block, pair), pair_limit(args, block, pair + 8));
#pragma unroll
    for (int i = 0; i < HALF / 2; i++) {
        output[0][i / 4][i % 4] = 0;
    }
    int first = max(0, range.low - args.window + 1) / KEYS * KEYS;
    fetch_queries<HD, PAIRS, THREADS>(args, block, memory.queries);
    memory.fetch(source, 0, first);
    copy_commit();
    for (int stage = 0; first <= range.high; first += KEYS, stage ^= 1) {
        float scores[NT][4];
        uint32_t probabilities[1][NT][2];
        const tile keys = memory.keys(stage);
        if (first + KEYS <= range.high) {
            memory.fetch(source, stage ^ 1, first + KEYS);
        }
        copy_commit();
        copy_wait<1>();
        if (FP8) {
            tile_unpack<HD, KEYS, THREADS>(keys, (int)threadIdx.x);
        }
        __syncthreads(); // the tile is here
        make_scores(memory.queries, keys.rows, args.head_dim, memory.scores);
        __syncthreads(); // both halves are
        const weighing weighing = {args.scale, args.window, first, mine.sees_all(first),
                                   memory.scales(stage)};
        take_scores(memory.scores, scores);
        weigh_tile<HALF, NT, FP8>(scores, probabilities[0], output[0], rows, weighing);
        multiply_values<HALF, 1, NT, STRIDE>(output, probabilities, keys.rows + column);
        __syncthreads(); // this stage is filled again
    }
    copy_wait<0>();
    write_rows<HALF>(args, block, first_pair, column, output[0], rows);
}

KERNEL(latent_attention_kernel, struct attention_kernel_args, CUDA_LATENT_THREADS)
{
    attend<false>(args);
}

KERNEL(latent_attention_fp8_kernel, struct attention_kernel_args, CUDA_LATENT_THREADS)
{
    attend<true>(args);
}
