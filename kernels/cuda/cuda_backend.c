/* cuda_backend: opening, memory and the table of operations. Operations only put work on the
 * stream; copy_out and synchronize wait for it.
 */
#include "kernels/cuda/cuda_backend.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/cuda/cublas.h"
#include "kernels/cuda/cuda_backend_internal.h"
#include "kernels/cuda/cuda_device.h"
#include "kernels/cuda/cuda_memory.h"
#include "kernels/cuda/cuda_upload.h"
#include "kernels/cuda/fatbin.h"
#include "kernels/cuda/product.h"
#include "schemas/base/check.h"

_Static_assert((int)CUDA_UPLOADS_BYTES_MAX <= (int)UPLOAD_RING_BYTES - 2 * (int)UPLOAD_BYTES_MAX,
               "what an operation uploads stays until it runs");

static const double utilization_default = 0.9;

enum kernel_status cuda_status(struct cuda_backend *cuda, int result)
{
    if (result == CUDA_OK) {
        return cuda->is_lost ? KERNEL_DEVICE_LOST : KERNEL_OK;
    }
    if (result == CUDA_ERROR_OUT_OF_MEMORY) {
        return KERNEL_OUT_OF_MEMORY;
    }
    if (result == CUDA_ERROR_INVALID_VALUE) {
        return KERNEL_BAD_SHAPE; // a launch that was refused leaves the device as it was
    }
    // Most errors of kernels show in a later call, and no call succeeds after them.
    cuda->is_lost = true;
    return KERNEL_DEVICE_LOST;
}

static void cuda_buffer_close(struct backend *backend, struct device_buffer *buffer)
{
    if (buffer == NULL) {
        return;
    }
    struct cuda_backend *cuda = cuda_of(backend);
    // Work under way may still use it, and the driver does not know: the arena is its allocation.
    (void)cuda_status(cuda, cuda->driver->cuStreamSynchronize(cuda->stream));
    cuda_memory_give(cuda->memory, buffer->address, buffer->bytes);
    free(buffer);
}

static void cuda_close(struct backend *backend)
{
    struct cuda_backend *cuda = cuda_of(backend);
    if (cuda->stream != NULL) {
        (void)cuda->driver->cuStreamSynchronize(cuda->stream);
    }
    products_close(cuda->products);
    cuda_upload_close(cuda->upload);
    struct device_buffer *const own[] = {cuda->scratch, cuda->workspace, cuda->upload_ring};
    for (size_t i = 0; i < sizeof(own) / sizeof(own[0]); i++) {
        cuda_buffer_close(backend, own[i]);
    }
    if (cuda->read_back != NULL) {
        (void)cuda->driver->cuMemFreeHost(cuda->read_back);
    }
    cuda_memory_close(cuda->memory);
    cuda_device_close(cuda);
    free(cuda);
}

/* Not zeroed. */
static enum kernel_status take_buffer(struct cuda_backend *cuda, size_t bytes,
                                      struct device_buffer **buffer_out)
{
    struct device_buffer *buffer = malloc(sizeof(*buffer));
    if (buffer == NULL) {
        return KERNEL_OUT_OF_MEMORY;
    }
    buffer->bytes = bytes;
    if (!cuda_memory_take(cuda->memory, bytes, &buffer->address)) {
        free(buffer);
        return KERNEL_OUT_OF_MEMORY;
    }
    *buffer_out = buffer;
    return KERNEL_OK;
}

static enum kernel_status cuda_buffer_open(struct backend *backend, size_t bytes,
                                           struct device_buffer **buffer_out)
{
    struct cuda_backend *cuda = cuda_of(backend);
    struct device_buffer *buffer = NULL;
    enum kernel_status status = take_buffer(cuda, bytes, &buffer);
    if (status != KERNEL_OK || bytes == 0) {
        *buffer_out = buffer;
        return status;
    }
    status =
        cuda_status(cuda, cuda->driver->cuMemsetD8Async(buffer->address, 0, bytes, cuda->stream));
    if (status != KERNEL_OK) {
        cuda_buffer_close(backend, buffer);
        return status;
    }
    *buffer_out = buffer;
    return KERNEL_OK;
}

static bool lies_inside(const struct device_buffer *buffer, size_t offset, size_t bytes)
{
    return offset <= buffer->bytes && bytes <= buffer->bytes - offset;
}

static enum kernel_status cuda_copy_in(struct backend *backend, struct device_buffer *target,
                                       size_t offset, const void *source, size_t bytes)
{
    struct cuda_backend *cuda = cuda_of(backend);
    if (!lies_inside(target, offset, bytes)) {
        return KERNEL_BAD_SHAPE;
    }
    return cuda_status(cuda,
                       cuda_upload_copy(cuda->upload, target->address + offset, source, bytes));
}

static enum kernel_status cuda_synchronize(struct backend *backend)
{
    struct cuda_backend *cuda = cuda_of(backend);
    return cuda_status(cuda, cuda->driver->cuStreamSynchronize(cuda->stream));
}

/* Through pinned memory, in pieces of it. */
static enum kernel_status cuda_copy_out(struct backend *backend, void *target,
                                        const struct device_buffer *source, size_t offset,
                                        size_t bytes)
{
    struct cuda_backend *cuda = cuda_of(backend);
    if (!lies_inside(source, offset, bytes)) {
        return KERNEL_BAD_SHAPE;
    }
    for (size_t done = 0; done < bytes;) {
        size_t part = bytes - done < CUDA_READ_BACK_BYTES ? bytes - done : CUDA_READ_BACK_BYTES;
        enum kernel_status status = cuda_status(
            cuda, cuda->driver->cuMemcpyDtoHAsync(cuda->read_back, source->address + offset + done,
                                                  part, cuda->stream));
        if (status == KERNEL_OK) {
            status = cuda_synchronize(backend);
        }
        if (status != KERNEL_OK) {
            return status;
        }
        memcpy((char *)target + done, cuda->read_back, part);
        done += part;
    }
    return KERNEL_OK;
}

static size_t cuda_memory_left_for(const struct backend *backend)
{
    const struct cuda_backend *cuda = (const struct cuda_backend *)backend;
    size_t left = cuda_memory_left(cuda->memory);
    size_t reserve = cuda_memory_bytes(cuda->memory) / 32; // for scratch and index arrays that grow
    return left > reserve ? left - reserve : 1;
}

enum kernel_status cuda_scratch(struct cuda_backend *cuda, size_t bytes, void **memory_out)
{
    // An emulated device gives new memory each time, of the exact size, which begins as NaN.
    if (cuda->scratch == NULL || cuda->scratch->bytes < bytes || cuda->is_emulated) {
        cuda_buffer_close(&cuda->base, cuda->scratch);
        cuda->scratch = NULL;
        enum kernel_status status = take_buffer(cuda, bytes, &cuda->scratch);
        if (status != KERNEL_OK) {
            return status;
        }
    }
    *memory_out = cuda_pointer(cuda->scratch);
    return KERNEL_OK;
}

enum kernel_status cuda_upload(struct cuda_backend *cuda, const void *source, size_t bytes,
                               void **memory_out)
{
    uint64_t address = 0;
    if (bytes > UPLOAD_BYTES_MAX) {
        return KERNEL_BAD_SHAPE;
    }
    int result = cuda_upload_put(cuda->upload, source, bytes, &address);
    *memory_out = (void *)(uintptr_t)address;
    return cuda_status(cuda, result);
}

static const struct backend_operations cuda_operations = {
    .close = cuda_close,
    .buffer_open = cuda_buffer_open,
    .buffer_close = cuda_buffer_close,
    .copy_in = cuda_copy_in,
    .copy_out = cuda_copy_out,
    .synchronize = cuda_synchronize,
    .memory_left = cuda_memory_left_for,
    .weight_format = cuda_weight_format,
    .kv_format = cuda_kv_format,
    .weight_open = cuda_weight_open,
    .weight_close = cuda_weight_close,
    .table_open = cuda_table_open,
    .kv_block_bytes = cuda_kv_block_bytes,
    .embed = cuda_embed,
    .add_norm = cuda_add_norm,
    .linear = cuda_linear,
    .logits = cuda_logits,
    .rope_angles = cuda_rope_angles,
    .rope_kv_write = cuda_rope_kv_write,
    .attention = cuda_attention,
    .head_linear = cuda_head_linear,
    .silu_mul = cuda_silu_mul,
    .gelu = cuda_gelu,
    .mlp = cuda_mlp,
    .gather_rows = cuda_gather_rows,
    .latent_write = cuda_latent_write,
    .expert_route = cuda_expert_route,
    .expert_linear = cuda_expert_linear,
    .expert_combine = cuda_expert_combine,
    .sample = cuda_sample,
};

/* The share of the device's memory that is this program's, less what others already have. */
static bool open_memory(struct cuda_backend *cuda, const struct backend_options *options,
                        struct error *error)
{
    size_t free_bytes = 0;
    size_t total_bytes = 0;
    double share =
        options->memory_utilization == 0 ? utilization_default : options->memory_utilization;
    int result = cuda->driver->cuMemGetInfo(&free_bytes, &total_bytes);
    if (result != CUDA_OK) {
        return cuda_failed(cuda, "cannot read the device's memory", result, error);
    }
    size_t used = total_bytes - free_bytes;
    size_t wanted = (size_t)((double)total_bytes * share);
    size_t least = (size_t)2 * (PRODUCT_WORKSPACE_BYTES + UPLOAD_RING_BYTES);
    size_t bytes = wanted > used ? wanted - used : 0;
    if (bytes >= least) {
        result = cuda_memory_open(cuda->driver, bytes, cuda->is_emulated, &cuda->memory);
    }
    if (bytes < least || result == CUDA_ERROR_OUT_OF_MEMORY) {
        return error_set(error, ERROR_CONFIG, "out_of_memory", NULL,
                         "the device has %zu MiB of memory, of which %zu are in use: "
                         "a share of %g leaves too little; stop other programs or change it",
                         total_bytes >> 20, used >> 20, share);
    }
    return result == CUDA_OK || cuda_failed(cuda, "cannot obtain memory", result, error);
}

static bool open_transfers(struct cuda_backend *cuda, struct error *error)
{
    enum kernel_status status = take_buffer(cuda, UPLOAD_RING_BYTES, &cuda->upload_ring);
    if (status == KERNEL_OK) {
        status = take_buffer(cuda, PRODUCT_WORKSPACE_BYTES, &cuda->workspace);
    }
    CHECK(status == KERNEL_OK || status == KERNEL_OUT_OF_MEMORY);
    int result = status != KERNEL_OK ? (int)CUDA_ERROR_OUT_OF_MEMORY
                                     : cuda_upload_open(cuda->driver, cuda->stream,
                                                        cuda->upload_ring->address, &cuda->upload);
    if (result == CUDA_OK) {
        result = cuda->driver->cuMemAllocHost(&cuda->read_back, CUDA_READ_BACK_BYTES);
    }
    return result == CUDA_OK || cuda_failed(cuda, "cannot obtain memory", result, error);
}

static bool open_products(struct cuda_backend *cuda, const struct cublas_library *library,
                          struct error *error)
{
    int result = products_open(library, cuda_pointer(cuda->workspace), &cuda->products);
    return result == CUBLAS_OK || error_set(error, ERROR_CONFIG, "no_device", NULL,
                                            "cuBLAS cannot use the device: status %d", result);
}

static void describe(struct cuda_backend *cuda, const struct cublas_library *library)
{
    enum { NAME_BYTES = 32 };
    char name[NAME_BYTES] = "";
    int version = 0;
    (void)cuda->driver->cuDeviceGetName(name, (int)sizeof(name), cuda->device);
    (void)cuda->driver->cuDriverGetVersion(&version);
    name[NAME_BYTES - 1] = '\0';
    (void)snprintf(cuda->base.description, sizeof(cuda->base.description),
                   "%s, cuda %d.%d, cublas %zu", name, version / 1000, version % 1000 / 10,
                   library->GetVersion());
}

bool cuda_backend_open_with(const struct cuda_libraries *libraries,
                            const struct backend_options *options, struct backend **backend_out,
                            struct error *error)
{
    struct cuda_backend *cuda = calloc(1, sizeof(*cuda));
    if (cuda == NULL) {
        return error_set(error, ERROR_FATAL, NULL, NULL, "out of memory for the cuda backend");
    }
    cuda->base.ops = &cuda_operations;
    cuda->base.activation_bytes = sizeof(uint16_t);
    cuda->base.device = BACKEND_CUDA;
    cuda->is_batch_invariant = options->batch_invariant;
    cuda->is_emulated = libraries->is_emulated;
    if (!cuda_device_open(cuda, libraries, error) || !open_memory(cuda, options, error) ||
        !open_transfers(cuda, error) || !open_products(cuda, libraries->cublas, error)) {
        cuda_close(&cuda->base);
        return false;
    }
    describe(cuda, libraries->cublas);
    *backend_out = &cuda->base;
    return true;
}

bool cuda_backend_open(const struct backend_options *options, struct backend **backend_out,
                       struct error *error)
{
    static struct cuda_libraries libraries; // of the process
    libraries.images = fatbin_images();
    if (libraries.images == NULL) {
        return error_set(error, ERROR_CONFIG, "no_device", NULL,
                         "this program was built without CUDA kernels");
    }
    return cuda_driver_load(&libraries.driver, error) &&
           cublas_library_load(&libraries.cublas, error) &&
           cuda_backend_open_with(&libraries, options, backend_out, error);
}
