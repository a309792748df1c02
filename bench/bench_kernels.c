/* bench_kernels: the time of each operation of a prefill and of a decode step, in the shape of
 * Qwen2.5-0.5B, beside oneDNN's own product of bytes for the same shapes in the same run.
 *
 *     bench_kernels [FORMAT [THREADS [KV_FORMAT]]]
 *
 * FORMAT is one of f32, bf16 and int8 (the default), KV_FORMAT one of f32, bf16 (the default) and
 * int8; THREADS is 0 (all) by default. Every time is the best of REPEATS; on one thread it is that
 * thread's processor time, which a busy machine changes less. The last lines add a prefill of 1,024
 * tokens up from its parts: what its products alone would take at oneDNN's rate over what all of it
 * takes is the `ratio`.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bench/onednn_product.h"
#include "kernels/backend.h"
#include "schemas/base/check.h"

enum {
    HIDDEN = 896,
    INTERMEDIATE = 4864,
    HEADS = 14,
    KV_HEADS = 2,
    HEAD_DIM = 64,
    QKV = (HEADS + 2 * KV_HEADS) * HEAD_DIM,
    VOCABULARY = 151936,
    LAYERS = 24,
    PREFILL = 1024,
    DECODE = 64,
    ROWS_MAX = 2048,
    BLOCK_TOKENS = 16,
    BLOCKS = PREFILL / BLOCK_TOKENS,
    REPEATS = 5,
    ONEDNN_MS = 20, // of each of its products
};

struct bench {
    struct backend *backend;
    const struct backend_operations *ops;
    enum weight_format format;
    enum kv_format kv_format;
    int threads;
    struct device_buffer *input;  // wide enough for every operation
    struct device_buffer *output; // likewise
    struct device_buffer *hidden;
    struct device_buffer *scale;
    struct device_buffer *kv;
    struct device_buffer *rotations;
};

static double now_s(const struct bench *bench)
{
    struct timespec time;
    clockid_t clock = bench->threads == 1 ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC;
    (void)clock_gettime(clock, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

static void must(enum kernel_status status)
{
    CHECK(status == KERNEL_OK);
}

static float *noise_alloc(size_t count)
{
    float *values = malloc(count * sizeof(float));
    CHECK(values != NULL);
    uint32_t state = 1;
    for (size_t i = 0; i < count; i++) {
        state = state * 1664525u + 1013904223u;
        values[i] = (float)(state >> 8) * 0x1p-23f - 1.0f;
    }
    return values;
}

static struct device_buffer *buffer_of_noise(struct bench *bench, size_t count)
{
    struct device_buffer *buffer = NULL;
    float *values = noise_alloc(count);
    must(bench->ops->buffer_open(bench->backend, count * sizeof(float), &buffer));
    must(bench->ops->copy_in(bench->backend, buffer, 0, values, count * sizeof(float)));
    free(values);
    return buffer;
}

static struct weight *weight_of_noise(struct bench *bench, int outputs, int inputs)
{
    struct weight *weight = NULL;
    float *values = noise_alloc((size_t)outputs * (size_t)inputs);
    struct weight_part part = {.data = values, .dtype = DTYPE_F32, .rows = outputs};
    struct weight_source source = {
        .parts = &part, .parts_count = 1, .columns = inputs, .format = bench->format};
    must(bench->ops->weight_open(bench->backend, &source, &weight));
    free(values);
    return weight;
}

static double linear_seconds(struct bench *bench, const struct weight *weight, int rows)
{
    double best = 1e9;
    for (int i = 0; i < REPEATS; i++) {
        double start = now_s(bench);
        must(bench->ops->linear(bench->backend, weight, bench->input, bench->output, rows));
        double seconds = now_s(bench) - start;
        best = seconds < best ? seconds : best;
    }
    return best;
}

struct shape {
    const char *name;
    int outputs;
    int inputs;
    int count; // in a prefill of all layers
};

static const struct shape shapes[] = {
    {"q, k, v", QKV, HIDDEN, LAYERS},
    {"attention output", HIDDEN, HEADS *HEAD_DIM, LAYERS},
    {"gate, up", 2 * INTERMEDIATE, HIDDEN, LAYERS},
    {"down", HIDDEN, INTERMEDIATE, LAYERS},
    {"logits", VOCABULARY, HIDDEN, 0},
};
enum { SHAPES = sizeof(shapes) / sizeof(shapes[0]) };

/* What the products of a prefill take. */
struct products {
    double own_s;
    double onednn_s;
};

static void measure_shape(struct bench *bench, const struct shape *shape, struct products *prefill)
{
    static const int rows[] = {1, 16, 64, 256, PREFILL, ROWS_MAX};
    struct weight *weight = weight_of_noise(bench, shape->outputs, shape->inputs);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        if (shape->count == 0 && rows[i] > DECODE) {
            break; // logits are wanted for few rows
        }
        double size = (double)shape->outputs * shape->inputs;
        double work = 2e-9 * size * rows[i];
        double own = linear_seconds(bench, weight, rows[i]);
        const struct onednn_shape same = {rows[i], shape->outputs, shape->inputs};
        double other = onednn_product_times(&same, ONEDNN_INT8, bench->threads, ONEDNN_MS).best_s;
        printf("%-17s %6d %10.1f %8.0f %8.1f %10.1f %8.0f %7.2f\n", shape->name, rows[i], 1e6 * own,
               work / own, 1e-9 * size / own, 1e6 * other, other > 0 ? work / other : 0,
               other / own);
        if (rows[i] == PREFILL) {
            prefill->own_s += shape->count * own;
            prefill->onednn_s += shape->count * other;
        }
    }
    (void)fflush(stdout);
    bench->ops->weight_close(bench->backend, weight);
}

/* A step of `sequences` with `rows` rows each, behind whose last there are PREFILL positions. All
 * sequences share their blocks: only their time matters. */
static struct step_arrays step_open(struct bench *bench, int sequences, int rows)
{
    static int32_t values[2 * ROWS_MAX + DECODE + 1 + DECODE * BLOCKS];
    size_t count = (size_t)(sequences * rows);
    struct step_arrays step = {.positions = count,
                               .row_starts = 2 * count,
                               .block_tables = 2 * count + (size_t)sequences + 1,
                               .rows = (int)count,
                               .sequences = sequences,
                               .blocks_max = BLOCKS};
    for (int i = 0; i < (int)count; i++) {
        values[step.positions + (size_t)i] = PREFILL - rows + i % rows;
    }
    for (int s = 0; s <= sequences; s++) {
        values[step.row_starts + (size_t)s] = s * rows;
    }
    for (int i = 0; i < sequences * BLOCKS; i++) {
        values[step.block_tables + (size_t)i] = i;
    }
    must(bench->ops->buffer_open(bench->backend, sizeof(values), &step.buffer));
    must(bench->ops->copy_in(bench->backend, step.buffer, 0, values, sizeof(values)));
    return step;
}

enum operation { NORM, ROPE, ATTENTION, ACTIVATION, OPERATIONS };

static void run(struct bench *bench, enum operation operation, const struct step_arrays *step)
{
    const struct attention_shape shape = {.heads = HEADS,
                                          .kv_heads = KV_HEADS,
                                          .head_dim = HEAD_DIM,
                                          .block_tokens = BLOCK_TOKENS,
                                          .kv_format = bench->kv_format};
    struct add_norm_args norm = {.residual = bench->hidden,
                                 .delta = bench->input,
                                 .scale = bench->scale,
                                 .output = bench->output,
                                 .rows = step->rows,
                                 .width = HIDDEN,
                                 .epsilon = 1e-6f};
    struct rope_kv_write_args rope = {.step = step,
                                      .shape = shape,
                                      .rotations = bench->rotations,
                                      .qkv = bench->input,
                                      .kv = bench->kv};
    struct attention_args attention = {.step = step,
                                       .shape = shape,
                                       .scale = 0.125f,
                                       .qkv = bench->input,
                                       .kv = bench->kv,
                                       .output = bench->output};
    switch (operation) {
    case NORM:
        must(bench->ops->add_norm(bench->backend, &norm));
        break;
    case ROPE:
        must(bench->ops->rope_kv_write(bench->backend, &rope));
        break;
    case ATTENTION:
        must(bench->ops->attention(bench->backend, &attention));
        break;
    case ACTIVATION:
        must(bench->ops->silu_mul(bench->backend, bench->input, bench->output, step->rows,
                                  INTERMEDIATE));
        break;
    case OPERATIONS:
        break;
    }
}

/* Measures all other operations of a step; gives the seconds of one layer. */
static double measure_step(struct bench *bench, const char *name, int sequences, int rows)
{
    static const char *const names[] = {"norm", "rope, cache", "attention", "activation"};
    static const int counts[] = {2, 1, 1, 1}; // in a layer
    double layer = 0;
    struct step_arrays step = step_open(bench, sequences, rows);
    for (int o = 0; o < OPERATIONS; o++) {
        double best = 1e9;
        for (int i = 0; i < REPEATS; i++) {
            double start = now_s(bench);
            run(bench, (enum operation)o, &step);
            double seconds = now_s(bench) - start;
            best = seconds < best ? seconds : best;
        }
        printf("%-17s %6d %10.1f  %s\n", names[o], step.rows, 1e6 * best, name);
        layer += counts[o] * best;
    }
    bench->ops->buffer_close(bench->backend, step.buffer);
    (void)fflush(stdout);
    return layer;
}

static void bench_open(struct bench *bench)
{
    const struct attention_shape shape = {.heads = HEADS,
                                          .kv_heads = KV_HEADS,
                                          .head_dim = HEAD_DIM,
                                          .block_tokens = BLOCK_TOKENS,
                                          .kv_format = bench->kv_format};
    size_t kv = bench->ops->kv_block_bytes(bench->backend, &shape) * BLOCKS * DECODE;
    bench->input = buffer_of_noise(bench, (size_t)ROWS_MAX * 2 * INTERMEDIATE);
    bench->output = buffer_of_noise(bench, (size_t)ROWS_MAX * 2 * INTERMEDIATE);
    bench->hidden = buffer_of_noise(bench, (size_t)ROWS_MAX * HIDDEN);
    bench->scale = buffer_of_noise(bench, HIDDEN);
    bench->rotations = buffer_of_noise(bench, (size_t)ROWS_MAX * HEAD_DIM);
    must(bench->ops->buffer_open(bench->backend, kv, &bench->kv));
}

static void bench_close(struct bench *bench)
{
    struct device_buffer *const all[] = {bench->input, bench->output,    bench->hidden,
                                         bench->scale, bench->rotations, bench->kv};
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        bench->ops->buffer_close(bench->backend, all[i]);
    }
    backend_close(bench->backend);
}

/* The place of `word` among the three formats, from 1. */
static int format_of(const char *word)
{
    static const char *const words[] = {"f32", "bf16", "int8"};
    for (int i = 0; i < 3; i++) {
        if (strcmp(word, words[i]) == 0) {
            return i + 1;
        }
    }
    (void)fprintf(stderr, "usage: bench_kernels [FORMAT [THREADS [KV_FORMAT]]]\n");
    exit(2);
}

int main(int argc, char **argv)
{
    struct bench bench = {
        .format = (enum weight_format)format_of(argc > 1 ? argv[1] : "int8"),
        .threads = argc > 2 ? (int)strtol(argv[2], NULL, 10) : 0,
        .kv_format = (enum kv_format)format_of(argc > 3 ? argv[3] : "bf16"),
    };
    struct backend_options options = {.threads = bench.threads};
    struct error error = {0};
    if (!backend_open(&options, &bench.backend, &error)) {
        (void)fprintf(stderr, "bench_kernels: %s\n", error.message);
        return 1;
    }
    bench.ops = bench.backend->ops;
    const char *threads = strrchr(bench.backend->description, ',');
    bench.threads = threads == NULL ? 1 : (int)strtol(threads + 1, NULL, 10);
    bench_open(&bench);
    printf("%s\n%-17s %6s %10s %8s %8s %10s %8s %7s\n", bench.backend->description, "", "rows",
           "us", "GOP/s", "GB/s", "oneDNN us", "GOP/s", "ratio");
    struct products products = {0};
    for (int i = 0; i < SHAPES; i++) {
        measure_shape(&bench, &shapes[i], &products);
    }
    double rest = LAYERS * measure_step(&bench, "of a prefill", 1, PREFILL);
    double decode = LAYERS * measure_step(&bench, "of 64 sequences that decode", DECODE, 1);
    printf("prefill of %d: products %.1f ms, the rest %.1f ms; oneDNN's products %.1f ms; ratio "
           "%.2f\ndecode step of %d: beside the products %.1f ms\n",
           PREFILL, 1e3 * products.own_s, 1e3 * rest, 1e3 * products.onednn_s,
           products.onednn_s / (products.own_s + rest), DECODE, 1e3 * decode);
    bench_close(&bench);
    return 0;
}
