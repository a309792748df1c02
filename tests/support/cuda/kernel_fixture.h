/* kernel_fixture: the CUDA back end over the emulated device, and activations for it. A mistake
 * that the emulation finds is printed, and loses the device. */
#ifndef TESTS_SUPPORT_CUDA_KERNEL_FIXTURE_H
#define TESTS_SUPPORT_CUDA_KERNEL_FIXTURE_H

#include <stdbool.h>

#include "kernels/backend.h"

/* Ends the test on failure. */
struct backend *kernel_fixture_open(bool is_batch_invariant);

/* A buffer of bf16 from f32, and back. */
struct device_buffer *fixture_upload_bf16(struct backend *backend, const float *values,
                                          size_t count);
void fixture_download_bf16(struct backend *backend, float *values,
                           const struct device_buffer *source, size_t count);

/* As it is after a way through bf16. */
float fixture_round_bf16(float value);

#endif
