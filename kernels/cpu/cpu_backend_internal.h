/* cpu_backend_internal: what the files of the CPU backend share. */
#ifndef KERNELS_CPU_CPU_BACKEND_INTERNAL_H
#define KERNELS_CPU_CPU_BACKEND_INTERNAL_H

#include "kernels/backend.h"
#include "kernels/cpu/cpu_kernels.h"
#include "kernels/cpu/threads.h"

struct onednn;
struct onednn_weight;

struct cpu_backend {
    struct backend base; // first, so that a struct backend * is this one
    enum backend_isa isa;
    const struct cpu_kernels *kernels;
    struct threads *threads;
    struct onednn *onednn; // NULL: own matrix products

    void *quantized; // the input of a product of bytes, which cpu_linear.c cuts up
    size_t quantized_bytes;
};

struct device_buffer {
    void *memory; // to be freed; data lies in it
    void *data;   // aligned to 64
    size_t bytes;
    enum dtype dtype;   // of a table's elements; f32 in all others
    int quantized_rows; // not 0: add_norm has left so many rows of bytes, struct quantized
};

struct weight {
    int rows;                     // outputs
    int columns;                  // inputs
    enum weight_format format;    // not WEIGHTS_AUTO
    float *bias;                  // [rows, padded to whole panels] or NULL
    float *scales;                // of int8, likewise, one per output
    void *panels;                 // unless onednn has them; cpu_weight.c has the layouts
    struct onednn_weight *onednn; // or NULL
};

int cpu_panel_columns(const struct cpu_backend *cpu, const struct weight *weight);
size_t cpu_panel_bytes(const struct cpu_backend *cpu, const struct weight *weight);
int cpu_panels_count(const struct cpu_backend *cpu, const struct weight *weight);

static inline struct cpu_backend *cpu_of(struct backend *backend)
{
    return (struct cpu_backend *)backend;
}

static inline float *floats_of(struct device_buffer *buffer)
{
    return buffer->data;
}

static inline const float *const_floats_of(const struct device_buffer *buffer)
{
    return buffer->data;
}

static inline const int32_t *step_ints(const struct step_arrays *step, size_t offset)
{
    return (const int32_t *)step->buffer->data + offset;
}

/* Memory aligned to a cache line and zeroed, or NULL; free() gives it back. */
void *cpu_alloc(size_t bytes);

/* A half-open range of rows, and the thread that they are for. */
struct row_range {
    int first;
    int end;
    int thread;
};

/* Calls body(context, rows) over all rows, shared among threads where the work is worth waking
 * them: `cost` a row, in multiplications of a matrix product. A number read and written costs about
 * ELEMENT_COST of them. */
enum { ELEMENT_COST = 16 };
void cpu_each_rows(struct cpu_backend *cpu, int rows, size_t cost,
                   void (*body)(const void *context, struct row_range rows), const void *context);

/* Rows as bytes, each with a scale of its own. */
struct quantized {
    int8_t *bytes; // [rows, stride]
    size_t stride; // columns in whole vectors, zeros behind them
    float *scales; // [rows]
    int32_t *sums; // [rows], of a row's bytes
    int columns;
};

size_t cpu_quantized_bytes(int rows, int columns);
/* Cuts memory of so many bytes up. */
struct quantized cpu_quantized_at(void *memory, int rows, int columns);
/* From row `first` on. */
struct quantized cpu_quantized_from(const struct quantized *all, size_t first);
/* Rounds some rows of the input, [all rows, columns], to bytes. */
void cpu_quantize(const struct cpu_kernels *kernels, const struct quantized *quantized,
                  const float *input, struct row_range rows);

/* Some rows times some panels of an own weight of bytes. */
struct int8_product {
    const struct weight *weight;
    const struct quantized *input;
    int row; // the first
    int rows;
    int panel; // the first
    int panel_end;
    float *output; // where the first row and the first panel go
    size_t output_stride;
};

void cpu_int8_product(const struct cpu_backend *cpu, const struct int8_product *product);

/* What WEIGHTS_AUTO becomes, and why. */
enum weight_format cpu_auto_format(const struct cpu_backend *cpu, const char **reason_out);
enum kernel_status cpu_weight_format(const struct backend *backend, enum weight_format *format);
enum kernel_status cpu_kv_format(const struct backend *backend, enum weight_format weights,
                                 enum kv_format *format);
enum kernel_status cpu_weight_open(struct backend *backend, const struct weight_source *source,
                                   struct weight **weight_out);
void cpu_weight_close(struct backend *backend, struct weight *weight);
/* output[rows, weight rows] = input[rows, weight columns] * weight^T + bias, on all threads. */
enum kernel_status cpu_multiply(struct cpu_backend *cpu, const struct weight *weight,
                                const float *input, float *output, int rows);
enum kernel_status cpu_linear(struct backend *backend, const struct weight *weight,
                              const struct device_buffer *input, struct device_buffer *output,
                              int rows);

enum kernel_status cpu_mlp(struct backend *backend, const struct mlp_args *args);

enum kernel_status cpu_table_open(struct backend *backend, const struct weight_part *part,
                                  int columns, struct device_buffer **table_out);
enum kernel_status cpu_embed(struct backend *backend, const struct embed_args *args);
enum kernel_status cpu_add_norm(struct backend *backend, const struct add_norm_args *args);
enum kernel_status cpu_silu_mul(struct backend *backend, const struct device_buffer *input,
                                struct device_buffer *output, int rows, int width);
enum kernel_status cpu_gelu(struct backend *backend, const struct device_buffer *input,
                            struct device_buffer *output, int rows, int width);
enum kernel_status cpu_gather_rows(struct backend *backend, const struct gather_args *args);

size_t cpu_kv_block_bytes(const struct backend *backend, const struct attention_shape *shape);
enum kernel_status cpu_rope_angles(struct backend *backend, const struct rope_angles_args *args);
enum kernel_status cpu_rope_kv_write(struct backend *backend,
                                     const struct rope_kv_write_args *args);
/* The block of a layer's cache that holds the position of the step's row. */
char *cpu_kv_block(const struct step_arrays *step, const struct attention_shape *shape,
                   struct device_buffer *kv, int row);

/* What putting keys and values into a layer's cache takes, made once for a step. */
struct kv_target {
    const struct cpu_kernels *kernels;
    const struct attention_shape *shape;
    struct kv_layout layout;
};

static inline struct kv_target cpu_kv_target(const struct cpu_backend *cpu,
                                             const struct attention_shape *shape)
{
    return (struct kv_target){cpu->kernels, shape, kv_layout_of(shape)};
}

/* Puts one head's key and value where its block has the slot. */
void cpu_kv_put(const struct kv_target *target, const float *key, const float *value, char *block,
                int slot);

/* Turns the pairs of source, [count], which target may be: i and i + count / 2, or neighbours. */
static inline void cpu_rotate(const float *source, const float *rotations, float *target, int count,
                              bool is_interleaved)
{
    int half = count / 2;
    int step = is_interleaved ? 2 : 1;
    int apart = is_interleaved ? 1 : half;
    for (int i = 0; i < half; i++) {
        float x = source[i * step];
        float y = source[i * step + apart];
        float c = rotations[2 * i];
        float s = rotations[2 * i + 1];
        target[i * step] = x * c - y * s;
        target[i * step + apart] = y * c + x * s;
    }
}

enum kernel_status cpu_head_linear(struct backend *backend, const struct head_linear_args *args);
enum kernel_status cpu_latent_write(struct backend *backend, const struct latent_write_args *args);
enum kernel_status cpu_attention(struct backend *backend, const struct attention_args *args);

enum kernel_status cpu_expert_route(struct backend *backend, const struct expert_route_args *args);
enum kernel_status cpu_expert_linear(struct backend *backend,
                                     const struct expert_linear_args *args);
enum kernel_status cpu_expert_combine(struct backend *backend,
                                      const struct expert_combine_args *args);

enum kernel_status cpu_sample(struct backend *backend, const struct sample_args *args);

#endif
