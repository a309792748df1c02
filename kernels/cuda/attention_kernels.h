/* attention_kernels: arguments of the kernels around attention, and the layout of the KV cache.
 *
 * One layer's cache is [block, kv head, keys then values then scales]. Keys and values stand in
 * rows of head_dim numbers, padded to a multiple of 16 whose padding stays zero, so that every row
 * begins at a multiple of 16 bytes and an asynchronous copy takes 16 bytes of it. Numbers are bf16,
 * or E4M3 with a scale for each position and head: f32 [block_tokens] for keys and again for
 * values. Latent attention has keys only: a value is its key's first `latent` numbers.
 */
#ifndef KERNELS_CUDA_ATTENTION_KERNELS_H
#define KERNELS_CUDA_ATTENTION_KERNELS_H

#include <stdint.h>

/* Attention is compiled for these head dimensions; others are padded with zeros to the next. */
#define CUDA_EACH_HEAD_DIM(X) X(64) X(96) X(128) X(192) X(256)

#define CUDA_ATTENTION_KERNELS(X)                                                                  \
    X(KV_WRITE, kv_write_kernel)                                                                   \
    X(PREFILL_64, prefill_attention_64_kernel)                                                     \
    X(PREFILL_96, prefill_attention_96_kernel)                                                     \
    X(PREFILL_128, prefill_attention_128_kernel)                                                   \
    X(PREFILL_192, prefill_attention_192_kernel)                                                   \
    X(PREFILL_256, prefill_attention_256_kernel)                                                   \
    X(PREFILL_64_FP8, prefill_attention_64_fp8_kernel)                                             \
    X(PREFILL_96_FP8, prefill_attention_96_fp8_kernel)                                             \
    X(PREFILL_128_FP8, prefill_attention_128_fp8_kernel)                                           \
    X(PREFILL_192_FP8, prefill_attention_192_fp8_kernel)                                           \
    X(PREFILL_256_FP8, prefill_attention_256_fp8_kernel)                                           \
    X(DECODE_64, decode_attention_64_kernel)                                                       \
    X(DECODE_96, decode_attention_96_kernel)                                                       \
    X(DECODE_128, decode_attention_128_kernel)                                                     \
    X(DECODE_192, decode_attention_192_kernel)                                                     \
    X(DECODE_256, decode_attention_256_kernel)                                                     \
    X(DECODE_64_FP8, decode_attention_64_fp8_kernel)                                               \
    X(DECODE_96_FP8, decode_attention_96_fp8_kernel)                                               \
    X(DECODE_128_FP8, decode_attention_128_fp8_kernel)                                             \
    X(DECODE_192_FP8, decode_attention_192_fp8_kernel)                                             \
    X(DECODE_256_FP8, decode_attention_256_fp8_kernel)                                             \
    X(MERGE_ATTENTION, merge_attention_kernel)                                                     \
    X(LATENT_WRITE, latent_write_kernel)                                                           \
    X(LATENT_ATTENTION, latent_attention_kernel)                                                   \
    X(LATENT_ATTENTION_FP8, latent_attention_fp8_kernel)

enum {
    /* prefill_attention: one block for `pairs` of (row, query head) of one kv head. */
    CUDA_PREFILL_THREADS = 128,
    CUDA_PREFILL_KEYS = 64, // of a tile, anchored at multiples of this

    /* decode_attention: one block for CUDA_DECODE_SPLIT positions of one row and kv head. */
    CUDA_DECODE_THREADS = 128,
    CUDA_DECODE_KEYS = 16, // of a warp's tile
    CUDA_DECODE_SPLIT = 512,
    CUDA_DECODE_HEADS = 16, // query heads of a block

    /* latent_attention: one block for so many pairs of (row, head). */
    CUDA_LATENT_THREADS = 256,
    CUDA_LATENT_PAIRS = 64,
    CUDA_LATENT_KEYS = 32, // of a tile, anchored at multiples of this
    CUDA_LATENT_KEY_MAX = 576,
    CUDA_LATENT_VALUE_MAX = 512,

    CUDA_KV_WRITE_THREADS = 128,
    CUDA_HEAD_DIM_MAX = 256,
    CUDA_WINDOW_ALL = 1 << 30, // more than any position, and differences with it stay in an int
};

/* Pairs of a block of prefill_attention: 32 for each of its four warps while the sums of that many
 * rows fit into a thread's registers, else 16. */
#define CUDA_PREFILL_PAIRS(head_dim) ((head_dim) <= 128 ? 128 : 64)

/* One layer's cache and the step's way into it. */
struct kernel_kv {
    char *data;
    const int32_t *block_tables; // [sequences, blocks_max]
    int blocks_max;
    int block_tokens;
    uint64_t block_reciprocal; // 2^32 / block_tokens, rounded up: divides positions exactly
    int kv_heads;
    int is_fp8;
    int pitch;             // numbers from row to row
    uint32_t values;       // bytes from the start of a block's head
    uint32_t key_scales;   // likewise
    uint32_t value_scales; // likewise
    uint32_t head_bytes;
};

/* As struct rope_kv_write_args. One block a row. */
struct kv_write_kernel_args {
    struct kernel_kv kv;
    uint16_t *qkv;            // [rows, heads + 2 kv_heads, head_dim]
    const float *rotations;   // [rows, head_dim / 2, 2] or NULL
    const float *q_norm;      // [head_dim] or NULL
    const float *k_norm;      // [head_dim] or NULL
    const int32_t *positions; // [rows]
    const int32_t *row_starts;
    int sequences;
    int heads;
    int head_dim;
    float epsilon;
};

/* Of prefill_attention, blocks (tiles of all sequences, kv heads), and of decode_attention, blocks
 * (splits, kv heads times parts of CUDA_DECODE_HEADS of the group, sequences). */
struct attention_kernel_args {
    struct kernel_kv kv;
    const uint16_t *q;        // [rows, q_stride]: the heads come first
    uint16_t *output;         // [rows, heads, value_dim]
    const int32_t *positions; // [rows]
    const int32_t *row_starts;
    float *partials; // decode: [sequences, heads, splits, head_dim + 2]: sums, maximum, weight
    int sequences;
    int splits; // decode: of the longest sequence
    int q_stride;
    int group;
    int head_dim;
    int value_dim; // of values and outputs
    float scale;   // of scores, times log2(e)
    int window;    // at most CUDA_WINDOW_ALL
    int is_bidirectional;
    int skips_single; // prefill: sequences of one row are decode_attention's
};

/* Blocks (heads, sequences). */
struct merge_attention_kernel_args {
    const float *partials;
    uint16_t *output;
    const int32_t *positions;
    const int32_t *row_starts;
    int splits;
    int heads;
    int head_dim;
    int window;
};

/* As struct latent_write_args. One block a row. */
struct latent_write_kernel_args {
    struct kernel_kv kv;
    const float *rotations; // [rows, (head_dim - latent) / 2, 2]
    const uint16_t *keys;   // [rows, head_dim]
    const float *norm;      // [latent]
    const uint16_t *q;      // [rows, heads, q_width]
    uint16_t *absorbed;     // [rows, heads, head_dim]
    const int32_t *positions;
    const int32_t *row_starts;
    int sequences;
    int heads;
    int head_dim;
    int latent;
    int q_width;
    int is_interleaved;
    float epsilon;
};

/* The head dimension that kernels are compiled for; 0: none. */
static inline int cuda_compiled_head_dim(int head_dim)
{
#define CUDA_FIT(dim)                                                                              \
    if (head_dim <= (dim)) {                                                                       \
        return dim;                                                                                \
    }
    CUDA_EACH_HEAD_DIM(CUDA_FIT)
#undef CUDA_FIT
    return 0;
}

#endif
