/* kv_write: norms and rotates queries and keys, and writes keys and values to the cache.
 *
 * One block a row, one warp a head: a lane holds the pairs (i, i + head_dim / 2) of i = lane, lane
 * + 32, ..., so that a rotation stays within a lane and a norm or a scale is one reduction of the
 * warp. The kernel reads and writes each number once, 2 bytes each: it is bound by memory.
 */
#include "kernels/cuda/attention_kernels.h"
#include "kernels/cuda/kv_cache.cuh"

/* One head in the registers of a warp: numbers 2 j and 2 j + 1 of a lane are a pair. */
enum { PARTS = CUDA_HEAD_DIM_MAX / WARP_LANES };

struct head_index {
    int half;

    /* Of number i of this lane in the head; past the head's end where there is none. */
    __device__ __forceinline__ int operator()(int i) const
    {
        int first = lane_index() + i / 2 * WARP_LANES;
        return first < half ? first + i % 2 * half : CUDA_HEAD_DIM_MAX;
    }
};

static __device__ __forceinline__ void load_head(float (&values)[PARTS], const uint16_t *head,
                                                 int head_dim, head_index index)
{
#pragma unroll
    for (int i = 0; i < PARTS; i++) {
        values[i] = index(i) < head_dim ? bf16_to_float(head[index(i)]) : 0.0f;
    }
}

/* head / sqrt(mean(head^2) + epsilon) * scale, in the order of the lanes. */
static __device__ __forceinline__ void norm_head(float (&values)[PARTS], const float *scale,
                                                 int head_dim, float epsilon, head_index index)
{
    float sum = 0;
#pragma unroll
    for (int i = 0; i < PARTS; i++) {
        sum += values[i] * values[i];
    }
    float factor = rsqrtf(warp_sum(sum) / (float)head_dim + epsilon);
#pragma unroll
    for (int i = 0; i < PARTS; i++) {
        values[i] *= index(i) < head_dim ? factor * scale[index(i)] : 0.0f;
    }
}

static __device__ __forceinline__ void rotate_head(float (&values)[PARTS], const float *rotations,
                                                   int half)
{
#pragma unroll
    for (int i = 0; i < PARTS; i += 2) {
        int pair = lane_index() + i / 2 * WARP_LANES;
        if (pair < half) {
            float c = rotations[2 * pair];
            float s = rotations[2 * pair + 1];
            float x = values[i];
            float y = values[i + 1];
            values[i] = x * c - y * s;
            values[i + 1] = y * c + x * s;
        }
    }
}

KERNEL(kv_write_kernel, struct kv_write_kernel_args, CUDA_KV_WRITE_THREADS)
{
    const kernel_kv &kv = args.kv;
    int row = (int)blockIdx.x;
    int heads = args.heads + 2 * kv.kv_heads;
    int sequence = sequence_at(args.sequences, row, [&](int s) { return args.row_starts[s]; });
    const float *rotations =
        args.rotations == nullptr ? nullptr : args.rotations + (int64_t)row * args.head_dim;
    head_index index = {args.head_dim / 2};
    for (int h = warp_index(); h < heads; h += CUDA_KV_WRITE_THREADS / WARP_LANES) {
        uint16_t *head = args.qkv + ((int64_t)row * heads + h) * args.head_dim;
        int kv_head = h - args.heads; // of keys, then of values
        bool is_query = kv_head < 0;
        bool is_value = kv_head >= kv.kv_heads;
        const float *norm = is_query ? args.q_norm : is_value ? nullptr : args.k_norm;
        float values[PARTS];
        if (is_query && norm == nullptr && rotations == nullptr) {
            continue;
        }
        load_head(values, head, args.head_dim, index);
        if (norm != nullptr) {
            norm_head(values, norm, args.head_dim, args.epsilon, index);
        }
        if (!is_value && rotations != nullptr) {
            rotate_head(values, rotations, index.half);
        }
        if (is_query) {
#pragma unroll
            for (int i = 0; i < PARTS; i++) {
                if (index(i) < args.head_dim) {
                    head[index(i)] = float_to_bf16(values[i]);
                }
            }
            continue;
        }
        kv_place place =
            kv_find(kv, sequence, kv_head - (is_value ? kv.kv_heads : 0), args.positions[row]);
        char *target = place.head + (is_value ? kv.values : 0u) +
                       (int64_t)place.slot * kv.pitch * kv_number_bytes(kv);
        float *scales =
            reinterpret_cast<float *>(place.head + (is_value ? kv.value_scales : kv.key_scales));
        kv_store(kv, values, args.head_dim, target, scales + place.slot, index);
    }
}
