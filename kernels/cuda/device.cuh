/* device.cuh: what kernels use beyond plain CUDA C++: one way to declare a kernel, shared memory,
 * 16-bit and 8-bit floats, asynchronous copies and matrix instructions.
 *
 * All PTX of the project stands here. Under MILLRACE_CUDA_EMULATION the same files are C++,
 * compiled behind tests/support/cuda/emulation.cuh, and each function has its emulated body.
 *
 * bf16 and fp8 (E4M3) travel as their bits, uint16_t and uint8_t: no header of the toolkit is
 * needed, and the conversions are the same everywhere: to nearest, ties to even, fp8 saturating at
 * 448.
 */
#ifndef KERNELS_CUDA_DEVICE_CUH
#define KERNELS_CUDA_DEVICE_CUH

#include <stdint.h>

#define WARP_LANES 32
#define WARP_ALL 0xffffffffu
#define FP8_MAX 448.0f

/* KERNEL(name, struct x_args, threads) { ... args ... }: a kernel takes one struct by value and is
 * launched with at most `threads` threads. */
#ifdef MILLRACE_CUDA_EMULATION
#define KERNEL(name, args_type, threads)                                                           \
    static void name##_body(const args_type &args);                                                \
    extern "C" void name(const void *args);                                                        \
    extern "C" void name(const void *args)                                                         \
    {                                                                                              \
        emulation_check_threads(threads);                                                          \
        name##_body(*static_cast<const args_type *>(args));                                        \
    }                                                                                              \
    static void name##_body(const args_type &args)
#else
#define KERNEL(name, args_type, threads)                                                           \
    extern "C" __global__ void __launch_bounds__(threads)                                          \
        name(const __grid_constant__ args_type args)
#endif

/* SHARED(type, name, count); an array in the block's shared memory. */
#ifdef MILLRACE_CUDA_EMULATION
#define SHARED(type, name, count)                                                                  \
    static const char name##_key = 0;                                                              \
    type *const name = static_cast<type *>(emulation_variable(&name##_key, sizeof(type) * (count)))
#else
#define SHARED(type, name, count) __shared__ type name[count]
#endif

/* The launch's dynamic shared memory. */
static __device__ __forceinline__ char *shared_memory()
{
#ifdef MILLRACE_CUDA_EMULATION
    return emulation_shared();
#else
    extern __shared__ __align__(128) char shared_bytes[];
    return shared_bytes;
#endif
}

static __device__ __forceinline__ int lane_index()
{
    return (int)(threadIdx.x % WARP_LANES);
}

static __device__ __forceinline__ int warp_index()
{
    return (int)(threadIdx.x / WARP_LANES);
}

/* 2^x; on the device within 2 ulp, and 0 of minus infinity. */
static __device__ __forceinline__ float exp2_fast(float x)
{
#ifdef MILLRACE_CUDA_EMULATION
    return exp2f(x);
#else
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
#endif
}

static __device__ __forceinline__ float bf16_to_float(uint32_t bits)
{
    return __uint_as_float(bits << 16);
}

/* The two bf16 of a word. */
static __device__ __forceinline__ float bf16_low(uint32_t pair)
{
    return __uint_as_float(pair << 16);
}

static __device__ __forceinline__ float bf16_high(uint32_t pair)
{
    return __uint_as_float(pair & 0xffff0000u);
}

static __device__ __forceinline__ uint16_t float_to_bf16(float value)
{
#ifdef MILLRACE_CUDA_EMULATION
    uint32_t bits = __float_as_uint(value);
    if ((bits & 0x7fffffffu) > 0x7f800000u) {
        return 0x7fff; // as the device's conversion does
    }
    return (uint16_t)((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
#else
    uint16_t bits;
    asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(bits) : "f"(value));
    return bits;
#endif
}

/* Two bf16 in a word, `low` in its lower half. */
static __device__ __forceinline__ uint32_t bf16_pair(float low, float high)
{
#ifdef MILLRACE_CUDA_EMULATION
    return (uint32_t)float_to_bf16(low) | (uint32_t)float_to_bf16(high) << 16;
#else
    uint32_t pair;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
    return pair;
#endif
}

/* E4M3 to the bits of a float that is 2^120 too small: exponent and mantissa stand where a float
 * has them. NaN, which the cache never holds, reads as 480. */
static __device__ __forceinline__ uint32_t fp8_spread(uint32_t bits)
{
    return (bits & 0x80u) << 24 | (bits & 0x7fu) << 20;
}

static __device__ __forceinline__ float fp8_to_float(uint32_t bits)
{
    return __uint_as_float(fp8_spread(bits)) * 0x1p120f;
}

/* To E4M3; NaN becomes NaN (0x7f). */
static __device__ __forceinline__ uint8_t float_to_fp8(float value)
{
#if !defined(MILLRACE_CUDA_EMULATION) && __CUDA_ARCH__ >= 890
    uint16_t pair;
    asm("cvt.rn.satfinite.e4m3x2.f32 %0, %1, %2;" : "=h"(pair) : "f"(0.0f), "f"(value));
    return (uint8_t)pair;
#else
    uint32_t bits = __float_as_uint(value);
    uint32_t sign = bits >> 24 & 0x80u;
    float magnitude = __uint_as_float(bits & 0x7fffffffu);
    if (!(magnitude < 464.0f)) { // half way to what 480 would be
        return (uint8_t)(sign | (isnan(value) ? 0x7fu : 0x7eu));
    }
    if (magnitude < 0x1p-6f) { // subnormal: steps of 2^-9, which a sum with 2^14 leaves over
        return (uint8_t)(sign | (__float_as_uint(magnitude + 0x1p14f) - __float_as_uint(0x1p14f)));
    }
    uint32_t kept = __float_as_uint(magnitude);
    kept = (kept + 0x7ffffu + (kept >> 20 & 1u)) >> 20;
    kept -= (127 - 7) << 3;
    return (uint8_t)(sign | (kept < 0x7eu ? kept : 0x7eu));
#endif
}

/* Copies 16 bytes from global to shared memory in the background, or, of them, the first `valid`
 * and zeros. Both addresses are multiples of 16. */
static __device__ __forceinline__ void copy_async(void *target, const void *source, int valid)
{
#ifdef MILLRACE_CUDA_EMULATION
    emulation_copy_async(target, source, 16, (size_t)valid);
#else
    uint32_t address = (uint32_t)__cvta_generic_to_shared(target);
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(address), "l"(source),
                 "r"(valid)
                 : "memory");
#endif
}

/* The same with 4 bytes, all or none of which are valid. */
static __device__ __forceinline__ void copy_async_word(void *target, const void *source, int valid)
{
#ifdef MILLRACE_CUDA_EMULATION
    emulation_copy_async(target, source, 4, (size_t)valid);
#else
    uint32_t address = (uint32_t)__cvta_generic_to_shared(target);
    asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;" ::"r"(address), "l"(source),
                 "r"(valid)
                 : "memory");
#endif
}

/* Ends a group of copies. */
static __device__ __forceinline__ void copy_commit()
{
#ifdef MILLRACE_CUDA_EMULATION
    emulation_copy_commit();
#else
    asm volatile("cp.async.commit_group;" ::: "memory");
#endif
}

/* Waits until at most the last GROUPS groups of this thread's copies are under way. Others see them
 * after a barrier. */
template <int GROUPS> static __device__ __forceinline__ void copy_wait()
{
#ifdef MILLRACE_CUDA_EMULATION
    emulation_copy_wait(GROUPS);
#else
    asm volatile("cp.async.wait_group %0;" ::"n"(GROUPS) : "memory");
#endif
}

/* d += a b: [16, 8] += [16, 16] [16, 8], fragments as PTX documents mma.m16n8k16. */
static __device__ __forceinline__ void mma_bf16(float (&d)[4], const uint32_t (&a)[4],
                                                const uint32_t (&b)[2])
{
#ifdef MILLRACE_CUDA_EMULATION
    const uint32_t words[6] = {a[0], a[1], a[2], a[3], b[0], b[1]};
    struct emulation_call call = {emulation_mma_bf16, WARP_ALL, words, d, 0, __FILE__, __LINE__};
    emulation_collective(&call);
#else
    asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, "
        "{%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#endif
}

/* Four 8x8 matrices of 16 bits from shared memory; lane 8 i + r gives the address of row r of
 * matrix i. TRANSPOSED: a lane's pair comes from one column. */
template <bool TRANSPOSED>
static __device__ __forceinline__ void load_matrix(uint32_t (&words)[4], const void *row)
{
#ifdef MILLRACE_CUDA_EMULATION
    struct emulation_call call = {
        emulation_load_matrix, WARP_ALL, row, words, TRANSPOSED, __FILE__, __LINE__};
    emulation_collective(&call);
#else
    uint32_t address = (uint32_t)__cvta_generic_to_shared(row);
    if (TRANSPOSED) {
        asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                     : "=r"(words[0]), "=r"(words[1]), "=r"(words[2]), "=r"(words[3])
                     : "r"(address)
                     : "memory");
    } else {
        asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                     : "=r"(words[0]), "=r"(words[1]), "=r"(words[2]), "=r"(words[3])
                     : "r"(address)
                     : "memory");
    }
#endif
}

/* Sums and maxima over a warp, the same in every lane, in a fixed order. */
template <typename T> static __device__ __forceinline__ T warp_sum(T value)
{
    for (int bits = WARP_LANES / 2; bits > 0; bits /= 2) {
        value += __shfl_xor_sync(WARP_ALL, value, bits);
    }
    return value;
}

static __device__ __forceinline__ float warp_max(float value)
{
    for (int bits = WARP_LANES / 2; bits > 0; bits /= 2) {
        value = fmaxf(value, __shfl_xor_sync(WARP_ALL, value, bits));
    }
    return value;
}

#endif
