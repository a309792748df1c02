/* onednn_product: weights in the form that the library asks for, and its own threads. The numbers
 * are random: zeros are faster. */
#include "bench/onednn_product.h"

#include <omp.h>
#include <oneapi/dnnl/dnnl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "kernels/cpu/onednn_desc.h"
#include "schemas/base/check.h"

enum { INPUT, WEIGHTS, OUTPUT, OPERANDS };
enum { ALIGNMENT = 64, RUNS_MIN = 5, RUNS_MAX = 1 << 12 };

struct format {
    dnnl_data_type_t types[OPERANDS];
    size_t bytes[OPERANDS];
};

static const struct format formats[] = {
    [ONEDNN_INT8] = {{dnnl_u8, dnnl_s8, dnnl_s32}, {1, 1, 4}},
    [ONEDNN_F32] = {{dnnl_f32, dnnl_f32, dnnl_f32}, {4, 4, 4}},
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
        (void)fprintf(stderr, "oneDNN refused a product\n");
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

static double now_ms(int threads)
{
    struct timespec time;
    (void)clock_gettime(threads == 1 ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC, &time);
    return 1e3 * (double)time.tv_sec + 1e-6 * (double)time.tv_nsec;
}

/* Fills times[0..count) in ascending order; -> count. */
static int time_runs(const struct product *product, dnnl_stream_t stream, int threads,
                     double measure_ms, double times[RUNS_MAX])
{
    int count = 0;
    double start_ms = now_ms(threads);
    while (count < RUNS_MAX && (count < RUNS_MIN || now_ms(threads) - start_ms < measure_ms)) {
        double run_ms = now_ms(threads);
        must(dnnl_primitive_execute(product->primitive, stream, OPERANDS, product->arguments) ==
                 dnnl_success &&
             dnnl_stream_wait(stream) == dnnl_success);
        times[count++] = now_ms(threads) - run_ms;
    }
    qsort(times, (size_t)count, sizeof *times, compare);
    return count;
}

struct onednn_times onednn_product_times(const struct onednn_shape *shape,
                                         enum onednn_format format, int threads, double measure_ms)
{
    static double times[RUNS_MAX];
    const dnnl_dims_t sizes[OPERANDS] = {{shape->rows, shape->inputs},
                                         {shape->inputs, shape->outputs},
                                         {shape->rows, shape->outputs}};
    struct product product = {0};
    dnnl_engine_t engine;
    dnnl_stream_t stream;
    omp_set_num_threads(threads);
    must(dnnl_engine_create(&engine, dnnl_cpu, 0) == dnnl_success &&
         dnnl_stream_create(&stream, engine, dnnl_stream_default_flags) == dnnl_success);
    product_open(&product, engine, &formats[format], sizes);
    int count = time_runs(&product, stream, threads, measure_ms, times);
    product_close(&product);
    (void)dnnl_stream_destroy(stream);
    (void)dnnl_engine_destroy(engine);
    return (struct onednn_times){.median_s = times[count / 2] / 1e3, .best_s = times[0] / 1e3};
}
