/* dtype: the number formats that weights arrive in, and their conversion to f32. Thread: any. */
#ifndef KERNELS_DTYPE_H
#define KERNELS_DTYPE_H

#include <stddef.h>
#include <stdint.h>

/* A back end is given the first three; bytes have scales, which the loader multiplies them with. */
enum dtype {
    DTYPE_F32,
    DTYPE_BF16,
    DTYPE_F16,
    DTYPE_F8_E4M3, // no infinities, up to 448
    DTYPE_F8_E5M2, // the upper half of an f16
};

const char *dtype_name(enum dtype dtype); // "F32", as safetensors spells it
size_t dtype_bytes(enum dtype dtype);     // of one number

/* Reads `count` numbers from `source`, which may have any alignment and is little-endian. */
void dtype_to_f32(float *target, const void *source, enum dtype dtype, size_t count);

float dtype_bf16_to_f32(uint16_t bits);
/* Rounds to nearest, ties to even; NaN stays NaN. */
uint16_t dtype_f32_to_bf16(float value);

#endif
