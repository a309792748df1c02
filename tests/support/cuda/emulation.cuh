/* emulation.cuh: CUDA's words for kernels that are compiled as C++ (emulation.h). Included before
 * anything else by the compiler's command line. */
#ifndef TESTS_SUPPORT_CUDA_EMULATION_CUH
#define TESTS_SUPPORT_CUDA_EMULATION_CUH

#include <cmath>
#include <cstdint>
#include <cstring>

#include "tests/support/cuda/emulation.h"

using std::isfinite;
using std::isnan;

#define __device__
#define __host__
#define __global__
#define __forceinline__ inline
#define __noinline__
#define __restrict__

#define threadIdx (emulation_here.thread)
#define blockIdx (emulation_here.block)
#define blockDim (emulation_here.block_dim)
#define gridDim (emulation_here.grid_dim)

#define __syncthreads() emulation_barrier(__FILE__, __LINE__)
#define __syncwarp() emulation_shuffle(0xffffffffu, 0, 0, __FILE__, __LINE__)
#define __threadfence() ((void)0)

struct alignas(8) float2 {
    float x, y;
};
struct alignas(16) float4 {
    float x, y, z, w;
};
struct alignas(8) uint2 {
    unsigned x, y;
};
struct alignas(16) uint4 {
    unsigned x, y, z, w;
};
static inline float2 make_float2(float x, float y)
{
    return {x, y};
}
static inline float4 make_float4(float x, float y, float z, float w)
{
    return {x, y, z, w};
}
static inline uint2 make_uint2(unsigned x, unsigned y)
{
    return {x, y};
}
static inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w)
{
    return {x, y, z, w};
}

/* output = the input of lane `argument`, of 8 bytes. */
static void emulation_shuffle_operate(struct emulation_call *const *lanes, unsigned mask)
{
    for (int lane = 0; lane < 32; lane++) {
        if ((mask >> lane & 1u) == 0) {
            continue;
        }
        int source = lanes[lane]->argument;
        if ((mask >> source & 1u) == 0) {
            emulation_fail("a lane reads from lane %d, which is not in the mask %#x, at %s:%d",
                           source, mask, lanes[lane]->file, lanes[lane]->line);
        }
        memcpy(lanes[lane]->output, lanes[source]->input, sizeof(uint64_t));
    }
}

template <typename T>
static inline T emulation_shuffle(unsigned mask, T value, int lane, const char *file, int line)
{
    static_assert(sizeof(T) <= sizeof(uint64_t), "wider than a shuffle");
    uint64_t input = 0;
    uint64_t output = 0;
    memcpy(&input, &value, sizeof(value));
    struct emulation_call call = {
        emulation_shuffle_operate, mask, &input, &output, lane & 31, file, line};
    emulation_collective(&call);
    memcpy(&value, &output, sizeof(value));
    return value;
}

static inline int emulation_lane()
{
    unsigned flat = (threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x;
    return (int)(flat % 32);
}

/* Lanes whose source would lie outside the warp keep their own value. */
static inline int emulation_lane_up(int delta)
{
    return emulation_lane() - delta < 0 ? emulation_lane() : emulation_lane() - delta;
}

static inline int emulation_lane_down(int delta)
{
    return emulation_lane() + delta > 31 ? emulation_lane() : emulation_lane() + delta;
}

#define __shfl_sync(mask, value, lane) emulation_shuffle(mask, value, lane, __FILE__, __LINE__)
#define __shfl_xor_sync(mask, value, bits)                                                         \
    emulation_shuffle(mask, value, emulation_lane() ^ (bits), __FILE__, __LINE__)
#define __shfl_up_sync(mask, value, delta)                                                         \
    emulation_shuffle(mask, value, emulation_lane_up(delta), __FILE__, __LINE__)
#define __shfl_down_sync(mask, value, delta)                                                       \
    emulation_shuffle(mask, value, emulation_lane_down(delta), __FILE__, __LINE__)

/* output = a bit for each lane whose input, an int, is not 0. */
static void emulation_ballot_operate(struct emulation_call *const *lanes, unsigned mask)
{
    unsigned ballot = 0;
    for (int lane = 0; lane < 32; lane++) {
        if ((mask >> lane & 1u) != 0 && *(const int *)lanes[lane]->input != 0) {
            ballot |= 1u << lane;
        }
    }
    for (int lane = 0; lane < 32; lane++) {
        if ((mask >> lane & 1u) != 0) {
            *(unsigned *)lanes[lane]->output = ballot;
        }
    }
}

static inline unsigned emulation_ballot(unsigned mask, int predicate, const char *file, int line)
{
    unsigned output = 0;
    struct emulation_call call = {
        emulation_ballot_operate, mask, &predicate, &output, 0, file, line};
    emulation_collective(&call);
    return output;
}

#define __ballot_sync(mask, predicate)                                                             \
    emulation_ballot(mask, (predicate) ? 1 : 0, __FILE__, __LINE__)
#define __any_sync(mask, predicate) (__ballot_sync(mask, predicate) != 0)
#define __all_sync(mask, predicate) (__ballot_sync(mask, predicate) == (mask))

static inline int __popc(unsigned bits)
{
    return __builtin_popcount(bits);
}

static inline int __clz(int bits)
{
    return bits == 0 ? 32 : __builtin_clz((unsigned)bits);
}

static inline int __ffs(int bits)
{
    return __builtin_ffs(bits);
}

static inline unsigned __float_as_uint(float value)
{
    unsigned bits;
    memcpy(&bits, &value, sizeof(bits));
    return bits;
}

static inline float __uint_as_float(unsigned bits)
{
    float value;
    memcpy(&value, &bits, sizeof(value));
    return value;
}

/* One thread runs at a time, so these are whole as they stand. */
template <typename T> static inline T atomicAdd(T *target, T value)
{
    T before = *target;
    *target = before + value;
    return before;
}

template <typename T> static inline T atomicMax(T *target, T value)
{
    T before = *target;
    *target = before > value ? before : value;
    return before;
}

template <typename T> static inline T atomicMin(T *target, T value)
{
    T before = *target;
    *target = before < value ? before : value;
    return before;
}

template <typename T> static inline T atomicExch(T *target, T value)
{
    T before = *target;
    *target = value;
    return before;
}

template <typename T> static inline T atomicCAS(T *target, T expected, T value)
{
    T before = *target;
    *target = before == expected ? value : before;
    return before;
}

static inline float rsqrtf(float x)
{
    return 1.0f / sqrtf(x);
}

#define EMULATION_MIN_MAX(type)                                                                    \
    static inline type min(type a, type b)                                                         \
    {                                                                                              \
        return a < b ? a : b;                                                                      \
    }                                                                                              \
    static inline type max(type a, type b)                                                         \
    {                                                                                              \
        return a > b ? a : b;                                                                      \
    }
EMULATION_MIN_MAX(int)
EMULATION_MIN_MAX(unsigned)
EMULATION_MIN_MAX(long long)
EMULATION_MIN_MAX(unsigned long long)
EMULATION_MIN_MAX(float)

#endif
