/* bench_onednn: oneDNN's own rate for products of matrices in int8 (u8 x s8 -> s32) and in f32, the
 * library's way: weights in the form that it asks for, and its own threads. What our products are
 * held against.
 *
 *     bench_onednn THREADS ROWS OUTPUTSxINPUTS...
 *
 * A line of JSON for each shape and format, with the median and the best of many runs, in billions
 * of multiplications and additions a second. The numbers are random: zeros are faster.
 */
#include <omp.h>
#include <oneapi/dnnl/dnnl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "kernels/cpu/onednn_desc.h"
#include "pipeline/clock.h"
#include "schemas/base/check.h"

enum { INPUT, WEIGHTS, OUTPUT, OPERANDS };
enum { ALIGNMENT = 64, RUNS_MIN = 5, RUNS_MAX = 1 << 12 };
static const double MEASURE_MS = 1000; // of each shape and format

struct format {
    const char *name;
    dnnl_data_type_t types[OPERANDS];
    size_t bytes[OPERANDS];
};

static const struct format formats[] = {
    {"int8", {dnnl_u8, dnnl_s8, dnnl_s32}, {1, 1, 4}},
    {"f32", {dnnl_f32, dnnl_f32, dnnl_f32}, {4, 4, 4}},
};

struct product {
    struct desc descs[OPERANDS];
    dnnl_primitive_desc_t chosen;
    dnnl_primitive_t primitive;
    dnnl_exec_arg_t arguments[OPERANDS];
    void *buffers[OPERANDS];
};

static void must(bool is_ok)
{
    if (!is_ok) {
        (void)fprintf(stderr, "bench_onednn: the library refused a product\n");
        exit(1);
    }
}

static void fill(void *buffer, size_t bytes, dnnl_data_type_t type)
{
    if (type == dnnl_f32) {
        float *values = buffer;
        for (size_t i = 0; i < bytes / sizeof *values; i++) {
            values[i] = (float)rand() / (float)RAND_MAX - 0.5f;
        }
        return;
    }
    uint8_t *values = buffer;
    for (size_t i = 0; i < bytes; i++) {
        values[i] = (uint8_t)((unsigned)rand() >> 8);
    }
}

static void product_open(struct product *product, dnnl_engine_t engine, const struct format *format,
                         const dnnl_dims_t sizes[OPERANDS])
{
    static const int names[] = {DNNL_ARG_SRC, DNNL_ARG_WEIGHTS, DNNL_ARG_DST};
    for (int i = 0; i < OPERANDS; i++) {
        const dnnl_dims_t strides = {sizes[i][1], 1};
        must(i == WEIGHTS ? desc_any(&product->descs[i], sizes[i], format->types[i])
                          : desc_strided(&product->descs[i], sizes[i], strides, format->types[i]));
    }
    must(desc_matmul(&product->chosen, engine, NULL, product->descs) &&
         dnnl_primitive_create(&product->primitive, product->chosen) == dnnl_success);
    for (int i = 0; i < OPERANDS; i++) {
        desc_ref desc =
            i == WEIGHTS ? dnnl_primitive_desc_query_md(product->chosen, dnnl_query_weights_md, 0)
                         : desc_of(&product->descs[i]);
        size_t bytes = dnnl_memory_desc_get_size(desc);
        bytes += (ALIGNMENT - bytes % ALIGNMENT) % ALIGNMENT;
        product->buffers[i] = aligned_alloc(ALIGNMENT, bytes);
        CHECK(product->buffers[i] != NULL);
        fill(product->buffers[i], bytes, format->types[i]);
        product->arguments[i].arg = names[i];
        must(dnnl_memory_create(&product->arguments[i].memory, desc, engine, product->buffers[i]) ==
             dnnl_success);
    }
}

static void product_close(struct product *product)
{
    for (int i = 0; i < OPERANDS; i++) {
        (void)dnnl_memory_destroy(product->arguments[i].memory);
        desc_close(&product->descs[i]);
        free(product->buffers[i]);
    }
    (void)dnnl_primitive_destroy(product->primitive);
    (void)dnnl_primitive_desc_destroy(product->chosen);
}

static int compare(const void *a, const void *b)
{
    double first = *(const double *)a;
    double second = *(const double *)b;
    return (first > second) - (first < second);
}

/* Fills times[0..count) in ascending order; -> count. */
static int time_runs(const struct product *product, dnnl_stream_t stream, double times[RUNS_MAX])
{
    int count = 0;
    double start_ms = clock_monotonic_ms();
    while (count < RUNS_MAX && (count < RUNS_MIN || clock_monotonic_ms() - start_ms < MEASURE_MS)) {
        double run_ms = clock_monotonic_ms();
        must(dnnl_primitive_execute(product->primitive, stream, OPERANDS, product->arguments) ==
                 dnnl_success &&
             dnnl_stream_wait(stream) == dnnl_success);
        times[count++] = clock_monotonic_ms() - run_ms;
    }
    qsort(times, (size_t)count, sizeof *times, compare);
    return count;
}

static void measure(dnnl_engine_t engine, dnnl_stream_t stream, const struct format *format,
                    int rows, int outputs, int inputs)
{
    const dnnl_dims_t sizes[OPERANDS] = {{rows, inputs}, {inputs, outputs}, {rows, outputs}};
    struct product product = {0};
    product_open(&product, engine, format, sizes);
    static double times[RUNS_MAX];
    int count = time_runs(&product, stream, times);
    double gop = 2e-9 * rows * (double)outputs * inputs;
    printf("{\"format\": \"%s\", \"rows\": %d, \"outputs\": %d, \"inputs\": %d, "
           "\"gop_per_s\": %.1f, \"best_gop_per_s\": %.1f}\n",
           format->name, rows, outputs, inputs, 1e3 * gop / times[count / 2], 1e3 * gop / times[0]);
    (void)fflush(stdout);
    product_close(&product);
}

int main(int argc, char **argv)
{
    int threads = argc > 1 ? (int)strtol(argv[1], NULL, 10) : 0;
    int rows = argc > 2 ? (int)strtol(argv[2], NULL, 10) : 0;
    if (argc < 4 || threads < 1 || rows < 1) {
        (void)fprintf(stderr, "usage: bench_onednn THREADS ROWS OUTPUTSxINPUTS...\n");
        return 2;
    }
    omp_set_num_threads(threads);
    dnnl_engine_t engine;
    dnnl_stream_t stream;
    must(dnnl_engine_create(&engine, dnnl_cpu, 0) == dnnl_success &&
         dnnl_stream_create(&stream, engine, dnnl_stream_default_flags) == dnnl_success);
    for (int i = 3; i < argc; i++) {
        char *end = NULL;
        long outputs = strtol(argv[i], &end, 10);
        long inputs = *end == 'x' ? strtol(end + 1, NULL, 10) : 0;
        if (outputs < 1 || outputs > 1 << 22 || inputs < 1 || inputs > 1 << 20) {
            (void)fprintf(stderr, "bench_onednn: \"%s\" is not OUTPUTSxINPUTS\n", argv[i]);
            return 2;
        }
        for (size_t f = 0; f < sizeof formats / sizeof *formats; f++) {
            measure(engine, stream, &formats[f], rows, (int)outputs, (int)inputs);
        }
    }
    (void)dnnl_stream_destroy(stream);
    (void)dnnl_engine_destroy(engine);
    return 0;
}
