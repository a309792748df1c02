/* driver: the functions of the CUDA driver that the back end needs, as a table: that of
 * libcuda.so.1, opened when the program runs, or one that a test has filled.
 *
 * What is declared here is NVIDIA's stable binary interface as cuda.h of CUDA 13.0 has it, so that
 * no CUDA header is needed. Handles are opaque pointers.
 */
#ifndef KERNELS_CUDA_DRIVER_H
#define KERNELS_CUDA_DRIVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "schemas/base/error.h"

/* CUresult. Only what is told apart has a name. */
enum cuda_result {
    CUDA_OK = 0,
    CUDA_ERROR_INVALID_VALUE = 1,
    CUDA_ERROR_OUT_OF_MEMORY = 2,
    CUDA_ERROR_NO_DEVICE = 100,
    CUDA_ERROR_NO_BINARY_FOR_GPU = 209,
};

enum {
    CUDA_ATTRIBUTE_CAPABILITY_MAJOR = 75,
    CUDA_ATTRIBUTE_CAPABILITY_MINOR = 76,
    CUDA_ATTRIBUTE_SHARED_BYTES_MAX = 97, // of a block, when a kernel asks for it
    CUDA_FUNCTION_SHARED_BYTES_MAX = 8,
    CUDA_STREAM_NON_BLOCKING = 1,
    CUDA_EVENT_WITHOUT_TIME = 2,
};

/* What stands before each value in cuLaunchKernel's `extra`, which ends with NULL. */
#define CUDA_LAUNCH_BUFFER 1 // arguments as they lie in memory
#define CUDA_LAUNCH_BYTES 2  // a pointer to their size_t

struct cuda_context;
struct cuda_module;
struct cuda_function;
struct cuda_stream;
struct cuda_event;

/* The members are named as the functions are, less their version. Addresses of device memory are
 * CUdeviceptr: 64 bits. */
struct cuda_driver {
    int (*cuInit)(unsigned flags);
    int (*cuDriverGetVersion)(int *version);
    int (*cuDeviceGetCount)(int *count);
    int (*cuDeviceGet)(int *device, int ordinal);
    int (*cuDeviceGetName)(char *name, int bytes, int device);
    int (*cuDeviceGetAttribute)(int *value, int attribute, int device);
    int (*cuDevicePrimaryCtxRetain)(struct cuda_context **context, int device);
    int (*cuDevicePrimaryCtxRelease)(int device);
    int (*cuCtxSetCurrent)(struct cuda_context *context);
    int (*cuGetErrorName)(int result, const char **name);

    int (*cuMemGetInfo)(size_t *free_bytes, size_t *total_bytes);
    int (*cuMemAlloc)(uint64_t *address, size_t bytes);
    int (*cuMemFree)(uint64_t address);
    int (*cuMemAllocHost)(void **memory, size_t bytes);
    int (*cuMemFreeHost)(void *memory);
    int (*cuMemcpyHtoDAsync)(uint64_t target, const void *source, size_t bytes,
                             struct cuda_stream *stream);
    int (*cuMemcpyDtoHAsync)(void *target, uint64_t source, size_t bytes,
                             struct cuda_stream *stream);
    int (*cuMemcpyDtoDAsync)(uint64_t target, uint64_t source, size_t bytes,
                             struct cuda_stream *stream);
    int (*cuMemsetD8Async)(uint64_t target, unsigned char value, size_t bytes,
                           struct cuda_stream *stream);

    int (*cuModuleLoadData)(struct cuda_module **module, const void *image);
    int (*cuModuleUnload)(struct cuda_module *module);
    int (*cuModuleGetFunction)(struct cuda_function **function, struct cuda_module *module,
                               const char *name);
    int (*cuFuncSetAttribute)(struct cuda_function *function, int attribute, int value);
    int (*cuLaunchKernel)(struct cuda_function *function, unsigned grid_x, unsigned grid_y,
                          unsigned grid_z, unsigned block_x, unsigned block_y, unsigned block_z,
                          unsigned shared_bytes, struct cuda_stream *stream, void **params,
                          void **extra);

    int (*cuStreamCreate)(struct cuda_stream **stream, unsigned flags);
    int (*cuStreamDestroy)(struct cuda_stream *stream);
    int (*cuStreamSynchronize)(struct cuda_stream *stream);
    int (*cuEventCreate)(struct cuda_event **event, unsigned flags);
    int (*cuEventDestroy)(struct cuda_event *event);
    int (*cuEventRecord)(struct cuda_event *event, struct cuda_stream *stream);
    int (*cuEventSynchronize)(struct cuda_event *event);
};

/* libcuda.so.1, opened once and kept. False with an error that says what is missing. */
MUST_CHECK bool cuda_driver_load(const struct cuda_driver **driver_out, struct error *error);

#endif
