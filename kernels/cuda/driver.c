/* driver: names of the functions, and where the pointers to them go. */
#include "kernels/cuda/driver.h"

#include "kernels/cuda/library.h"

#define MEMBER(member)                                                                             \
    {                                                                                              \
#member, offsetof(struct cuda_driver, member)                                              \
    }
#define VERSION_2(member)                                                                          \
    {                                                                                              \
#member "_v2", offsetof(struct cuda_driver, member)                                        \
    }

static const struct library_symbol symbols[] = {
    MEMBER(cuInit),
    MEMBER(cuDriverGetVersion),
    MEMBER(cuDeviceGetCount),
    MEMBER(cuDeviceGet),
    MEMBER(cuDeviceGetName),
    MEMBER(cuDeviceGetAttribute),
    MEMBER(cuDevicePrimaryCtxRetain),
    VERSION_2(cuDevicePrimaryCtxRelease),
    MEMBER(cuCtxSetCurrent),
    MEMBER(cuGetErrorName),
    VERSION_2(cuMemGetInfo),
    VERSION_2(cuMemAlloc),
    VERSION_2(cuMemFree),
    VERSION_2(cuMemAllocHost),
    MEMBER(cuMemFreeHost),
    VERSION_2(cuMemcpyHtoDAsync),
    VERSION_2(cuMemcpyDtoHAsync),
    VERSION_2(cuMemcpyDtoDAsync),
    MEMBER(cuMemsetD8Async),
    MEMBER(cuModuleLoadData),
    MEMBER(cuModuleUnload),
    MEMBER(cuModuleGetFunction),
    MEMBER(cuFuncSetAttribute),
    MEMBER(cuLaunchKernel),
    MEMBER(cuStreamCreate),
    VERSION_2(cuStreamDestroy),
    MEMBER(cuStreamSynchronize),
    MEMBER(cuEventCreate),
    VERSION_2(cuEventDestroy),
    MEMBER(cuEventRecord),
    MEMBER(cuEventSynchronize),
};

bool cuda_driver_load(const struct cuda_driver **driver_out, struct error *error)
{
    static struct cuda_driver driver; // the library stays open, so one table serves all
    static const char *const names[] = {"libcuda.so.1", NULL};
    if (!library_load(names, symbols, sizeof(symbols) / sizeof(symbols[0]), &driver, error)) {
        return false;
    }
    *driver_out = &driver;
    return true;
}
