/* onednn_int8: through the API of 2.x; other versions count as absent. */
#include "bench/onednn_int8.h"

#include <oneapi/dnnl/dnnl.h>

#if DNNL_VERSION_MAJOR == 2
#include <omp.h>
#include <stddef.h>
#include <stdlib.h>
#include <time.h>

#include "schemas/base/check.h"

enum { SOURCE, WEIGHTS, TARGET, MEMORIES };

static double now_s(int threads)
{
    struct timespec time;
    (void)clock_gettime(threads == 1 ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

static void must(dnnl_status_t status)
{
    CHECK(status == dnnl_success);
}

static dnnl_primitive_desc_t describe(dnnl_engine_t engine, int rows, int inputs, int outputs)
{
    dnnl_memory_desc_t descs[MEMORIES];
    const dnnl_dims_t source = {rows, inputs};
    const dnnl_dims_t weights = {inputs, outputs};
    const dnnl_dims_t target = {rows, outputs};
    must(dnnl_memory_desc_init_by_tag(&descs[SOURCE], 2, source, dnnl_u8, dnnl_ab));
    must(dnnl_memory_desc_init_by_tag(&descs[WEIGHTS], 2, weights, dnnl_s8, dnnl_format_tag_any));
    must(dnnl_memory_desc_init_by_tag(&descs[TARGET], 2, target, dnnl_s32, dnnl_ab));
    dnnl_matmul_desc_t operation;
    dnnl_primitive_desc_t chosen = NULL;
    must(dnnl_matmul_desc_init(&operation, &descs[SOURCE], &descs[WEIGHTS], NULL, &descs[TARGET]));
    must(dnnl_primitive_desc_create(&chosen, &operation, NULL, engine, NULL));
    return chosen;
}

/* Memory filled with small numbers that are not all the same. */
static void fill(dnnl_memory_t memory, size_t bytes)
{
    void *data = NULL;
    must(dnnl_memory_get_data_handle(memory, &data));
    for (size_t i = 0; i < bytes; i++) {
        ((unsigned char *)data)[i] = (unsigned char)(i * 37 % 101);
    }
}

double onednn_int8_seconds(int rows, int inputs, int outputs, int threads, int repeats)
{
    static const dnnl_query_t queries[] = {dnnl_query_src_md, dnnl_query_weights_md,
                                           dnnl_query_dst_md};
    static const int names[] = {DNNL_ARG_SRC, DNNL_ARG_WEIGHTS, DNNL_ARG_DST};
    dnnl_engine_t engine = NULL;
    dnnl_stream_t stream = NULL;
    dnnl_primitive_t product = NULL;
    dnnl_exec_arg_t arguments[MEMORIES];
    omp_set_num_threads(threads);
    must(dnnl_engine_create(&engine, dnnl_cpu, 0));
    must(dnnl_stream_create(&stream, engine, dnnl_stream_default_flags));
    dnnl_primitive_desc_t chosen = describe(engine, rows, inputs, outputs);
    must(dnnl_primitive_create(&product, chosen));
    for (int i = 0; i < MEMORIES; i++) {
        const dnnl_memory_desc_t *desc = dnnl_primitive_desc_query_md(chosen, queries[i], 0);
        arguments[i].arg = names[i];
        must(dnnl_memory_create(&arguments[i].memory, desc, engine, DNNL_MEMORY_ALLOCATE));
        fill(arguments[i].memory, dnnl_memory_desc_get_size(desc));
    }
    double best = 1e9;
    for (int i = 0; i < repeats; i++) {
        double start = now_s(threads);
        must(dnnl_primitive_execute(product, stream, MEMORIES, arguments));
        must(dnnl_stream_wait(stream));
        double seconds = now_s(threads) - start;
        best = seconds < best ? seconds : best;
    }
    for (int i = 0; i < MEMORIES; i++) {
        (void)dnnl_memory_destroy(arguments[i].memory);
    }
    (void)dnnl_primitive_destroy(product);
    (void)dnnl_primitive_desc_destroy(chosen);
    (void)dnnl_stream_destroy(stream);
    (void)dnnl_engine_destroy(engine);
    return best;
}
#else
double onednn_int8_seconds(int rows, int inputs, int outputs, int threads, int repeats)
{
    (void)rows;
    (void)inputs;
    (void)outputs;
    (void)threads;
    (void)repeats;
    return 0;
}
#endif
