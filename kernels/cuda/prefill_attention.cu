/* prefill_attention: causal attention of prompt chunks over the paged cache, on tensor cores.
 *
 * Queries that share a kv head are pairs (row, query head), in the order of the rows; a block takes
 * CUDA_PREFILL_PAIRS of one sequence, so that grouped heads fill the tile as more rows would and
 * keys are read once for all of them. It walks over tiles of 64 keys, anchored at multiples of 64,
 * from the first row's window to the last row's position: what a chunk's rows see of each other
 * comes from the cache like all that came before. A query's sums depend on its own numbers and on
 * the tiles alone, not on its place in the block, the warp or the chunk.
 *
 * Keys and values have one buffer each. While scores are computed, the tile's values arrive; while
 * values are summed, the next tile's keys do. Shared memory at head dimension 128: queries 34 KiB,
 * keys and values 17 KiB each, 68 in all (E4M3: 85, with the bytes as they arrive), so two blocks
 * share a multiprocessor of sm_80 (164 KiB) or sm_90 (228). A warp owns 32 queries up to that
 * dimension: of a tile it then reads 34 KiB by ldmatrix for 256 mma, where 16 queries would read as
 * much for 128 and be bound by shared memory, which gives 128 bytes a clock against 1024 (sm_80) or
 * 2048 (sm_90) bf16 multiplications (CUDA C programming guide, compute capabilities; NVIDIA H100
 * white paper). Above, the sums of 32 queries do not fit into registers.
 */
#include "kernels/cuda/query_block.cuh"

enum { KEYS = CUDA_PREFILL_KEYS, THREADS = CUDA_PREFILL_THREADS, NT = KEYS / 8 };

/* The block's shared memory. */
template <int HD, int PAIRS, bool FP8> struct prefill_memory {
    static constexpr int ROW_BYTES = 2 * tile_stride<HD>();
    static constexpr int RAW_BYTES = FP8 ? KEYS * HD : 0;
    uint16_t *queries;
    tile keys;
    tile values;
    float *scales; // of keys, then of values

    __device__ __forceinline__ prefill_memory()
    {
        char *memory = shared_memory();
        queries = reinterpret_cast<uint16_t *>(memory);
        keys.rows = reinterpret_cast<uint16_t *>(memory + PAIRS * ROW_BYTES);
        values.rows = reinterpret_cast<uint16_t *>(memory + (PAIRS + KEYS) * ROW_BYTES);
        keys.raw = memory + (PAIRS + 2 * KEYS) * ROW_BYTES;
        values.raw = keys.raw + RAW_BYTES;
        scales = reinterpret_cast<float *>(values.raw + RAW_BYTES);
    }

    __device__ __forceinline__ void fetch_keys(const tile_source &source, int first) const
    {
        tile_fetch<HD, KEYS, FP8, THREADS>(keys, source, 0, first, (int)threadIdx.x);
        if (FP8) {
            scales_fetch<KEYS, THREADS>(scales, source, first, (int)threadIdx.x);
        }
    }

    __device__ __forceinline__ void fetch_values(const tile_source &source, int first) const
    {
        tile_fetch<HD, KEYS, FP8, THREADS>(values, source, source.kv->values, first,
                                           (int)threadIdx.x);
    }
};

/* Waits for a tile. All threads then see it, and have done with what they did before. */
template <int HD, bool FP8> static __device__ __forceinline__ void arrive(const tile &tile)
{
    copy_wait<0>();
    if (FP8) {
        tile_unpack<HD, KEYS, THREADS>(tile, (int)threadIdx.x);
    }
    __syncthreads();
}

/* What a warp has of its queries. */
template <int HD, int MT> struct warp_queries {
    query_rows rows[MT];
    float output[MT][HD / 8][4];
    tile_range<KEYS> range;
    int first_pair;

    __device__ __forceinline__ warp_queries(const attention_kernel_args &args,
                                            const query_block &block)
    {
        first_pair = warp_index() * MT * 16;
        range = range_of<KEYS>(args, block, first_pair, MT * 16);
#pragma unroll
        for (int m = 0; m < MT; m++) {
            int pair = first_pair + m * 16 + lane_index() / 4;
            query_rows_start(rows[m], pair_limit(args, block, pair),
                             pair_limit(args, block, pair + 8));
#pragma unroll
            for (int i = 0; i < HD / 2; i++) {
                output[m][i / 4][i % 4] = 0;
            }
        }
    }
};

template <int HD, int MT, bool FP8>
static __device__ __forceinline__ void prefill(const attention_kernel_args &args)
{
    constexpr int PAIRS = MT * 16 * (THREADS / WARP_LANES);
    const query_block block = find_block(args, PAIRS);
    if (block.count == 0) {
        return;
    }
    const prefill_memory<HD, PAIRS, FP8> memory;
    const tile_range range = range_of<KEYS>(args, block, 0, PAIRS);
    const tile_source source = {&args.kv, block.sequence, (int)blockIdx.y, range.high + 1};
    int first = max(0, range.low - args.window + 1) / KEYS * KEYS;
    fetch_queries<HD, PAIRS, THREADS>(args, block, memory.queries);
    memory.fetch_keys(source, first);
    copy_commit();
    warp_queries<HD, MT> mine(args, block);
    for (; first <= range.high; first += KEYS) {
        uint32_t probabilities[MT][NT][2];
        const bool meets = mine.range.meets(first);
        arrive<HD, FP8>(memory.keys);
        memory.fetch_values(source, first);
        copy_commit();
        if (meets) {
            float scores[MT][NT][4];
            const weighing weighing = {args.scale, args.window, first, mine.range.sees_all(first),
                                       memory.scales};
            multiply_keys<HD, MT, NT>(scores, memory.queries + mine.first_pair * tile_stride<HD>(),
                                      memory.keys.rows);
#pragma unroll
            for (int m = 0; m < MT; m++) {
                weigh_tile<HD, NT, FP8>(scores[m], probabilities[m], mine.output[m], mine.rows[m],
                                        weighing);
            }
        }
        arrive<HD, FP8>(memory.values);
        if (first + KEYS <= range.high) {
            memory.fetch_keys(source, first + KEYS);
            copy_commit();
        }
        if (meets) {
            multiply_values<HD, MT, NT>(mine.output, probabilities, memory.values.rows);
        }
    }
#pragma unroll
    for (int m = 0; m < MT; m++) {
        write_rows<HD>(args, block, mine.first_pair + m * 16, 0, mine.output[m], mine.rows[m]);
    }
}

#define PREFILL(head_dim)                                                                          \
    KERNEL(prefill_attention_##head_dim##_kernel, struct attention_kernel_args, THREADS)           \
    {                                                                                              \
        prefill<head_dim, CUDA_PREFILL_PAIRS(head_dim) / 64, false>(args);                         \
    }                                                                                              \
    KERNEL(prefill_attention_##head_dim##_fp8_kernel, struct attention_kernel_args, THREADS)       \
    {                                                                                              \
        prefill<head_dim, CUDA_PREFILL_PAIRS(head_dim) / 64, true>(args);                          \
    }
CUDA_EACH_HEAD_DIM(PREFILL)
