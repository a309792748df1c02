/* onednn_product_absent: stands in for onednn_product.c in builds without oneDNN. */
#include "bench/onednn_product.h"

struct onednn_times onednn_product_times(const struct onednn_shape *shape,
                                         enum onednn_format format, int threads, double measure_ms)
{
    (void)shape;
    (void)format;
    (void)threads;
    (void)measure_ms;
    return (struct onednn_times){0};
}
