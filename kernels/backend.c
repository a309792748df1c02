/* backend: chooses who computes. */
#include "kernels/backend.h"

#include <stdio.h>

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

static bool open_best(const struct backend_options *options, struct backend **backend_out,
                      struct error *error)
{
    struct error cause = {0};
    if (cuda_backend_open(options, backend_out, &cause)) {
        return true;
    }
    if (!cpu_backend_open(options, backend_out, error)) {
        return false;
    }
    struct backend *backend = *backend_out;
    (void)snprintf(backend->passed_over, sizeof(backend->passed_over), "%.*s",
                   (int)sizeof(backend->passed_over) - 1, cause.message);
    return true;
}

bool backend_open(const struct backend_options *options, struct backend **backend_out,
                  struct error *error)
{
    switch (options->device) {
    case BACKEND_AUTO:
        return open_best(options, backend_out, error);
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
