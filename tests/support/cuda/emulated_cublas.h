/* emulated_cublas: cuBLASLt without a device: plain products in f32, put on the emulated stream. It
 * refuses what the library refuses on the device's compute capability. */
#ifndef TESTS_SUPPORT_CUDA_EMULATED_CUBLAS_H
#define TESTS_SUPPORT_CUDA_EMULATED_CUBLAS_H

#include "kernels/cuda/cublas.h"

const struct cublas_library *emulated_cublas(void);

#endif
