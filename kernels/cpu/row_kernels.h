/* row_kernels: loops over single rows; once per instruction set (cpu_kernels.h has the contracts).
 */
#ifndef KERNELS_CPU_ROW_KERNELS_H
#define KERNELS_CPU_ROW_KERNELS_H

#include <stdbool.h>

#include "kernels/cpu/cpu_kernels.h"
#include "kernels/cpu/isa_name.h"

void KERNEL_NAME(add_norm)(float *residual, const float *delta, const float *scale, float *output,
                           int width, float epsilon);
void KERNEL_NAME(layer_norm)(float *residual, const float *delta,
                             const struct layer_norm_task *task, float *output);
void KERNEL_NAME(gelu)(const float *input, float *output, int width);
void KERNEL_NAME(silu_mul)(const float *gate, const float *up, float *output, int width);
bool KERNEL_NAME(row_max)(const float *row, int count, float *max_out);
double KERNEL_NAME(row_exp)(const float *row, float *output, int count, float shift, float factor);

#endif
