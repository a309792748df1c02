/* cuda_backend_internal: what the files of the CUDA back end share.
 *
 * Every operation only puts work on `stream`, in whose order it is done. Activations are bf16.
 */
#ifndef KERNELS_CUDA_CUDA_BACKEND_INTERNAL_H
#define KERNELS_CUDA_CUDA_BACKEND_INTERNAL_H

#include "kernels/backend.h"
#include "kernels/cuda/driver.h"
#include "kernels/cuda/kernels.h"

struct cublas;
struct cuda_memory;
struct cuda_upload;

struct cuda_backend {
    struct backend base; // first, so that a struct backend * is this one
    const struct cuda_driver *driver;
    int device;
    int capability; // 80, 90
    int multiprocessors;
    int shared_bytes_max; // that a block may ask for
    bool is_lost;         // what was on the device is gone, and every call fails
    bool is_batch_invariant;

    struct cuda_context *context;
    struct cuda_module *module;
    struct cuda_function *functions[CUDA_KERNELS_COUNT];
    struct cuda_stream *stream;
    struct cublas *cublas;
    struct cuda_memory *memory; // of which all buffers are
    struct cuda_upload *upload;
    struct device_buffer *scratch; // cuda_scratch
};

struct device_buffer {
    uint64_t address; // a multiple of 256
    size_t bytes;
};

struct weight {
    int rows;                        // outputs
    int columns;                     // inputs
    enum weight_format format;       // not WEIGHTS_AUTO
    struct device_buffer *data;      // [rows, columns], bf16 or E4M3
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
 * next call on the stream. */
enum kernel_status cuda_scratch(struct cuda_backend *cuda, size_t bytes, void **memory_out);

/* Copies `bytes` of the host to device memory that the next operations may read: at least until
 * the next 64 uploads. `source` is free when it returns. */
enum kernel_status cuda_upload(struct cuda_backend *cuda, const void *source, size_t bytes,
                               void **memory_out);

#endif
