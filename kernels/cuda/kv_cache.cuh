/* kv_cache.cuh: the way from a row to its sequence and from a position to its place in the cache.
 */
#ifndef KERNELS_CUDA_KV_CACHE_CUH
#define KERNELS_CUDA_KV_CACHE_CUH

#include "kernels/cuda/attention_kernels.h"
#include "kernels/cuda/device.cuh"

/* The last sequence of which `first(s)`, ascending, is not after `index`. */
template <typename First>
static __device__ __forceinline__ int sequence_at(int sequences, int index, First first)
{
    int low = 0;
    int high = sequences - 1;
    while (low < high) {
        int middle = low + (high - low + 1) / 2;
        if (first(middle) <= index) {
            low = middle;
        } else {
            high = middle - 1;
        }
    }
    return low;
}

/* A place for one position of one sequence. */
struct kv_place {
    char *head; // of the block
    int slot;   // in it
};

static __device__ __forceinline__ kv_place kv_find(const kernel_kv &kv, int sequence, int kv_head,
                                                   int position)
{
    int number = (int)((uint64_t)(uint32_t)position * kv.block_reciprocal >> 32);
    int64_t block = kv.block_tables[(int64_t)sequence * kv.blocks_max + number];
    kv_place place;
    place.head = kv.data + (block * kv.kv_heads + kv_head) * (int64_t)kv.head_bytes;
    place.slot = position - number * kv.block_tokens;
    return place;
}

/* What a number of the cache takes. */
static __device__ __forceinline__ int kv_number_bytes(const kernel_kv &kv)
{
    return kv.is_fp8 ? 1 : 2;
}

/* Writes PARTS numbers of each lane, number index(i) of `count`, to a row of the cache, and the
 * row's scale if the cache has scales. A row that is not finite gets the scale NaN. All lanes. */
template <int PARTS, typename Index>
static __device__ __forceinline__ void kv_store(const kernel_kv &kv, const float (&values)[PARTS],
                                                int count, char *row, float *scale, Index index)
{
    float most = 0;
    bool is_finite = true;
    for (int i = 0; i < PARTS; i++) {
        if (index(i) < count) {
            most = fmaxf(most, fabsf(values[i]));
            is_finite = is_finite && isfinite(values[i]);
        }
    }
    float factor = 1;
    if (kv.is_fp8) {
        most = warp_max(most);
        is_finite = __all_sync(WARP_ALL, is_finite);
        factor = most > 0 ? FP8_MAX / most : 0.0f;
        if (lane_index() == 0) {
            *scale = is_finite ? most / FP8_MAX : NAN;
        }
    }
    for (int i = 0; i < PARTS; i++) {
        if (index(i) < count && kv.is_fp8) {
            reinterpret_cast<uint8_t *>(row)[index(i)] = float_to_fp8(values[i] * factor);
        } else if (index(i) < count) {
            reinterpret_cast<uint16_t *>(row)[index(i)] = float_to_bf16(values[i]);
        }
    }
}

#endif
