/* backend: chooses who computes. */
#include "kernels/backend.h"

#include "kernels/cpu/cpu_backend.h"
#include "kernels/cuda/cuda_backend.h"

const char *kernel_status_text(enum kernel_status status)
{
    switch (status) {
    case KERNEL_OK:
        return "ok";
    case KERNEL_NO_DEVICE:
        return "the device cannot do this";
    case KERNEL_OUT_OF_MEMORY:
        return "out of memory";
    case KERNEL_BAD_SHAPE:
        return "sizes do not fit together";
    case KERNEL_DEVICE_LOST:
        return "the device was lost";
    }
    return "unknown status";
}

bool backend_open(const struct backend_options *options, struct backend **backend_out,
                  struct error *error)
{
    switch (options->device) {
    case BACKEND_AUTO:
    case BACKEND_CPU:
        return cpu_backend_open(options, backend_out, error);
    case BACKEND_CUDA:
        return cuda_backend_open(options, backend_out, error);
    }
    return error_set(error, ERROR_CONFIG, "invalid_value", "device", "device %d does not exist",
                     (int)options->device);
}

void backend_close(struct backend *backend)
{
    if (backend != NULL) {
        backend->ops->close(backend);
    }
}
