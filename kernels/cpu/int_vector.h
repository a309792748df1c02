/* int_vector: sixteen s32 lanes and the product of four bytes per lane, the same integers on every
 * instruction set. Weights are bytes w + 128, so that the one instruction that multiplies bytes
 * without overflow (VNNI's, unsigned by signed) takes them beside signed inputs; elsewhere the even
 * and odd bytes of a lane are multiplied as 16-bit numbers. Included as vector.h is.
 */
#ifndef KERNELS_CPU_INT_VECTOR_H
#define KERNELS_CPU_INT_VECTOR_H

#include "kernels/cpu/vector.h"

enum { WEIGHT_ZERO = 128 }; // the byte of a weight of 0

#if defined(KERNEL_AVX512)

struct ints {
    __m512i v;
};

INLINE struct ints ints_zero(void)
{
    return (struct ints){_mm512_setzero_si512()};
}

INLINE struct ints ints_add(struct ints a, struct ints b)
{
    return (struct ints){_mm512_add_epi32(a.v, b.v)};
}

INLINE struct ints ints_sub1(struct ints a, int32_t x)
{
    return (struct ints){_mm512_sub_epi32(a.v, _mm512_set1_epi32(x))};
}

INLINE struct vec ints_to_vec(struct ints a)
{
    return (struct vec){_mm512_cvtepi32_ps(a.v)};
}

/* For whole numbers. */
INLINE struct ints ints_of_vec(struct vec a)
{
    return (struct ints){_mm512_cvtps_epi32(a.v)};
}

/* The lanes, which fit, as bytes. */
INLINE void ints_store_bytes(int8_t *p, struct ints a)
{
    _mm_storeu_si128((__m128i *)(void *)p, _mm512_cvtepi32_epi8(a.v));
}

INLINE struct ints ints_load_bytes(const int8_t *p)
{
    return (struct ints){_mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)(const void *)p))};
}

INLINE int32_t ints_sum(struct ints a)
{
    return _mm512_reduce_add_epi32(a.v);
}

#if defined(KERNEL_AVX512_VNNI)
struct dot_weights {
    __m512i v;
};
struct dot_inputs {
    __m512i v;
};

INLINE struct dot_weights dot_weights_load(const uint8_t *p)
{
    return (struct dot_weights){_mm512_loadu_si512(p)};
}

INLINE struct dot_inputs dot_inputs_load(const int8_t *p)
{
    int32_t four;
    memcpy(&four, p, sizeof(four));
    return (struct dot_inputs){_mm512_set1_epi32(four)};
}

INLINE struct ints ints_dot(struct ints sum, struct dot_weights w, struct dot_inputs x)
{
    return (struct ints){_mm512_dpbusd_epi32(sum.v, w.v, x.v)};
}
#else
struct dot_weights {
    __m512i even;
    __m512i odd;
};
struct dot_inputs {
    __m512i even;
    __m512i odd;
};

INLINE struct dot_weights dot_weights_load(const uint8_t *p)
{
    __m512i all = _mm512_loadu_si512(p);
    return (struct dot_weights){_mm512_and_si512(all, _mm512_set1_epi16(255)),
                                _mm512_srli_epi16(all, 8)};
}

INLINE struct dot_inputs dot_inputs_load(const int8_t *p)
{
    int32_t four;
    memcpy(&four, p, sizeof(four));
    __m512i all = _mm512_set1_epi32(four);
    return (struct dot_inputs){_mm512_srai_epi16(_mm512_slli_epi16(all, 8), 8),
                               _mm512_srai_epi16(all, 8)};
}

INLINE struct ints ints_dot(struct ints sum, struct dot_weights w, struct dot_inputs x)
{
    __m512i even = _mm512_madd_epi16(w.even, x.even);
    __m512i odd = _mm512_madd_epi16(w.odd, x.odd);
    return (struct ints){_mm512_add_epi32(sum.v, _mm512_add_epi32(even, odd))};
}
#endif

#elif defined(KERNEL_AVX2)

struct ints {
    __m256i low;
    __m256i high;
};

INLINE struct ints ints_zero(void)
{
    return (struct ints){_mm256_setzero_si256(), _mm256_setzero_si256()};
}

INLINE struct ints ints_add(struct ints a, struct ints b)
{
    return (struct ints){_mm256_add_epi32(a.low, b.low), _mm256_add_epi32(a.high, b.high)};
}

INLINE struct ints ints_sub1(struct ints a, int32_t x)
{
    __m256i all = _mm256_set1_epi32(x);
    return (struct ints){_mm256_sub_epi32(a.low, all), _mm256_sub_epi32(a.high, all)};
}

INLINE struct vec ints_to_vec(struct ints a)
{
    return (struct vec){_mm256_cvtepi32_ps(a.low), _mm256_cvtepi32_ps(a.high)};
}

INLINE struct ints ints_of_vec(struct vec a)
{
    return (struct ints){_mm256_cvtps_epi32(a.low), _mm256_cvtps_epi32(a.high)};
}

INLINE void ints_store_bytes(int8_t *p, struct ints a)
{
    // Packing works within halves of a register: low0 high0 low1 high1.
    __m256i words = _mm256_permute4x64_epi64(_mm256_packs_epi32(a.low, a.high), 0xd8);
    __m128i bytes =
        _mm_packs_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
    _mm_storeu_si128((__m128i *)(void *)p, bytes);
}

INLINE struct ints ints_load_bytes(const int8_t *p)
{
    __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)p);
    return (struct ints){_mm256_cvtepi8_epi32(bytes),
                         _mm256_cvtepi8_epi32(_mm_srli_si128(bytes, 8))};
}

INLINE int32_t ints_sum(struct ints a)
{
    int32_t lanes[LANES];
    memcpy(lanes, &a, sizeof(lanes));
    int32_t sum = 0;
    for (int i = 0; i < LANES; i++) {
        sum += lanes[i];
    }
    return sum;
}

struct dot_weights {
    __m256i even[2];
    __m256i odd[2];
};
struct dot_inputs {
    __m256i even;
    __m256i odd;
};

INLINE struct dot_weights dot_weights_load(const uint8_t *p)
{
    const __m256i *halves = (const __m256i *)(const void *)p;
    __m256i low = _mm256_loadu_si256(halves);
    __m256i high = _mm256_loadu_si256(halves + 1);
    __m256i mask = _mm256_set1_epi16(255);
    return (struct dot_weights){
        {_mm256_and_si256(low, mask), _mm256_and_si256(high, mask)},
        {_mm256_srli_epi16(low, 8), _mm256_srli_epi16(high, 8)},
    };
}

INLINE struct dot_inputs dot_inputs_load(const int8_t *p)
{
    int32_t four;
    memcpy(&four, p, sizeof(four));
    __m256i all = _mm256_set1_epi32(four);
    return (struct dot_inputs){_mm256_srai_epi16(_mm256_slli_epi16(all, 8), 8),
                               _mm256_srai_epi16(all, 8)};
}

INLINE __m256i dot_half(__m256i sum, __m256i even, __m256i odd, struct dot_inputs x)
{
    __m256i products =
        _mm256_add_epi32(_mm256_madd_epi16(even, x.even), _mm256_madd_epi16(odd, x.odd));
    return _mm256_add_epi32(sum, products);
}

INLINE struct ints ints_dot(struct ints sum, struct dot_weights w, struct dot_inputs x)
{
    return (struct ints){dot_half(sum.low, w.even[0], w.odd[0], x),
                         dot_half(sum.high, w.even[1], w.odd[1], x)};
}

#else

struct ints {
    int32_t lanes[LANES];
};

INLINE struct ints ints_zero(void)
{
    return (struct ints){{0}};
}

INLINE struct ints ints_add(struct ints a, struct ints b)
{
    for (int i = 0; i < LANES; i++) {
        a.lanes[i] += b.lanes[i];
    }
    return a;
}

INLINE struct ints ints_sub1(struct ints a, int32_t x)
{
    for (int i = 0; i < LANES; i++) {
        a.lanes[i] -= x;
    }
    return a;
}

INLINE struct vec ints_to_vec(struct ints a)
{
    float lanes[LANES];
    for (int i = 0; i < LANES; i++) {
        lanes[i] = (float)a.lanes[i];
    }
    return vec_load(lanes);
}

INLINE struct ints ints_of_vec(struct vec a)
{
    float lanes[LANES];
    struct ints result;
    vec_store(lanes, a);
    for (int i = 0; i < LANES; i++) {
        result.lanes[i] = (int32_t)lanes[i];
    }
    return result;
}

INLINE void ints_store_bytes(int8_t *p, struct ints a)
{
    for (int i = 0; i < LANES; i++) {
        p[i] = (int8_t)a.lanes[i];
    }
}

INLINE struct ints ints_load_bytes(const int8_t *p)
{
    struct ints result;
    for (int i = 0; i < LANES; i++) {
        result.lanes[i] = p[i];
    }
    return result;
}

INLINE int32_t ints_sum(struct ints a)
{
    int32_t sum = 0;
    for (int i = 0; i < LANES; i++) {
        sum += a.lanes[i];
    }
    return sum;
}

struct dot_weights {
    uint8_t bytes[4 * LANES];
};
struct dot_inputs {
    int8_t bytes[4];
};

INLINE struct dot_weights dot_weights_load(const uint8_t *p)
{
    struct dot_weights result;
    memcpy(result.bytes, p, sizeof(result.bytes));
    return result;
}

INLINE struct dot_inputs dot_inputs_load(const int8_t *p)
{
    struct dot_inputs result;
    memcpy(result.bytes, p, sizeof(result.bytes));
    return result;
}

INLINE struct ints ints_dot(struct ints sum, struct dot_weights w, struct dot_inputs x)
{
    for (int i = 0; i < LANES; i++) {
        for (int j = 0; j < 4; j++) {
            sum.lanes[i] += (int32_t)w.bytes[4 * i + j] * (int32_t)x.bytes[j];
        }
    }
    return sum;
}
#endif

/* The first lanes; the others are 0. */
INLINE struct ints ints_load_part(const void *p, int count)
{
    int32_t lanes[LANES] = {0};
    struct ints result;
    memcpy(lanes, p, (size_t)count * sizeof(int32_t));
    memcpy(&result, lanes, sizeof(result));
    return result;
}

#endif
