/* isa_name: KERNEL_NAME(x) is x_avx512, x_avx2 or x_portable, after the instruction set that the
 * build compiles the including file for (KERNEL_AVX512, KERNEL_AVX2 or neither defined). */
#ifndef KERNELS_CPU_ISA_NAME_H
#define KERNELS_CPU_ISA_NAME_H

#if defined(KERNEL_AVX512)
#define KERNEL_NAME(name) name##_avx512
#elif defined(KERNEL_AVX2)
#define KERNEL_NAME(name) name##_avx2
#else
#define KERNEL_NAME(name) name##_portable
#endif

#endif
