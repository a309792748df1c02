/* cpu_kernels: the table of one instruction set; compiled once for each. */
#include "kernels/cpu/cpu_kernels.h"

#include "kernels/cpu/attention_kernel.h"
#include "kernels/cpu/isa_name.h"
#include "kernels/cpu/product.h"
#include "kernels/cpu/product_int8.h"
#include "kernels/cpu/row_kernels.h"

const struct cpu_kernels KERNEL_NAME(cpu_kernels) = {
    .panel_columns = PRODUCT_VECTORS * 16,
    .product = KERNEL_NAME(product),
    .product_int8 = KERNEL_NAME(product_int8),
    .quantize = KERNEL_NAME(quantize),
    .scale_sums = KERNEL_NAME(scale_sums),
    .add_norm = KERNEL_NAME(add_norm),
    .layer_norm = KERNEL_NAME(layer_norm),
    .gelu = KERNEL_NAME(gelu),
    .silu_mul = KERNEL_NAME(silu_mul),
    .attention = KERNEL_NAME(attention),
    .row_max = KERNEL_NAME(row_max),
    .row_exp = KERNEL_NAME(row_exp),
};
