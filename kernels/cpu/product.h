/* product: the own matrix product of one panel; once per instruction set (cpu_kernels.h). */
#ifndef KERNELS_CPU_PRODUCT_H
#define KERNELS_CPU_PRODUCT_H

#include "kernels/cpu/cpu_kernels.h"
#include "kernels/cpu/isa_name.h"

#if defined(KERNEL_AVX512)
enum { PRODUCT_ROWS = 12, PRODUCT_VECTORS = 2 }; // 24 sums, 2 of the panel, 1 of a: 32 registers
#elif defined(KERNEL_AVX2)
enum { PRODUCT_ROWS = 6, PRODUCT_VECTORS = 1 }; // 12 sums, 2, 1: 16 registers of 8 lanes
#else
enum { PRODUCT_ROWS = 2, PRODUCT_VECTORS = 1 }; // 8 sums, 4, 1: 16 registers of 4 lanes
#endif

void KERNEL_NAME(product)(const struct product_task *task);

#endif
