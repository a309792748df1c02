/* isa_name: KERNEL_NAME(x) is x_avx512_vnni, x_avx512, x_avx2 or x_portable, after the instruction
 * set that the build compiles the including file for: KERNEL_AVX512_VNNI, KERNEL_AVX512,
 * KERNEL_AVX2 or none of them defined. KERNEL_AVX512 is defined with the first too. */
#ifndef KERNELS_CPU_ISA_NAME_H
#define KERNELS_CPU_ISA_NAME_H

#if defined(KERNEL_AVX512_VNNI)
#define KERNEL_AVX512
#define KERNEL_NAME(name) name##_avx512_vnni
#elif defined(KERNEL_AVX512)
#define KERNEL_NAME(name) name##_avx512
#elif defined(KERNEL_AVX2)
#define KERNEL_NAME(name) name##_avx2
#else
#define KERNEL_NAME(name) name##_portable
#endif

#endif
