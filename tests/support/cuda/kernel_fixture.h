/* kernel_fixture: launches the CUDA back end's kernels in the emulation, without a driver. Ends the
 * test where the emulation finds a mistake. */
#ifndef TESTS_SUPPORT_CUDA_KERNEL_FIXTURE_H
#define TESTS_SUPPORT_CUDA_KERNEL_FIXTURE_H

#include <stdbool.h>

#include "kernels/backend.h"

/* A back end with buffers and the operations that launch kernels. Closed with its own close. */
struct backend *kernel_fixture_open(bool is_batch_invariant);

/* A buffer of bf16 from f32, and back. */
struct device_buffer *fixture_upload_bf16(struct backend *backend, const float *values,
                                          size_t count);
void fixture_download_bf16(struct backend *backend, float *values,
                           const struct device_buffer *source, size_t count);

/* As it is after a way through bf16. */
float fixture_round_bf16(float value);

#endif
