/* vector: sixteen f32 lanes, the same on every instruction set, so that code and data layouts do
 * not depend on it. The file that includes this is compiled once per instruction set (isa_name.h).
 * Results may differ between instruction sets (fused multiply-add), never between calls of one.
 */
#ifndef KERNELS_CPU_VECTOR_H
#define KERNELS_CPU_VECTOR_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "kernels/cpu/isa_name.h"

enum { LANES = 16 };

#define INLINE static inline __attribute__((always_inline, unused))

#if defined(KERNEL_AVX512)
#include <immintrin.h>

struct vec {
    __m512 v;
};

INLINE __mmask16 lane_mask(int count)
{
    return (__mmask16)((1u << count) - 1u);
}

INLINE struct vec vec_set1(float x)
{
    return (struct vec){_mm512_set1_ps(x)};
}

INLINE struct vec vec_load(const float *p)
{
    return (struct vec){_mm512_loadu_ps(p)};
}

INLINE struct vec vec_load_part(const float *p, int count)
{
    return (struct vec){_mm512_maskz_loadu_ps(lane_mask(count), p)};
}

INLINE struct vec vec_load_bf16(const uint16_t *p)
{
    __m512i wide = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)(const void *)p));
    return (struct vec){_mm512_castsi512_ps(_mm512_slli_epi32(wide, 16))};
}

INLINE void vec_store(float *p, struct vec a)
{
    _mm512_storeu_ps(p, a.v);
}

INLINE void vec_store_part(float *p, struct vec a, int count)
{
    _mm512_mask_storeu_ps(p, lane_mask(count), a.v);
}

INLINE struct vec vec_add(struct vec a, struct vec b)
{
    return (struct vec){_mm512_add_ps(a.v, b.v)};
}

INLINE struct vec vec_sub(struct vec a, struct vec b)
{
    return (struct vec){_mm512_sub_ps(a.v, b.v)};
}

INLINE struct vec vec_mul(struct vec a, struct vec b)
{
    return (struct vec){_mm512_mul_ps(a.v, b.v)};
}

INLINE struct vec vec_div(struct vec a, struct vec b)
{
    return (struct vec){_mm512_div_ps(a.v, b.v)};
}

/* a * b + c */
INLINE struct vec vec_fma(struct vec a, struct vec b, struct vec c)
{
    return (struct vec){_mm512_fmadd_ps(a.v, b.v, c.v)};
}

INLINE struct vec vec_max(struct vec a, struct vec b)
{
    return (struct vec){_mm512_max_ps(a.v, b.v)};
}

/* Lane by lane a < b ? x : y. */
INLINE struct vec vec_select_less(struct vec a, struct vec b, struct vec x, struct vec y)
{
    return (struct vec){_mm512_mask_blend_ps(_mm512_cmp_ps_mask(a.v, b.v, _CMP_LT_OQ), y.v, x.v)};
}

INLINE struct vec vec_round(struct vec a)
{
    return (struct vec){_mm512_roundscale_ps(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)};
}

/* a * 2^n for whole n in [-126, 127]. */
INLINE struct vec vec_scale2(struct vec a, struct vec n)
{
    return (struct vec){_mm512_scalef_ps(a.v, n.v)};
}

#elif defined(KERNEL_AVX2)
#include <immintrin.h>

struct vec {
    __m256 low;
    __m256 high;
};

INLINE struct vec vec_set1(float x)
{
    return (struct vec){_mm256_set1_ps(x), _mm256_set1_ps(x)};
}

INLINE struct vec vec_load(const float *p)
{
    return (struct vec){_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)};
}

INLINE struct vec vec_load_part(const float *p, int count)
{
    if (count == LANES) {
        return vec_load(p);
    }
    float lanes[LANES] = {0};
    memcpy(lanes, p, (size_t)count * sizeof(float));
    return vec_load(lanes);
}

INLINE struct vec vec_load_bf16(const uint16_t *p)
{
    const __m128i *halves = (const __m128i *)(const void *)p;
    __m256i low = _mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128(halves)), 16);
    __m256i high = _mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128(halves + 1)), 16);
    return (struct vec){_mm256_castsi256_ps(low), _mm256_castsi256_ps(high)};
}

INLINE void vec_store(float *p, struct vec a)
{
    _mm256_storeu_ps(p, a.low);
    _mm256_storeu_ps(p + 8, a.high);
}

INLINE void vec_store_part(float *p, struct vec a, int count)
{
    if (count == LANES) {
        vec_store(p, a);
        return;
    }
    float lanes[LANES];
    vec_store(lanes, a);
    memcpy(p, lanes, (size_t)count * sizeof(float));
}

INLINE struct vec vec_add(struct vec a, struct vec b)
{
    return (struct vec){_mm256_add_ps(a.low, b.low), _mm256_add_ps(a.high, b.high)};
}

INLINE struct vec vec_sub(struct vec a, struct vec b)
{
    return (struct vec){_mm256_sub_ps(a.low, b.low), _mm256_sub_ps(a.high, b.high)};
}

INLINE struct vec vec_mul(struct vec a, struct vec b)
{
    return (struct vec){_mm256_mul_ps(a.low, b.low), _mm256_mul_ps(a.high, b.high)};
}

INLINE struct vec vec_div(struct vec a, struct vec b)
{
    return (struct vec){_mm256_div_ps(a.low, b.low), _mm256_div_ps(a.high, b.high)};
}

INLINE struct vec vec_fma(struct vec a, struct vec b, struct vec c)
{
    return (struct vec){_mm256_fmadd_ps(a.low, b.low, c.low),
                        _mm256_fmadd_ps(a.high, b.high, c.high)};
}

INLINE struct vec vec_max(struct vec a, struct vec b)
{
    return (struct vec){_mm256_max_ps(a.low, b.low), _mm256_max_ps(a.high, b.high)};
}

INLINE struct vec vec_select_less(struct vec a, struct vec b, struct vec x, struct vec y)
{
    return (struct vec){
        _mm256_blendv_ps(y.low, x.low, _mm256_cmp_ps(a.low, b.low, _CMP_LT_OQ)),
        _mm256_blendv_ps(y.high, x.high, _mm256_cmp_ps(a.high, b.high, _CMP_LT_OQ))};
}

INLINE struct vec vec_round(struct vec a)
{
    return (struct vec){_mm256_round_ps(a.low, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC),
                        _mm256_round_ps(a.high, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)};
}

INLINE __m256 power2(__m256 n)
{
    __m256i biased = _mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127));
    return _mm256_castsi256_ps(_mm256_slli_epi32(biased, 23));
}

INLINE struct vec vec_scale2(struct vec a, struct vec n)
{
    return (struct vec){_mm256_mul_ps(a.low, power2(n.low)), _mm256_mul_ps(a.high, power2(n.high))};
}

#else

/* The compiler's own vectors of four, which every processor has in some form. */
typedef float quad __attribute__((vector_size(16)));
typedef int32_t quad_bits __attribute__((vector_size(16)));

enum { QUADS = LANES / 4 };

struct vec {
    quad q[QUADS];
};

#define EACH_QUAD(expression)                                                                      \
    struct vec result;                                                                             \
    for (int i = 0; i < QUADS; i++) {                                                              \
        result.q[i] = (expression);                                                                \
    }                                                                                              \
    return result

INLINE quad quad_load(const float *p)
{
    quad result;
    memcpy(&result, p, sizeof(result));
    return result;
}

INLINE quad quad_select(quad_bits mask, quad x, quad y)
{
    return (quad)((mask & (quad_bits)x) | (~mask & (quad_bits)y));
}

INLINE struct vec vec_set1(float x)
{
    EACH_QUAD(((quad){x, x, x, x}));
}

INLINE struct vec vec_load(const float *p)
{
    EACH_QUAD(quad_load(p + 4 * i));
}

INLINE struct vec vec_load_part(const float *p, int count)
{
    if (count == LANES) {
        return vec_load(p);
    }
    float lanes[LANES] = {0};
    memcpy(lanes, p, (size_t)count * sizeof(float));
    return vec_load(lanes);
}

INLINE struct vec vec_load_bf16(const uint16_t *p)
{
    uint32_t bits[LANES];
    struct vec result;
    for (int i = 0; i < LANES; i++) {
        bits[i] = (uint32_t)p[i] << 16;
    }
    memcpy(&result, bits, sizeof(result));
    return result;
}

INLINE void vec_store(float *p, struct vec a)
{
    memcpy(p, &a, sizeof(a));
}

INLINE void vec_store_part(float *p, struct vec a, int count)
{
    memcpy(p, &a, (size_t)count * sizeof(float));
}

INLINE struct vec vec_add(struct vec a, struct vec b)
{
    EACH_QUAD(a.q[i] + b.q[i]);
}

INLINE struct vec vec_sub(struct vec a, struct vec b)
{
    EACH_QUAD(a.q[i] - b.q[i]);
}

INLINE struct vec vec_mul(struct vec a, struct vec b)
{
    EACH_QUAD(a.q[i] * b.q[i]);
}

INLINE struct vec vec_div(struct vec a, struct vec b)
{
    EACH_QUAD(a.q[i] / b.q[i]);
}

INLINE struct vec vec_fma(struct vec a, struct vec b, struct vec c)
{
    EACH_QUAD(a.q[i] * b.q[i] + c.q[i]);
}

INLINE struct vec vec_max(struct vec a, struct vec b)
{
    EACH_QUAD(quad_select(a.q[i] > b.q[i], a.q[i], b.q[i]));
}

INLINE struct vec vec_select_less(struct vec a, struct vec b, struct vec x, struct vec y)
{
    EACH_QUAD(quad_select(a.q[i] < b.q[i], x.q[i], y.q[i]));
}

/* For |a| below 2^22: adding 1.5 * 2^23 leaves no bits for the fraction. */
INLINE struct vec vec_round(struct vec a)
{
    struct vec big = vec_set1(12582912.0f);
    return vec_sub(vec_add(a, big), big);
}

INLINE struct vec vec_scale2(struct vec a, struct vec n)
{
    EACH_QUAD(a.q[i] * (quad)((__builtin_convertvector(n.q[i], quad_bits) + 127) << 23));
}
#endif

INLINE struct vec vec_zero(void)
{
    return vec_set1(0.0f);
}

/* The lanes are added in halves, in the same order on every instruction set. */
INLINE float vec_sum(struct vec a)
{
    float lanes[LANES];
    vec_store(lanes, a);
    for (int width = LANES / 2; width > 0; width /= 2) {
        for (int i = 0; i < width; i++) {
            lanes[i] += lanes[i + width];
        }
    }
    return lanes[0];
}

INLINE float vec_max_lane(struct vec a)
{
#if defined(KERNEL_AVX512)
    return _mm512_reduce_max_ps(a.v);
#else
    float lanes[LANES];
    vec_store(lanes, a);
    for (int width = LANES / 2; width > 0; width /= 2) {
        for (int i = 0; i < width; i++) {
            lanes[i] = lanes[i] > lanes[i + width] ? lanes[i] : lanes[i + width];
        }
    }
    return lanes[0];
#endif
}

/* e^a within 2 ulp; 0 below -87 (also for -infinity), e^88 above 88, NaN for NaN. Cephes' reduction
 * and polynomial. */
INLINE struct vec vec_exp(struct vec a)
{
    struct vec lowest = vec_set1(-87.0f);
    struct vec highest = vec_set1(88.0f);
    struct vec x = vec_select_less(a, lowest, lowest, a);
    x = vec_select_less(highest, x, highest, x);
    struct vec n = vec_round(vec_mul(x, vec_set1(1.44269504088896341f)));
    x = vec_fma(n, vec_set1(-0.693359375f), x);
    x = vec_fma(n, vec_set1(2.12194440e-4f), x);
    struct vec p = vec_set1(1.9875691500e-4f);
    p = vec_fma(p, x, vec_set1(1.3981999507e-3f));
    p = vec_fma(p, x, vec_set1(8.3334519073e-3f));
    p = vec_fma(p, x, vec_set1(4.1665795894e-2f));
    p = vec_fma(p, x, vec_set1(1.6666665459e-1f));
    p = vec_fma(p, x, vec_set1(5.0000001201e-1f));
    p = vec_fma(p, vec_mul(x, x), vec_add(x, vec_set1(1.0f)));
    return vec_select_less(a, lowest, vec_zero(), vec_scale2(p, n));
}

#endif
