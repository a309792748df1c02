/* cuda_backend: the backend that computes on an NVIDIA GPU, in bf16 or fp8. */
#ifndef KERNELS_CUDA_CUDA_BACKEND_H
#define KERNELS_CUDA_CUDA_BACKEND_H

#include "kernels/backend.h"

struct cuda_driver;
struct cublas_library;

/* Where its calls go, and its kernels. */
struct cuda_libraries {
    const struct cuda_driver *driver;
    const struct cublas_library *cublas;
    const void *const *images; // of compiled kernels, ends with NULL
    bool is_emulated;          // device memory is the host's, watched by a sanitizer
};

/* Opens what this program and machine have. The error says what is missing: kernels in the program,
 * the driver, a device, or cuBLAS. */
MUST_CHECK bool cuda_backend_open(const struct backend_options *options,
                                  struct backend **backend_out, struct error *error);
/* `libraries` lives as long as the backend. */
MUST_CHECK bool cuda_backend_open_with(const struct cuda_libraries *libraries,
                                       const struct backend_options *options,
                                       struct backend **backend_out, struct error *error);

#endif
