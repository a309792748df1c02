/* query_block.cuh: the queries of a block, and the tiles of the cache that they see.
 *
 * Queries that share a kv head are pairs (row, query head), in the order of the rows. Blocks are
 * numbered so that no list of tiles is needed: those of sequence s begin at row_starts[s] * group /
 * pairs + s, which leaves every sequence room for its last, partial tile. A block past its
 * sequence's pairs has nothing to do. Tiles of a sequence run from its end, where most keys are
 * seen, so that the long ones start early.
 */
#ifndef KERNELS_CUDA_QUERY_BLOCK_CUH
#define KERNELS_CUDA_QUERY_BLOCK_CUH

#include "kernels/cuda/attention_tile.cuh"

/* The pairs of a block, and which of the cache they see. */
struct query_block {
    int sequence;
    int first_row; // of the sequence
    int last_row;
    int first; // pair, of the sequence's
    int count; // pairs; 0: nothing to do
};

static __device__ __forceinline__ query_block find_block(const attention_kernel_args &args,
                                                         int pairs)
{
    int index = (int)blockIdx.x;
    auto first_tile = [&](int s) {
        return (int)((int64_t)args.row_starts[s] * args.group / pairs) + s;
    };
    query_block block;
    block.sequence = sequence_at(args.sequences, index, first_tile);
    block.first_row = args.row_starts[block.sequence];
    block.last_row = args.row_starts[block.sequence + 1] - 1;
    int rows = block.last_row + 1 - block.first_row;
    int total = rows * args.group;
    int tile = (total + pairs - 1) / pairs - 1 - (index - first_tile(block.sequence));
    block.first = tile * pairs;
    block.count = tile < 0 ? 0 : min(pairs, total - block.first);
    if (args.skips_single && rows == 1) {
        block.count = 0;
    }
    return block;
}

/* The last position that a pair of the block sees; -1 past its end. */
static __device__ __forceinline__ int pair_limit(const attention_kernel_args &args,
                                                 const query_block &block, int pair)
{
    if (pair >= block.count) {
        return -1;
    }
    int row = block.first_row + (block.first + pair) / args.group;
    return args.positions[args.is_bidirectional ? block.last_row : row];
}

/* Numbers from the start of q, or of the output, to a pair's head. */
static __device__ __forceinline__ int64_t pair_offset(const attention_kernel_args &args,
                                                      const query_block &block, int pair,
                                                      int stride, int width)
{
    int at = block.first + pair;
    int row = block.first_row + at / args.group;
    int head = (int)blockIdx.y * args.group + at % args.group;
    return (int64_t)row * stride + head * width;
}

/* Brings the block's queries to shared memory, zeros where there are none and behind head_dim. */
template <int HD, int PAIRS, int THREADS>
static __device__ __forceinline__ void fetch_queries(const attention_kernel_args &args,
                                                     const query_block &block, uint16_t *target)
{
    bool is_aligned = args.head_dim % 8 == 0 && args.q_stride % 8 == 0;
#pragma unroll 4
    for (int i = (int)threadIdx.x; i < PAIRS * (HD / 8); i += THREADS) {
        int pair = i / (HD / 8);
        int d = i % (HD / 8) * 8;
        int count = pair < block.count ? max(0, min(8, args.head_dim - d)) : 0;
        const uint16_t *from =
            count == 0 ? args.q
                       : args.q + pair_offset(args, block, pair, args.q_stride, args.head_dim) + d;
        uint16_t *to = target + pair * tile_stride<HD>() + d;
        if (is_aligned) {
            copy_async(to, from, 2 * count);
        } else {
            for (int j = 0; j < 8; j++) {
                to[j] = j < count ? from[j] : (uint16_t)0;
            }
        }
    }
}

/* The tiles that some query of a range of pairs sees, and those that all see whole. */
template <int KEYS> struct tile_range {
    int low;  // the last position that the first pair sees
    int high; // that the last pair sees; -1: there are no pairs
    int window;

    __device__ __forceinline__ bool meets(int first) const
    {
        return first <= high && first + KEYS > low - window + 1;
    }
    __device__ __forceinline__ bool sees_all(int first) const
    {
        return first + KEYS - 1 <= low && first > high - window;
    }
};

template <int KEYS>
static __device__ __forceinline__ tile_range<KEYS>
range_of(const attention_kernel_args &args, const query_block &block, int first, int count)
{
    tile_range<KEYS> range;
    int last = min(first + count, block.count) - 1;
    range.low = pair_limit(args, block, first);
    range.high = last < first ? -1 : pair_limit(args, block, last);
    range.window = args.window;
    return range;
}

/* Divides by the rows' weights and writes the queries that there are, from a column on. */
template <int HD>
static __device__ __forceinline__ void
write_rows(const attention_kernel_args &args, const query_block &block, int first_pair, int column,
           const float (&output)[HD / 8][4], const query_rows &rows)
{
    int heads = (int)gridDim.y * args.group;
#pragma unroll
    for (int half = 0; half < 2; half++) {
        float sum = row_sum(rows.sum[half]);
        int pair = first_pair + lane_index() / 4 + half * 8;
        if (pair >= block.count) {
            continue;
        }
        uint16_t *target =
            args.output + pair_offset(args, block, pair, heads * args.value_dim, args.value_dim);
        float inverse = 1.0f / sum;
#pragma unroll
        for (int n = 0; n < HD / 8; n++) {
            int d = column + n * 8 + lane_index() % 4 * 2;
            if (d < args.value_dim) {
                *reinterpret_cast<uint32_t *>(target + d) =
                    bf16_pair(output[n][half * 2] * inverse, output[n][half * 2 + 1] * inverse);
            }
        }
    }
}

#endif
