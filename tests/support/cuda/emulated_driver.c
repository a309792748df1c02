/* emulated_driver: what the driver does, on malloc and a list of work. */
#include "tests/support/cuda/emulated_driver.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/cuda/kernels.h"
#include "tests/support/cuda/emulation.h"

enum {
    ALIGNMENT = 256,
    ARGS_BYTES_MAX = 4096,
    DIRTY_BYTES = 1 << 20,
    LAUNCH_FAILED = 719,
    NOT_FOUND = 500
};

#define DECLARE(number, name) void name(const void *args);
CUDA_KERNELS(DECLARE)

struct cuda_function {
    const char *name;
    void (*body)(const void *args);
    int shared_bytes_max;
};

#define FUNCTION(number, name) {#name, name, 48 << 10},
static struct cuda_function functions[] = {CUDA_KERNELS(FUNCTION)};

struct work {
    void (*run)(const void *context);
    void *context;
};

static struct {
    struct emulated_device device;
    struct work *works;
    size_t works_count;
    size_t works_capacity;
    int launches;
    int result; // that every call has, after a failure
} emulated = {.device = {.capability = 90, .memory_bytes = (size_t)1 << 30, .devices = 1}};

void emulated_device_set(const struct emulated_device *device)
{
    emulated.device = *device;
    emulated.launches = 0;
    emulated.result = CUDA_OK;
}

int emulated_device_capability(void)
{
    return emulated.device.capability;
}

int emulated_stream_put(void (*work)(const void *context), const void *context, size_t bytes)
{
    if (emulated.result != CUDA_OK) {
        return emulated.result;
    }
    if (emulated.works_count == emulated.works_capacity) {
        emulated.works_capacity = emulated.works_capacity * 2 + 64;
        emulated.works = realloc(emulated.works, emulated.works_capacity * sizeof(*emulated.works));
    }
    void *copy = malloc(bytes);
    if (emulated.works == NULL || copy == NULL) {
        abort();
    }
    memcpy(copy, context, bytes);
    emulated.works[emulated.works_count++] = (struct work){work, copy};
    return CUDA_OK;
}

static int run_stream(void)
{
    for (size_t i = 0; i < emulated.works_count; i++) {
        if (emulated.result == CUDA_OK) {
            emulated.works[i].run(emulated.works[i].context);
        }
        free(emulated.works[i].context);
    }
    emulated.works_count = 0;
    free(emulated.works);
    emulated.works = NULL;
    emulated.works_capacity = 0;
    return emulated.result;
}

static int init(unsigned flags)
{
    (void)flags;
    return emulated.device.devices == 0 ? (int)CUDA_ERROR_NO_DEVICE : (int)CUDA_OK;
}

static int driver_version(int *version)
{
    *version = 13000;
    return CUDA_OK;
}

static int device_count(int *count)
{
    *count = emulated.device.devices;
    return CUDA_OK;
}

static int device_get(int *device, int ordinal)
{
    *device = ordinal;
    return CUDA_OK;
}

static int device_name(char *name, int bytes, int device)
{
    (void)device;
    (void)snprintf(name, (size_t)bytes, "emulated");
    return CUDA_OK;
}

static int device_attribute(int *value, int attribute, int device)
{
    (void)device;
    switch (attribute) {
    case CUDA_ATTRIBUTE_CAPABILITY_MAJOR:
        *value = emulated.device.capability / 10;
        return CUDA_OK;
    case CUDA_ATTRIBUTE_CAPABILITY_MINOR:
        *value = emulated.device.capability % 10;
        return CUDA_OK;
    case CUDA_ATTRIBUTE_SHARED_BYTES_MAX:
        *value = emulated.device.capability >= 90 ? 227 << 10 : 163 << 10;
        return CUDA_OK;
    default:
        return CUDA_ERROR_INVALID_VALUE;
    }
}

static int context_retain(struct cuda_context **context, int device)
{
    (void)device;
    *context = (struct cuda_context *)(void *)&emulated;
    return CUDA_OK;
}

static int context_release(int device)
{
    (void)device;
    return run_stream();
}

static int context_set(struct cuda_context *context)
{
    return context == NULL ? CUDA_ERROR_INVALID_VALUE : (int)CUDA_OK;
}

static int error_name(int result, const char **name)
{
    *name = result == CUDA_ERROR_NO_DEVICE ? "CUDA_ERROR_NO_DEVICE" : "CUDA_ERROR_EMULATED";
    return CUDA_OK;
}

static int memory_info(size_t *free_bytes, size_t *total_bytes)
{
    *total_bytes = emulated.device.memory_bytes;
    *free_bytes = emulated.device.memory_bytes - emulated.device.used_bytes;
    return CUDA_OK;
}

static void *new_memory(size_t bytes)
{
    void *memory = NULL;
    if (posix_memalign(&memory, ALIGNMENT, bytes == 0 ? 1 : bytes) != 0) {
        return NULL;
    }
    // The rest of a large one is not worth its pages.
    memset(memory, 0xff, bytes < DIRTY_BYTES ? bytes : DIRTY_BYTES);
    return memory;
}

static int memory_alloc(uint64_t *address, size_t bytes)
{
    void *memory = new_memory(bytes);
    *address = (uintptr_t)memory;
    return memory == NULL ? (int)CUDA_ERROR_OUT_OF_MEMORY : (int)CUDA_OK;
}

static int memory_free(uint64_t address)
{
    int result = run_stream();
    free((void *)(uintptr_t)address);
    return result;
}

static int host_alloc(void **memory, size_t bytes)
{
    *memory = new_memory(bytes);
    return *memory == NULL ? (int)CUDA_ERROR_OUT_OF_MEMORY : (int)CUDA_OK;
}

static int host_free(void *memory)
{
    int result = run_stream();
    free(memory);
    return result;
}

struct copy {
    uint64_t target;
    uint64_t source;
    size_t bytes;
    unsigned char value;
};

static void run_copy(const void *context)
{
    const struct copy *copy = context;
    memcpy((void *)(uintptr_t)copy->target, (const void *)(uintptr_t)copy->source, copy->bytes);
}

static void run_set(const void *context)
{
    const struct copy *copy = context;
    memset((void *)(uintptr_t)copy->target, copy->value, copy->bytes);
}

static int put_copy(uint64_t target, uint64_t source, size_t bytes)
{
    struct copy copy = {target, source, bytes, 0};
    return bytes == 0 ? (int)CUDA_OK : emulated_stream_put(run_copy, &copy, sizeof(copy));
}

static int copy_to_device(uint64_t target, const void *source, size_t bytes,
                          struct cuda_stream *stream)
{
    (void)stream;
    return put_copy(target, (uintptr_t)source, bytes);
}

static int copy_to_host(void *target, uint64_t source, size_t bytes, struct cuda_stream *stream)
{
    (void)stream;
    return put_copy((uintptr_t)target, source, bytes);
}

static int copy_on_device(uint64_t target, uint64_t source, size_t bytes,
                          struct cuda_stream *stream)
{
    (void)stream;
    return put_copy(target, source, bytes);
}

static int set_bytes(uint64_t target, unsigned char value, size_t bytes, struct cuda_stream *stream)
{
    (void)stream;
    struct copy copy = {target, 0, bytes, value};
    return emulated_stream_put(run_set, &copy, sizeof(copy));
}

static int module_load(struct cuda_module **module, const void *image)
{
    (void)image;
    *module = (struct cuda_module *)(void *)&emulated;
    return CUDA_OK;
}

static int module_unload(struct cuda_module *module)
{
    (void)module;
    return CUDA_OK;
}

static int module_function(struct cuda_function **function, struct cuda_module *module,
                           const char *name)
{
    (void)module;
    for (size_t i = 0; i < sizeof(functions) / sizeof(functions[0]); i++) {
        if (strcmp(functions[i].name, name) == 0) {
            *function = &functions[i];
            return CUDA_OK;
        }
    }
    return NOT_FOUND;
}

static int function_attribute(struct cuda_function *function, int attribute, int value)
{
    if (attribute != CUDA_FUNCTION_SHARED_BYTES_MAX) {
        return CUDA_ERROR_INVALID_VALUE;
    }
    function->shared_bytes_max = value;
    return CUDA_OK;
}

struct launch {
    const struct cuda_function *function;
    struct emulation_dim grid;
    struct emulation_dim block;
    size_t shared_bytes;
    size_t args_bytes;
    _Alignas(16) char args[ARGS_BYTES_MAX];
};

static void run_launch(const void *context)
{
    const struct launch *launch = context;
    void *args = new_memory(launch->args_bytes); // a sanitizer sees a kernel with another struct
    if (args == NULL) {
        abort();
    }
    memcpy(args, launch->args, launch->args_bytes);
    if (!emulation_launch(launch->function->body, launch->grid, launch->block, launch->shared_bytes,
                          args)) {
        (void)fprintf(stderr, "%s: %s\n", launch->function->name, emulation_message());
        emulated.result = LAUNCH_FAILED;
    }
    free(args);
}

static int launch_kernel(struct cuda_function *function, unsigned grid_x, unsigned grid_y,
                         unsigned grid_z, unsigned block_x, unsigned block_y, unsigned block_z,
                         unsigned shared_bytes, struct cuda_stream *stream, void **params,
                         void **extra)
{
    (void)stream;
    enum { GRID_YZ_MAX = 65535, BLOCK_MAX = 1024 };
    struct launch launch = {.function = function,
                            .grid = {grid_x, grid_y, grid_z},
                            .block = {block_x, block_y, block_z},
                            .shared_bytes = shared_bytes};
    if (grid_x == 0 || grid_y == 0 || grid_z == 0 || grid_y > GRID_YZ_MAX || grid_z > GRID_YZ_MAX ||
        block_x * block_y * block_z == 0 || block_x * block_y * block_z > BLOCK_MAX ||
        (int)shared_bytes > function->shared_bytes_max || params != NULL ||
        (uintptr_t)extra[0] != CUDA_LAUNCH_BUFFER || (uintptr_t)extra[2] != CUDA_LAUNCH_BYTES) {
        return CUDA_ERROR_INVALID_VALUE;
    }
    memcpy(&launch.args_bytes, extra[3], sizeof(launch.args_bytes));
    if (launch.args_bytes > sizeof(launch.args)) {
        return CUDA_ERROR_INVALID_VALUE;
    }
    if (emulated.device.launch_result != CUDA_OK &&
        emulated.launches >= emulated.device.launches_before) {
        emulated.result = emulated.device.launch_result;
        return emulated.result;
    }
    emulated.launches++;
    memcpy(launch.args, extra[1], launch.args_bytes);
    return emulated_stream_put(run_launch, &launch, sizeof(launch));
}

static int stream_create(struct cuda_stream **stream, unsigned flags)
{
    (void)flags;
    *stream = (struct cuda_stream *)(void *)&emulated;
    return CUDA_OK;
}

static int stream_destroy(struct cuda_stream *stream)
{
    (void)stream;
    return run_stream();
}

static int stream_synchronize(struct cuda_stream *stream)
{
    (void)stream;
    return run_stream();
}

static int event_create(struct cuda_event **event, unsigned flags)
{
    (void)flags;
    *event = (struct cuda_event *)(void *)&emulated;
    return CUDA_OK;
}

static int event_destroy(struct cuda_event *event)
{
    (void)event;
    return CUDA_OK;
}

static int event_record(struct cuda_event *event, struct cuda_stream *stream)
{
    (void)event;
    (void)stream;
    return emulated.result;
}

static int event_synchronize(struct cuda_event *event)
{
    (void)event;
    return run_stream();
}

const struct cuda_driver *emulated_driver(void)
{
    static const struct cuda_driver driver = {
        .cuInit = init,
        .cuDriverGetVersion = driver_version,
        .cuDeviceGetCount = device_count,
        .cuDeviceGet = device_get,
        .cuDeviceGetName = device_name,
        .cuDeviceGetAttribute = device_attribute,
        .cuDevicePrimaryCtxRetain = context_retain,
        .cuDevicePrimaryCtxRelease = context_release,
        .cuCtxSetCurrent = context_set,
        .cuGetErrorName = error_name,
        .cuMemGetInfo = memory_info,
        .cuMemAlloc = memory_alloc,
        .cuMemFree = memory_free,
        .cuMemAllocHost = host_alloc,
        .cuMemFreeHost = host_free,
        .cuMemcpyHtoDAsync = copy_to_device,
        .cuMemcpyDtoHAsync = copy_to_host,
        .cuMemcpyDtoDAsync = copy_on_device,
        .cuMemsetD8Async = set_bytes,
        .cuModuleLoadData = module_load,
        .cuModuleUnload = module_unload,
        .cuModuleGetFunction = module_function,
        .cuFuncSetAttribute = function_attribute,
        .cuLaunchKernel = launch_kernel,
        .cuStreamCreate = stream_create,
        .cuStreamDestroy = stream_destroy,
        .cuStreamSynchronize = stream_synchronize,
        .cuEventCreate = event_create,
        .cuEventDestroy = event_destroy,
        .cuEventRecord = event_record,
        .cuEventSynchronize = event_synchronize,
    };
    return &driver;
}
