/* cuda_device: a device with a context, a stream and the kernels, and nothing else yet. */
#ifndef KERNELS_CUDA_CUDA_DEVICE_H
#define KERNELS_CUDA_CUDA_DEVICE_H

#include "kernels/cuda/cuda_backend_internal.h"

struct cuda_libraries;

/* Fills cuda's device, context, stream and functions. cuda_device_close also after a failure. */
MUST_CHECK bool cuda_device_open(struct cuda_backend *cuda, const struct cuda_libraries *libraries,
                                 struct error *error);
void cuda_device_close(struct cuda_backend *cuda);

/* Sets an error that names what failed and the driver's word for why; false. */
bool cuda_failed(const struct cuda_backend *cuda, const char *what, int result,
                 struct error *error);

#endif
