/* isa: which instruction sets this processor and this build have. Thread: any. */
#ifndef KERNELS_CPU_ISA_H
#define KERNELS_CPU_ISA_H

#include <stdbool.h>

#include "kernels/backend.h"
#include "kernels/cpu/cpu_kernels.h"

const char *isa_name(enum backend_isa isa);
/* ISA_AUTO becomes the best one; false if this machine lacks what was asked for. */
bool isa_choose(enum backend_isa *isa);
const struct cpu_kernels *isa_kernels(enum backend_isa isa); // after isa_choose
bool isa_has_amx_bf16(void);
bool isa_has_amx_int8(void);

#endif
