/* cuda_backend_internal: what the files of the CUDA back end share.
 *
 * Every operation only puts work on `stream`, in whose order it is done. Activations are bf16, and
 * so are weights that are not E4M3, whatever format was asked for: f32 for a single weight means
 * "not rounded further than bf16", and its product with f32 output loses nothing else.
 */
#ifndef KERNELS_CUDA_CUDA_BACKEND_INTERNAL_H
#define KERNELS_CUDA_CUDA_BACKEND_INTERNAL_H

#include "kernels/backend.h"
#include "kernels/cuda/driver.h"
#include "kernels/cuda/kernels.h"

struct cuda_memory;
struct cuda_upload;
struct products;

enum {
    CUDA_MODULES_MAX = 16,
    CUDA_READ_BACK_BYTES = 1 << 20,
};

struct cuda_backend {
    struct backend base; // first, so that a struct backend * is this one
    const struct cuda_driver *driver;
    int device;
    int capability;       // 80, 90
    int shared_bytes_max; // that a block may ask for
    bool is_lost;         // what was on the device is gone, and every call fails
    bool is_batch_invariant;
    bool is_emulated; // device memory is the host's, watched by a sanitizer

    struct cuda_context *context;
    struct cuda_stream *stream;
    struct cuda_module *modules[CUDA_MODULES_MAX];
    int modules_count;
    struct cuda_function *functions[CUDA_KERNELS_COUNT];
    unsigned functions_shared_bytes[CUDA_KERNELS_COUNT]; // that each may be launched with

    struct cuda_memory *memory; // of which all buffers are
    struct device_buffer *upload_ring;
    struct cuda_upload *upload;
    struct device_buffer *workspace; // of products
    struct products *products;
    struct device_buffer *scratch; // cuda_scratch
    void *read_back;               // [CUDA_READ_BACK_BYTES] pinned
};

struct device_buffer {
    uint64_t address; // a multiple of 256
    size_t bytes;
};

struct weight {
    int rows;                        // outputs
    int columns;                     // inputs
    enum weight_format format;       // BF16 or FP8
    struct device_buffer *data;      // [rows, columns] bf16 or E4M3
    struct device_buffer *scales;    // [rows] f32, of E4M3, or NULL
    struct device_buffer *bias;      // [rows] f32, or NULL
    struct device_buffer *bias_bf16; // the same, or NULL
};

static inline struct cuda_backend *cuda_of(struct backend *backend)
{
    return (struct cuda_backend *)backend;
}

/* Pointers for kernels; not for the host to follow. */
static inline void *cuda_pointer(const struct device_buffer *buffer)
{
    return buffer == NULL ? NULL : (void *)(uintptr_t)buffer->address;
}

static inline const int32_t *cuda_step_ints(const struct step_arrays *step, size_t offset)
{
    return (const int32_t *)cuda_pointer(step->buffer) + offset;
}

/* What a call of the driver's result means. Device lost stays so. */
enum kernel_status cuda_status(struct cuda_backend *cuda, int result);

struct cuda_grid {
    unsigned x;            // blocks
    unsigned y;            // 0: 1
    unsigned z;            // 0: 1
    unsigned threads;      // of a block, a multiple of 32
    unsigned shared_bytes; // dynamic, of a block
};

/* Puts a kernel on the stream. `args` is its struct, copied during the call. No blocks: nothing. */
enum kernel_status cuda_launch(struct cuda_backend *cuda, enum cuda_kernel kernel,
                               const struct cuda_grid *grid, const void *args, size_t args_bytes);

/* Memory for what one operation passes between its kernels: [bytes], not zeroed, valid until the
 * next cuda_scratch. */
enum kernel_status cuda_scratch(struct cuda_backend *cuda, size_t bytes, void **memory_out);

/* Copies `bytes`, at most UPLOAD_BYTES_MAX, of the host to device memory that the next operations
 * may read until CUDA_UPLOADS_BYTES_MAX more have been uploaded. `source` is free when it returns.
 */
enum { CUDA_UPLOADS_BYTES_MAX = 24 << 20 };
enum kernel_status cuda_upload(struct cuda_backend *cuda, const void *source, size_t bytes,
                               void **memory_out);

size_t cuda_kv_block_bytes(const struct backend *backend, const struct attention_shape *shape);
enum kernel_status cuda_rope_kv_write(struct backend *backend,
                                      const struct rope_kv_write_args *args);
enum kernel_status cuda_attention(struct backend *backend, const struct attention_args *args);

enum kernel_status cuda_latent_write(struct backend *backend, const struct latent_write_args *args);
enum kernel_status cuda_expert_route(struct backend *backend, const struct expert_route_args *args);
enum kernel_status cuda_expert_linear(struct backend *backend,
                                      const struct expert_linear_args *args);
enum kernel_status cuda_expert_combine(struct backend *backend,
                                       const struct expert_combine_args *args);
enum kernel_status cuda_sample(struct backend *backend, const struct sample_args *args);

/* One layer's cache, as kernels find their way in it; NO_DEVICE: not in this format. */
enum kernel_status cuda_kv_view(const struct step_arrays *step, const struct attention_shape *shape,
                                const struct device_buffer *kv, struct kernel_kv *view_out);

enum kernel_status cuda_weight_format(const struct backend *backend, enum weight_format *format);
enum kernel_status cuda_kv_format(const struct backend *backend, enum weight_format weights,
                                  enum kv_format *format);
enum kernel_status cuda_weight_open(struct backend *backend, const struct weight_source *source,
                                    struct weight **weight_out);
void cuda_weight_close(struct backend *backend, struct weight *weight);
enum kernel_status cuda_table_open(struct backend *backend, const struct weight_part *part,
                                   int columns, struct device_buffer **table_out);

enum kernel_status cuda_linear(struct backend *backend, const struct weight *weight,
                               const struct device_buffer *input, struct device_buffer *output,
                               int rows);
enum kernel_status cuda_logits(struct backend *backend, const struct weight *weight,
                               const struct device_buffer *input, struct device_buffer *output,
                               int rows);
enum kernel_status cuda_head_linear(struct backend *backend, const struct head_linear_args *args);
enum kernel_status cuda_mlp(struct backend *backend, const struct mlp_args *args);

enum kernel_status cuda_embed(struct backend *backend, const struct embed_args *args);
enum kernel_status cuda_add_norm(struct backend *backend, const struct add_norm_args *args);
enum kernel_status cuda_rope_angles(struct backend *backend, const struct rope_angles_args *args);
enum kernel_status cuda_silu_mul(struct backend *backend, const struct device_buffer *input,
                                 struct device_buffer *output, int rows, int width);
enum kernel_status cuda_gelu(struct backend *backend, const struct device_buffer *input,
                             struct device_buffer *output, int rows, int width);
enum kernel_status cuda_gather_rows(struct backend *backend, const struct gather_args *args);
/* The grid of a kernel of rows.cu. */
struct cuda_grid cuda_rows_grid(int rows, int width);

#endif
