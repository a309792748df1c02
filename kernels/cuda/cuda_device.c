/* cuda_device: finding a device that will do, loading kernels, launching them. */
#include "kernels/cuda/cuda_device.h"

#include <stdio.h>

#include "kernels/cuda/cuda_backend.h"
#include "schemas/base/check.h"

enum { CAPABILITY_MIN = 80, SHARED_BYTES_PLAIN = 48 << 10 };

#define KERNEL_NAME(number, name) #name,
static const char *const kernel_names[] = {CUDA_KERNELS(KERNEL_NAME)};

bool cuda_failed(const struct cuda_backend *cuda, const char *what, int result, struct error *error)
{
    const char *name = NULL;
    if (cuda->driver->cuGetErrorName(result, &name) != CUDA_OK || name == NULL) {
        name = "an unknown error";
    }
    return error_set(error, ERROR_CONFIG, "no_device", NULL, "%s: %s (%d)", what, name, result);
}

static bool find_device(struct cuda_backend *cuda, struct error *error)
{
    const struct cuda_driver *driver = cuda->driver;
    int count = 0;
    int result = driver->cuInit(0);
    if (result == CUDA_OK) {
        result = driver->cuDeviceGetCount(&count);
    }
    if (result == CUDA_ERROR_NO_DEVICE || (result == CUDA_OK && count == 0)) {
        return error_set(error, ERROR_CONFIG, "no_device", NULL, "the driver finds no device");
    }
    if (result == CUDA_OK) {
        result = driver->cuDeviceGet(&cuda->device, 0); // CUDA_VISIBLE_DEVICES says which it is
    }
    return result == CUDA_OK || cuda_failed(cuda, "cannot find a device", result, error);
}

static bool read_attributes(struct cuda_backend *cuda, struct error *error)
{
    int major = 0;
    int minor = 0;
    const struct {
        int attribute;
        int *value;
    } wanted[] = {
        {CUDA_ATTRIBUTE_CAPABILITY_MAJOR, &major},
        {CUDA_ATTRIBUTE_CAPABILITY_MINOR, &minor},
        {CUDA_ATTRIBUTE_SHARED_BYTES_MAX, &cuda->shared_bytes_max},
    };
    for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++) {
        int result =
            cuda->driver->cuDeviceGetAttribute(wanted[i].value, wanted[i].attribute, cuda->device);
        if (result != CUDA_OK) {
            return cuda_failed(cuda, "cannot read the device's attributes", result, error);
        }
    }
    cuda->capability = major * 10 + minor;
    return cuda->capability >= CAPABILITY_MIN ||
           error_set(error, ERROR_CONFIG, "no_device", NULL,
                     "the device has compute capability %d.%d, must have at least %d.%d", major,
                     minor, CAPABILITY_MIN / 10, CAPABILITY_MIN % 10);
}

static bool open_stream(struct cuda_backend *cuda, struct error *error)
{
    const struct cuda_driver *driver = cuda->driver;
    int result = driver->cuDevicePrimaryCtxRetain(&cuda->context, cuda->device);
    if (result == CUDA_OK) {
        result = driver->cuCtxSetCurrent(cuda->context);
    }
    if (result == CUDA_OK) {
        result = driver->cuStreamCreate(&cuda->stream, CUDA_STREAM_NON_BLOCKING);
    }
    return result == CUDA_OK || cuda_failed(cuda, "cannot use the device", result, error);
}

static int find_function(struct cuda_backend *cuda, int kernel)
{
    int result = CUDA_ERROR_NO_BINARY_FOR_GPU;
    for (int i = 0; i < cuda->modules_count; i++) {
        result = cuda->driver->cuModuleGetFunction(&cuda->functions[kernel], cuda->modules[i],
                                                   kernel_names[kernel]);
        if (result == CUDA_OK) {
            break;
        }
    }
    return result;
}

static bool load_kernels(struct cuda_backend *cuda, const void *const *images, struct error *error)
{
    for (size_t i = 0; images[i] != NULL; i++) {
        CHECK(i < CUDA_MODULES_MAX);
        int result = cuda->driver->cuModuleLoadData(&cuda->modules[i], images[i]);
        if (result != CUDA_OK) {
            return cuda_failed(cuda, "the device does not take this program's kernels", result,
                               error);
        }
        cuda->modules_count++;
    }
    for (int kernel = 0; kernel < (int)CUDA_KERNELS_COUNT; kernel++) {
        int result = find_function(cuda, kernel);
        if (result != CUDA_OK) {
            return cuda_failed(cuda, kernel_names[kernel], result, error);
        }
        cuda->functions_shared_bytes[kernel] = SHARED_BYTES_PLAIN;
    }
    return true;
}

bool cuda_device_open(struct cuda_backend *cuda, const struct cuda_libraries *libraries,
                      struct error *error)
{
    cuda->driver = libraries->driver;
    return find_device(cuda, error) && read_attributes(cuda, error) && open_stream(cuda, error) &&
           load_kernels(cuda, libraries->images, error);
}

void cuda_device_close(struct cuda_backend *cuda)
{
    const struct cuda_driver *driver = cuda->driver;
    for (int i = 0; i < cuda->modules_count; i++) {
        (void)driver->cuModuleUnload(cuda->modules[i]);
    }
    if (cuda->stream != NULL) {
        (void)driver->cuStreamDestroy(cuda->stream);
    }
    if (cuda->context != NULL) {
        (void)driver->cuDevicePrimaryCtxRelease(cuda->device);
    }
}

/* A kernel that wants more shared memory than every device gives must ask for it once. */
static int allow_shared(struct cuda_backend *cuda, enum cuda_kernel kernel, unsigned bytes)
{
    if (bytes <= cuda->functions_shared_bytes[kernel]) {
        return CUDA_OK;
    }
    int result = cuda->driver->cuFuncSetAttribute(cuda->functions[kernel],
                                                  CUDA_FUNCTION_SHARED_BYTES_MAX, (int)bytes);
    if (result == CUDA_OK) {
        cuda->functions_shared_bytes[kernel] = bytes;
    }
    return result;
}

enum kernel_status cuda_launch(struct cuda_backend *cuda, enum cuda_kernel kernel,
                               const struct cuda_grid *grid, const void *args, size_t args_bytes)
{
    if (grid->x == 0) {
        return KERNEL_OK;
    }
    if (grid->shared_bytes > (unsigned)cuda->shared_bytes_max) {
        return KERNEL_BAD_SHAPE;
    }
    int result = allow_shared(cuda, kernel, grid->shared_bytes);
    if (result == CUDA_OK) {
        // The driver copies the struct during the call and writes nothing, whatever its type says.
        union {
            const void *in;
            void *out;
        } struct_args = {.in = args};
        void *extra[] = {(void *)CUDA_LAUNCH_BUFFER, struct_args.out, (void *)CUDA_LAUNCH_BYTES,
                         &args_bytes, NULL};
        result = cuda->driver->cuLaunchKernel(cuda->functions[kernel], grid->x,
                                              grid->y == 0 ? 1 : grid->y,
                                              grid->z == 0 ? 1 : grid->z, grid->threads, 1, 1,
                                              grid->shared_bytes, cuda->stream, NULL, extra);
    }
    return cuda_status(cuda, result);
}
