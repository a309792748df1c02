/* kernel_fixture: the back end over the emulated device. */
#include "tests/support/cuda/kernel_fixture.h"

#include <stdlib.h>
#include <string.h>

#include "kernels/dtype.h"
#include "tests/support/backend_fixture.h"
#include "tests/support/cmocka.h"
#include "tests/support/cuda/cuda_fixture.h"

struct backend *kernel_fixture_open(bool is_batch_invariant)
{
    struct backend_options options = {.device = BACKEND_CUDA,
                                      .batch_invariant = is_batch_invariant};
    struct backend *backend = NULL;
    struct error error = {0};
    if (!cuda_fixture_open_emulated(&options, &backend, &error)) {
        fail_msg("%s", error.message);
    }
    return backend;
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
