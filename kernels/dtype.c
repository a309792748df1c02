/* dtype: conversions between f32, bf16, f16 and the two kinds of f8. */
#include "kernels/dtype.h"

#include <string.h>

const char *dtype_name(enum dtype dtype)
{
    static const char *const names[] = {"F32", "BF16", "F16", "F8_E4M3", "F8_E5M2"};
    return names[dtype];
}

size_t dtype_bytes(enum dtype dtype)
{
    return dtype == DTYPE_F32 ? sizeof(float) : dtype <= DTYPE_F16 ? sizeof(uint16_t) : 1;
}

static float float_of_bits(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof(value));
    return value;
}

static uint32_t bits_of_float(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof(bits));
    return bits;
}

float dtype_bf16_to_f32(uint16_t bits)
{
    return float_of_bits((uint32_t)bits << 16);
}

uint16_t dtype_f32_to_bf16(float value)
{
    uint32_t bits = bits_of_float(value);
    if ((bits & 0x7fffffffu) > 0x7f800000u) {
        return (uint16_t)((bits >> 16) | 0x40u); // a NaN must not round to infinity
    }
    return (uint16_t)((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

/* f16: 1 sign, 5 exponent (bias 15), 10 mantissa bits. */
static float f16_to_f32(uint16_t half)
{
    uint32_t sign = (uint32_t)(half & 0x8000u) << 16;
    uint32_t exponent = (half >> 10) & 0x1fu;
    uint32_t mantissa = half & 0x3ffu;
    if (exponent == 0) { // zero and subnormals: mantissa * 2^-24
        float magnitude = (float)mantissa * 0x1p-24f;
        return sign != 0 ? -magnitude : magnitude;
    }
    if (exponent == 0x1f) {
        return float_of_bits(sign | 0x7f800000u | (mantissa << 13));
    }
    return float_of_bits(sign | ((exponent + 112) << 23) | (mantissa << 13));
}

/* 1 sign, 4 exponent (bias 7), 3 mantissa bits; all ones are NaN, there is no infinity. */
static float e4m3_to_f32(uint8_t byte)
{
    uint32_t sign = (uint32_t)(byte & 0x80u) << 24;
    uint32_t rest = byte & 0x7fu;
    if (rest == 0x7f) {
        return float_of_bits(sign | 0x7fc00000u);
    }
    if (rest < 8) { // zero and subnormals: mantissa * 2^-9
        float magnitude = (float)rest * 0x1p-9f;
        return sign != 0 ? -magnitude : magnitude;
    }
    return float_of_bits(sign | ((rest << 20) + (120u << 23)));
}

/* A table: most of a model goes through it. */
static void bytes_to_f32(float *target, const unsigned char *bytes, enum dtype dtype, size_t count)
{
    float values[256];
    for (int i = 0; i < 256; i++) {
        values[i] =
            dtype == DTYPE_F8_E4M3 ? e4m3_to_f32((uint8_t)i) : f16_to_f32((uint16_t)(i << 8));
    }
    for (size_t i = 0; i < count; i++) {
        target[i] = values[bytes[i]];
    }
}

static uint16_t load_u16(const unsigned char *bytes)
{
    return (uint16_t)(bytes[0] | (bytes[1] << 8));
}

void dtype_to_f32(float *target, const void *source, enum dtype dtype, size_t count)
{
    const unsigned char *bytes = source;
    if (dtype == DTYPE_F32) {
        memcpy(target, bytes, count * sizeof(float));
        return;
    }
    if (dtype == DTYPE_F8_E4M3 || dtype == DTYPE_F8_E5M2) {
        bytes_to_f32(target, bytes, dtype, count);
        return;
    }
    for (size_t i = 0; dtype == DTYPE_BF16 && i < count; i++) {
        target[i] = dtype_bf16_to_f32(load_u16(bytes + 2 * i));
    }
    for (size_t i = 0; dtype == DTYPE_F16 && i < count; i++) {
        target[i] = f16_to_f32(load_u16(bytes + 2 * i));
    }
}
