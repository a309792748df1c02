/* kernel_fixture: device memory is the host's, and a launch is emulation_launch. */
#include "tests/support/cuda/kernel_fixture.h"

#include <stdlib.h>
#include <string.h>

#include "kernels/cuda/cuda_operations.h"
#include "tests/support/backend_fixture.h"
#include "tests/support/cmocka.h"
#include "tests/support/cuda/emulation.h"

#define KERNELS(X) CUDA_ATTENTION_KERNELS(X) CUDA_EXPERT_KERNELS(X) CUDA_SAMPLE_KERNELS(X)

#define DECLARE(number, name) void name(const void *args);
KERNELS(DECLARE)

static void (*const kernels[CUDA_KERNELS_COUNT])(const void *args) = {
#define ENTRY(number, name) [CUDA_##number] = name,
    KERNELS(ENTRY)};

enum { UPLOADS_KEPT = 256 };
static struct device_buffer *uploads[UPLOADS_KEPT]; // the last ones
static size_t uploads_count;

static enum kernel_status buffer_open(struct backend *backend, size_t bytes,
                                      struct device_buffer **buffer_out)
{
    (void)backend;
    struct device_buffer *buffer = malloc(sizeof(*buffer));
    void *memory = NULL;
    assert_non_null(buffer);
    assert_int_equal(posix_memalign(&memory, 256, bytes > 0 ? bytes : 1), 0);
    memset(memory, 0, bytes);
    *buffer = (struct device_buffer){.address = (uint64_t)(uintptr_t)memory, .bytes = bytes};
    *buffer_out = buffer;
    return KERNEL_OK;
}

static void buffer_close(struct backend *backend, struct device_buffer *buffer)
{
    (void)backend;
    if (buffer != NULL) {
        free(cuda_pointer(buffer));
        free(buffer);
    }
}

static enum kernel_status copy_in(struct backend *backend, struct device_buffer *target,
                                  size_t offset, const void *source, size_t bytes)
{
    (void)backend;
    assert_true(offset + bytes <= target->bytes);
    memcpy((char *)cuda_pointer(target) + offset, source, bytes);
    return KERNEL_OK;
}

static enum kernel_status copy_out(struct backend *backend, void *target,
                                   const struct device_buffer *source, size_t offset, size_t bytes)
{
    (void)backend;
    assert_true(offset + bytes <= source->bytes);
    memcpy(target, (char *)cuda_pointer(source) + offset, bytes);
    return KERNEL_OK;
}

enum kernel_status cuda_launch(struct cuda_backend *cuda, enum cuda_kernel kernel,
                               const struct cuda_grid *grid, const void *args, size_t args_bytes)
{
    (void)cuda;
    void *copy = NULL; // of the exact size, so that the sanitizer sees a kernel with another struct
    assert_int_equal(posix_memalign(&copy, 64, args_bytes), 0);
    memcpy(copy, args, args_bytes);
    struct emulation_dim blocks = {grid->x, grid->y > 0 ? grid->y : 1, grid->z > 0 ? grid->z : 1};
    struct emulation_dim threads = {grid->threads, 1, 1};
    bool is_sound = grid->x == 0 ||
                    emulation_launch(kernels[kernel], blocks, threads, grid->shared_bytes, copy);
    free(copy);
    if (!is_sound) {
        fail_msg("%s", emulation_message());
    }
    return KERNEL_OK;
}

enum kernel_status cuda_scratch(struct cuda_backend *cuda, size_t bytes, void **memory_out)
{
    buffer_close(&cuda->base, cuda->scratch);
    enum kernel_status status = buffer_open(&cuda->base, bytes, &cuda->scratch);
    *memory_out = cuda_pointer(cuda->scratch);
    memset(*memory_out, 0xff, bytes); // NaN: nothing may be read that was not written
    return status;
}

enum kernel_status cuda_upload(struct cuda_backend *cuda, const void *source, size_t bytes,
                               void **memory_out)
{
    struct device_buffer **upload = &uploads[uploads_count++ % UPLOADS_KEPT];
    buffer_close(&cuda->base, *upload);
    enum kernel_status status = buffer_open(&cuda->base, bytes, upload);
    *memory_out = cuda_pointer(*upload);
    memcpy(*memory_out, source, bytes);
    return status;
}

static void fixture_close(struct backend *backend)
{
    buffer_close(backend, cuda_of(backend)->scratch);
    for (size_t i = 0; i < UPLOADS_KEPT; i++) {
        buffer_close(backend, uploads[i]);
        uploads[i] = NULL;
    }
    free(cuda_of(backend));
}

struct backend *kernel_fixture_open(bool is_batch_invariant)
{
    static const struct backend_operations operations = {
        .close = fixture_close,
        .buffer_open = buffer_open,
        .buffer_close = buffer_close,
        .copy_in = copy_in,
        .copy_out = copy_out,
        .kv_block_bytes = cuda_kv_block_bytes,
        .rope_kv_write = cuda_rope_kv_write,
        .attention = cuda_attention,
        .latent_write = cuda_latent_write,
        .expert_route = cuda_expert_route,
        .expert_linear = cuda_expert_linear,
        .expert_combine = cuda_expert_combine,
        .sample = cuda_sample,
    };
    struct cuda_backend *cuda = calloc(1, sizeof(*cuda));
    assert_non_null(cuda);
    cuda->base.ops = &operations;
    cuda->base.activation_bytes = 2;
    cuda->is_batch_invariant = is_batch_invariant;
    return &cuda->base;
}

float fixture_round_bf16(float value)
{
    uint32_t bits = (uint32_t)dtype_f32_to_bf16(value) << 16;
    memcpy(&value, &bits, sizeof(value));
    return value;
}

struct device_buffer *fixture_upload_bf16(struct backend *backend, const float *values,
                                          size_t count)
{
    uint16_t *bits = malloc((count > 0 ? count : 1) * sizeof(*bits));
    assert_non_null(bits);
    for (size_t i = 0; i < count; i++) {
        bits[i] = dtype_f32_to_bf16(values[i]);
    }
    struct device_buffer *buffer = fixture_upload(backend, bits, count * sizeof(*bits));
    free(bits);
    return buffer;
}

void fixture_download_bf16(struct backend *backend, float *values,
                           const struct device_buffer *source, size_t count)
{
    uint16_t *bits = malloc((count > 0 ? count : 1) * sizeof(*bits));
    assert_non_null(bits);
    fixture_download(backend, bits, source, count * sizeof(*bits));
    for (size_t i = 0; i < count; i++) {
        uint32_t word = (uint32_t)bits[i] << 16;
        memcpy(&values[i], &word, sizeof(word));
    }
    free(bits);
}
