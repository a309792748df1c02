/* product_int8: the own product of bytes, and how rows become bytes; once per instruction set
 * (cpu_kernels.h has the contracts). */
#ifndef KERNELS_CPU_PRODUCT_INT8_H
#define KERNELS_CPU_PRODUCT_INT8_H

#include "kernels/cpu/cpu_kernels.h"
#include "kernels/cpu/isa_name.h"

float KERNEL_NAME(quantize)(const float *row, int count, int8_t *bytes_out, int32_t *sum_out);
void KERNEL_NAME(product_int8)(const struct int8_task *task);
void KERNEL_NAME(scale_sums)(void *row, int count, float scale, const float *scales,
                             const float *bias);

#endif
