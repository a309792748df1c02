/* attention_tile.cuh: what the attention kernels do with one tile of keys and values.
 *
 * A warp holds MT times 16 queries. Its lanes hold scores and sums as mma.m16n8k16 leaves them: of
 * 16 queries, lane l has rows l / 4 and l / 4 + 8, and of every 8 columns the two at 2 (l % 4). The
 * probabilities of two neighbouring groups of 8 keys then are just the left operand of the product
 * with 16 values, so that nothing passes through memory between the two products (FlashAttention-2,
 * arXiv 2307.08691).
 *
 * In shared memory a row of HD numbers takes HD + 8: rows lie 16 bytes apart modulo the 128 bytes
 * of all banks (at HD 96: 80), so the eight rows that ldmatrix reads at once meet in no bank.
 */
#ifndef KERNELS_CUDA_ATTENTION_TILE_CUH
#define KERNELS_CUDA_ATTENTION_TILE_CUH

#include "kernels/cuda/kv_cache.cuh"

/* Numbers from row to row of a tile in shared memory. */
template <int HD> static __device__ __forceinline__ constexpr int tile_stride()
{
    return HD + 8;
}

/* One kv head of a sequence, up to a position from which on its rows count as zeros. */
struct tile_source {
    const kernel_kv *kv;
    int sequence;
    int kv_head;
    int end;
};

/* Where a tile lies in shared memory. E4M3 arrives in `raw` and is unpacked to `rows`. */
struct tile {
    uint16_t *rows; // [keys, tile_stride]
    char *raw;      // [keys, HD] E4M3
};

/* Starts to copy KEYS keys (part 0) or values (their offset in a block's head), shared among
 * THREADS threads. */
template <int HD, int KEYS, bool FP8, int THREADS>
static __device__ __forceinline__ void tile_fetch(const tile &target, const tile_source &source,
                                                  uint32_t part, int first, int thread)
{
    constexpr int NUMBERS = FP8 ? 16 : 8; // of a chunk of 16 bytes
    constexpr int CHUNKS = HD / NUMBERS;  // of a row
    constexpr int STRIDE = FP8 ? HD : 2 * tile_stride<HD>();
    char *rows = FP8 ? target.raw : reinterpret_cast<char *>(target.rows);
    const kernel_kv &kv = *source.kv;
#pragma unroll(FP8 ? 1 : 2)
    for (int i = thread; i < KEYS * CHUNKS; i += THREADS) {
        int key = i / CHUNKS;
        int chunk = i % CHUNKS;
        const char *from = kv.data;
        int valid = 0;
        if (first + key < source.end && chunk * NUMBERS < kv.pitch) {
            kv_place place = kv_find(kv, source.sequence, source.kv_head, first + key);
            from = place.head + part +
                   ((int64_t)place.slot * kv.pitch + chunk * NUMBERS) * (FP8 ? 1 : 2);
            valid = 16;
        }
        copy_async(rows + key * STRIDE + chunk * 16, from, valid);
    }
}

/* Starts to copy the scales of KEYS keys, and behind them those of the values. */
template <int KEYS, int THREADS>
static __device__ __forceinline__ void scales_fetch(float *target, const tile_source &source,
                                                    int first, int thread)
{
    const kernel_kv &kv = *source.kv;
    for (int i = thread; i < 2 * KEYS; i += THREADS) {
        int position = first + i % KEYS;
        const char *from = kv.data;
        int valid = 0;
        if (position < source.end) {
            kv_place place = kv_find(kv, source.sequence, source.kv_head, position);
            from = place.head + (i < KEYS ? kv.key_scales : kv.value_scales) +
                   place.slot * sizeof(float);
            valid = sizeof(float);
        }
        copy_async_word(target + i, from, valid);
    }
}

/* Four E4M3 to two words of bf16 pairs. */
static __device__ __forceinline__ uint2 unpack_fp8(uint32_t word)
{
    return make_uint2(bf16_pair(fp8_to_float(word & 0xff), fp8_to_float(word >> 8 & 0xff)),
                      bf16_pair(fp8_to_float(word >> 16 & 0xff), fp8_to_float(word >> 24)));
}

/* Unpacks the chunks that this thread has fetched and waited for. */
template <int HD, int KEYS, int THREADS>
static __device__ __forceinline__ void tile_unpack(const tile &tile, int thread)
{
    constexpr int CHUNKS = HD / 16;
#pragma unroll 1
    for (int i = thread; i < KEYS * CHUNKS; i += THREADS) {
        int key = i / CHUNKS;
        int chunk = i % CHUNKS;
        uint4 raw = *reinterpret_cast<const uint4 *>(tile.raw + key * HD + chunk * 16);
        uint2 a = unpack_fp8(raw.x);
        uint2 b = unpack_fp8(raw.y);
        uint2 c = unpack_fp8(raw.z);
        uint2 d = unpack_fp8(raw.w);
        uint4 *target = reinterpret_cast<uint4 *>(tile.rows + key * tile_stride<HD>() + chunk * 16);
        target[0] = make_uint4(a.x, a.y, b.x, b.y);
        target[1] = make_uint4(c.x, c.y, d.x, d.y);
    }
}

/* What a lane knows of its two rows of 16 queries: [0] row lane / 4, [1] 8 further. */
struct query_rows {
    int limit[2];  // the last position that the query sees; -1: there is no such query
    float most[2]; // the greatest score so far, or minus infinity
    float sum[2];  // of the probabilities, of this lane's columns
};

static __device__ __forceinline__ void query_rows_start(query_rows &rows, int limit0, int limit1)
{
    rows.limit[0] = limit0;
    rows.limit[1] = limit1;
    rows.most[0] = rows.most[1] = -INFINITY;
    rows.sum[0] = rows.sum[1] = 0;
}

/* scores += queries keys^T: MT times 16 queries from shared memory, NT times 8 keys. */
template <int HD, int MT, int NT, int STRIDE = tile_stride<HD>()>
static __device__ __forceinline__ void add_keys(float (&scores)[MT][NT][4], const uint16_t *queries,
                                                const uint16_t *keys)
{
    int lane = lane_index();
    const uint16_t *query = queries + lane % 16 * STRIDE + lane / 16 * 8;
    const uint16_t *key = keys + (lane % 8 + lane / 16 * 8) * STRIDE + lane / 8 % 2 * 8;
#pragma unroll 2
    for (int d = 0; d < HD; d += 16) {
        uint32_t a[MT][4];
#pragma unroll
        for (int m = 0; m < MT; m++) {
            load_matrix<false>(a[m], query + m * 16 * STRIDE + d);
        }
#pragma unroll
        for (int n = 0; n < NT; n += 2) {
            uint32_t b[4];
            load_matrix<false>(b, key + n * 8 * STRIDE + d);
            const uint32_t b0[2] = {b[0], b[1]};
            const uint32_t b1[2] = {b[2], b[3]};
#pragma unroll
            for (int m = 0; m < MT; m++) {
                mma_bf16(scores[m][n], a[m], b0);
                mma_bf16(scores[m][n + 1], a[m], b1);
            }
        }
    }
}

/* The same from zero. */
template <int HD, int MT, int NT>
static __device__ __forceinline__ void multiply_keys(float (&scores)[MT][NT][4],
                                                     const uint16_t *queries, const uint16_t *keys)
{
#pragma unroll
    for (int i = 0; i < MT * NT * 4; i++) {
        scores[i / (NT * 4)][i / 4 % NT][i % 4] = 0;
    }
    add_keys<HD, MT, NT>(scores, queries, keys);
}

/* How scores become probabilities. */
struct weighing {
    float scale;         // times log2(e)
    int window;          // positions that a query sees, its own included
    int first;           // position of the tile's first key
    bool is_whole;       // all queries of the warp see all keys of the tile
    const float *scales; // of E4M3: of the tile's keys, then of its values
};

/* Scales and masks the scores of one of a lane's rows and gives their maximum over the row. */
template <int NT, bool FP8>
static __device__ __forceinline__ float mask_row(float (&scores)[NT][4], int half, int limit,
                                                 const weighing &weighing)
{
    float most = -INFINITY;
#pragma unroll
    for (int i = 0; i < NT * 2; i++) {
        int column = i / 2 * 8 + lane_index() % 4 * 2 + i % 2;
        float &score = scores[i / 2][half * 2 + i % 2];
        score *= FP8 ? weighing.scale * weighing.scales[column] : weighing.scale;
        int position = weighing.first + column;
        if (!weighing.is_whole && (position > limit || position <= limit - weighing.window)) {
            score = -INFINITY;
        }
        most = fmaxf(most, score);
    }
    most = fmaxf(most, __shfl_xor_sync(WARP_ALL, most, 1));
    return fmaxf(most, __shfl_xor_sync(WARP_ALL, most, 2));
}

/* Turns scores into probabilities relative to the greatest score so far; factor: by which what came
 * before must shrink. A tile that a row does not see at all changes nothing of it. */
template <int NT, bool FP8>
static __device__ __forceinline__ void weigh_row(float (&scores)[NT][4], int half, query_rows &rows,
                                                 const weighing &weighing, float &factor)
{
    float most =
        fmaxf(rows.most[half], mask_row<NT, FP8>(scores, half, rows.limit[half], weighing));
    float base = most == -INFINITY ? 0.0f : most;
    factor = exp2_fast(rows.most[half] - base);
    float sum = rows.sum[half] * factor;
#pragma unroll
    for (int i = 0; i < NT * 2; i++) {
        float &score = scores[i / 2][half * 2 + i % 2];
        score = exp2_fast(score - base);
        sum += score;
        if (FP8) {
            score *= weighing.scales[NT * 8 + i / 2 * 8 + lane_index() % 4 * 2 + i % 2];
        }
    }
    rows.most[half] = most;
    rows.sum[half] = sum;
}

/* Weighs the tile's scores, rounds the probabilities to bf16 and makes the output relative to the
 * same maximum. Where no row of the warp has a new one all factors are exactly 1, and the output
 * stays as it is. probabilities[n][half]: of two neighbouring keys. */
template <int HD, int NT, bool FP8>
static __device__ __forceinline__ void
weigh_tile(float (&scores)[NT][4], uint32_t (&probabilities)[NT][2], float (&output)[HD / 8][4],
           query_rows &rows, const weighing &weighing)
{
    float factors[2];
    weigh_row<NT, FP8>(scores, 0, rows, weighing, factors[0]);
    weigh_row<NT, FP8>(scores, 1, rows, weighing, factors[1]);
#pragma unroll
    for (int i = 0; i < NT * 2; i++) {
        probabilities[i / 2][i % 2] =
            bf16_pair(scores[i / 2][i % 2 * 2], scores[i / 2][i % 2 * 2 + 1]);
    }
    if (__any_sync(WARP_ALL, factors[0] != 1.0f || factors[1] != 1.0f)) {
#pragma unroll
        for (int i = 0; i < HD / 2; i++) {
            output[i / 4][i % 4] *= factors[i % 4 / 2];
        }
    }
}

/* output += probabilities values: [16 MT, HD] += [16 MT, 8 NT] [8 NT, HD]. */
template <int HD, int MT, int NT, int STRIDE = tile_stride<HD>()>
static __device__ __forceinline__ void multiply_values(float (&output)[MT][HD / 8][4],
                                                       const uint32_t (&probabilities)[MT][NT][2],
                                                       const uint16_t *values)
{
    int lane = lane_index();
    const uint16_t *value = values + lane % 16 * STRIDE + lane / 16 * 8;
#pragma unroll
    for (int k = 0; k < NT; k += 2) {
        uint32_t a[MT][4];
#pragma unroll
        for (int i = 0; i < MT * 4; i++) {
            a[i / 4][i % 4] = probabilities[i / 4][k + i % 4 / 2][i % 2];
        }
#pragma unroll
        for (int n = 0; n < HD / 8; n += 2) {
            uint32_t b[4];
            load_matrix<true>(b, value + k * 8 * STRIDE + n * 8);
            const uint32_t b0[2] = {b[0], b[1]};
            const uint32_t b1[2] = {b[2], b[3]};
#pragma unroll
            for (int m = 0; m < MT; m++) {
                mma_bf16(output[m][n], a[m], b0);
                mma_bf16(output[m][n + 1], a[m], b1);
            }
        }
    }
}

/* A row's sum over the four lanes that share it. */
static __device__ __forceinline__ float row_sum(float sum)
{
    sum += __shfl_xor_sync(WARP_ALL, sum, 1);
    return sum + __shfl_xor_sync(WARP_ALL, sum, 2);
}

#endif
