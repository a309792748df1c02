/* bench_onednn: oneDNN's own rate for products of matrices in int8 and in f32, the library's way.
 * What our products are held against.
 *
 *     bench_onednn THREADS ROWS OUTPUTSxINPUTS...
 *
 * A line of JSON for each shape and format, with the median and the best of many runs, in billions
 * of multiplications and additions a second.
 */
#include <stdio.h>
#include <stdlib.h>

#include "bench/onednn_product.h"

static const double MEASURE_MS = 1000; // of each shape and format

static void measure(const struct onednn_shape *shape, int threads)
{
    static const char *const names[] = {[ONEDNN_INT8] = "int8", [ONEDNN_F32] = "f32"};
    double gop = 2e-9 * shape->rows * (double)shape->outputs * shape->inputs;
    for (enum onednn_format format = ONEDNN_INT8; format <= ONEDNN_F32; format++) {
        struct onednn_times times = onednn_product_times(shape, format, threads, MEASURE_MS);
        printf("{\"format\": \"%s\", \"rows\": %d, \"outputs\": %d, \"inputs\": %d, "
               "\"gop_per_s\": %.1f, \"best_gop_per_s\": %.1f}\n",
               names[format], shape->rows, shape->outputs, shape->inputs, gop / times.median_s,
               gop / times.best_s);
        (void)fflush(stdout);
    }
}

int main(int argc, char **argv)
{
    int threads = argc > 1 ? (int)strtol(argv[1], NULL, 10) : 0;
    int rows = argc > 2 ? (int)strtol(argv[2], NULL, 10) : 0;
    if (argc < 4 || threads < 1 || rows < 1) {
        (void)fprintf(stderr, "usage: bench_onednn THREADS ROWS OUTPUTSxINPUTS...\n");
        return 2;
    }
    for (int i = 3; i < argc; i++) {
        char *end = NULL;
        long outputs = strtol(argv[i], &end, 10);
        long inputs = *end == 'x' ? strtol(end + 1, NULL, 10) : 0;
        if (outputs < 1 || outputs > 1 << 22 || inputs < 1 || inputs > 1 << 20) {
            (void)fprintf(stderr, "bench_onednn: \"%s\" is not OUTPUTSxINPUTS\n", argv[i]);
            return 2;
        }
        const struct onednn_shape shape = {rows, (int)outputs, (int)inputs};
        measure(&shape, threads);
    }
    return 0;
}
