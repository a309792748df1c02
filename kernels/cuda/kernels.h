/* kernels: all CUDA kernels by name, with their arguments. Included by C; the headers of the
 * topics are included by CUDA and, in the emulation, by C++ too.
 *
 * A kernel of the list is
 *     extern "C" __global__ void NAME(struct NAME_args args)
 * in the .cu file of its topic, whose header declares the struct: one argument, by value, of
 * pointers to device memory and numbers. bf16 numbers are their bits, uint16_t. A launch names the
 * kernel by its number here (cuda_launch in cuda_backend_internal.h).
 */
#ifndef KERNELS_CUDA_KERNELS_H
#define KERNELS_CUDA_KERNELS_H

#include "kernels/cuda/attention_kernels.h"
#include "kernels/cuda/expert_kernels.h"
#include "kernels/cuda/rows_kernels.h"
#include "kernels/cuda/sample_kernels.h"

/* X(NUMBER, name) of every kernel, by topic. */
#define CUDA_KERNELS(X)                                                                            \
    CUDA_ROWS_KERNELS(X) CUDA_ATTENTION_KERNELS(X) CUDA_EXPERT_KERNELS(X) CUDA_SAMPLE_KERNELS(X)

#define CUDA_KERNEL_NUMBER(number, name) CUDA_##number,
enum cuda_kernel { CUDA_KERNELS(CUDA_KERNEL_NUMBER) CUDA_KERNELS_COUNT };
#undef CUDA_KERNEL_NUMBER

#endif
