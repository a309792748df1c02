/* cpu_kernels: the inner loops that are compiled once per instruction set, as tables of functions.
 * They work on one thread's share and never allocate. Thread: any.
 */
#ifndef KERNELS_CPU_CPU_KERNELS_H
#define KERNELS_CPU_CPU_KERNELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernels/backend.h"

/* c[rows, columns] = a[rows, k] * panel + bias, where panel is [k, panel_columns], zero-padded. */
struct product_task {
    const float *a;
    size_t a_stride; // floats from row to row
    const void *panel;
    bool is_bf16;      // of the panel: bf16 bits, else f32
    const float *bias; // [columns] or NULL
    float *c;
    size_t c_stride;
    int rows;
    int k;
    int columns; // at most panel_columns
};

/* c[rows, columns] = (a * panel) * a_scales * scales + bias in exact sums of bytes. The panel is
 * [k / 4, INT8_PANEL, 4] of w + 128. */
struct int8_task {
    const int8_t *a;       // [rows, a_stride], zeros behind the inputs up to a multiple of 4
    size_t a_stride;       // bytes from row to row
    const float *a_scales; // [rows]
    const int32_t *a_sums; // [rows], of a row's bytes
    const uint8_t *panel;
    const float *scales; // [INT8_PANEL], of the outputs
    const float *bias;   // [INT8_PANEL] or NULL
    float *c;
    size_t c_stride;
    int rows;
    size_t k;    // at most INT8_INPUTS_MAX
    int columns; // at most INT8_PANEL
};

/* Inputs: 255 * 127 times as many fit into the s32 of a sum. */
enum { INT8_PANEL = 64, INT8_INPUTS_MAX = 65536 };

/* The cache of one layer: [block, kv head, key then value then scales]. Keys stand transposed in
 * groups of sixteen positions, [group, head_dim, 16], so that one query meets sixteen keys per
 * instruction; values stand in rows padded to whole vectors, [position, value_dim padded]. Bytes
 * have a scale per position, f32 [positions padded] for keys and again for values. Padding of f32
 * and bf16 stays zero. */
struct kv_layout {
    enum kv_format format;
    size_t values; // bytes from the start of a block's head
    size_t key_scales;
    size_t value_scales;
    size_t bytes; // of a block's head
};

static inline int kv_pad(int count)
{
    return (count + 15) / 16 * 16;
}

static inline size_t kv_element_bytes(enum kv_format format)
{
    return format == KV_INT8 ? 1 : format == KV_BF16 ? 2 : 4;
}

static inline int kv_value_dim(const struct attention_shape *shape)
{
    return shape->latent > 0 ? shape->latent : shape->head_dim;
}

static inline struct kv_layout kv_layout_of(const struct attention_shape *shape)
{
    size_t element = kv_element_bytes(shape->kv_format);
    size_t positions = (size_t)kv_pad(shape->block_tokens);
    size_t scales = shape->kv_format == KV_INT8 ? positions * sizeof(float) : 0;
    struct kv_layout layout = {.format = shape->kv_format};
    layout.values = positions * (size_t)shape->head_dim * element;
    layout.key_scales =
        layout.values + (size_t)shape->block_tokens * (size_t)kv_pad(kv_value_dim(shape)) * element;
    layout.value_scales = layout.key_scales + scales;
    layout.bytes = layout.value_scales + scales;
    return layout;
}

/* Some rows of one sequence through the query heads of one key-value head. */
struct attention_task {
    const float *q; // [rows, q_stride], at the first of `group` heads
    size_t q_stride;
    float *output; // [rows, output_stride], same place
    size_t output_stride;
    const int32_t *positions;   // [rows], ascending: what each sees up to
    const int32_t *block_table; // of the sequence
    const char *kv;             // the cache, at the key-value head in block 0
    size_t block_stride;        // bytes from block to block
    struct kv_layout layout;
    int rows;
    int group;
    int head_dim;  // of queries and keys
    int value_dim; // of values and outputs
    int block_tokens;
    int window; // positions that a row sees, its own included; at most WINDOW_ALL
    float scale;
    float *scratch; // attention_scratch_floats
};

struct layer_norm_task {
    const float *scale; // [width]
    const float *bias;  // [width]
    int width;
    float epsilon;
};

struct cpu_kernels {
    int panel_columns; // a multiple of LANES
    void (*product)(const struct product_task *task);
    void (*product_int8)(const struct int8_task *task);
    /* Rounds a row to bytes of -127..127 times a scale, which it gives: NaN if a value is not
     * finite. bytes_out: [count, rounded up to 16], zeros at the end. */
    float (*quantize)(const float *row, int count, int8_t *bytes_out, int32_t *sum_out);
    /* row = sums * scale * scales + bias, in place: sums are s32, the result f32. */
    void (*scale_sums)(void *row, int count, float scale, const float *scales, const float *bias);
    /* residual += delta (or not, if NULL); output = norm(residual) * scale */
    void (*add_norm)(float *residual, const float *delta, const float *scale, float *output,
                     int width, float epsilon);
    /* residual += delta (or not, if NULL); output = (residual - mean) / deviation * scale + bias */
    void (*layer_norm)(float *residual, const float *delta, const struct layer_norm_task *task,
                       float *output);
    void (*gelu)(const float *input, float *output, int width);
    void (*silu_mul)(const float *gate, const float *up, float *output, int width);
    void (*attention)(const struct attention_task *task);
    /* The largest value; false if one of them is not finite. */
    bool (*row_max)(const float *row, int count, float *max_out);
    /* output = e^((row - shift) * factor); gives their sum. */
    double (*row_exp)(const float *row, float *output, int count, float shift, float factor);
};

extern const struct cpu_kernels cpu_kernels_avx512_vnni;
extern const struct cpu_kernels cpu_kernels_avx512;
extern const struct cpu_kernels cpu_kernels_avx2;
extern const struct cpu_kernels cpu_kernels_portable;

enum {
    ATTENTION_KEYS = 64,        // keys of one softmax step, anchored at multiples of this
    ATTENTION_QUERIES_MAX = 64, // rows * group of one task
    HEAD_DIM_MAX = 640,
    WINDOW_ALL = 1 << 30, // more than any position, and differences with it stay in an int
};

static inline size_t attention_scratch_floats(int head_dim, int value_dim)
{
    // Queries, accumulators, scores, and a maximum and a vector of sums per query; the keys and
    // values of a step, where they are not f32 in the cache.
    size_t key = (size_t)head_dim + (size_t)kv_pad(value_dim);
    size_t query = key + ATTENTION_KEYS + 1 + 16;
    return (size_t)ATTENTION_QUERIES_MAX * query + (size_t)ATTENTION_KEYS * key;
}

#endif
