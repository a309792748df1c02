/* attention_kernel: attention over the paged cache; once per instruction set (cpu_kernels.h). */
#ifndef KERNELS_CPU_ATTENTION_KERNEL_H
#define KERNELS_CPU_ATTENTION_KERNEL_H

#include "kernels/cpu/cpu_kernels.h"
#include "kernels/cpu/isa_name.h"

void KERNEL_NAME(attention)(const struct attention_task *task);

#endif
