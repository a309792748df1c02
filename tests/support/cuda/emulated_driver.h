/* emulated_driver: a CUDA driver without a device: memory is the host's, kernels are fibers
 * (emulation.h), and the stream is a list of what is yet to be done.
 *
 * Nothing on the stream is done before somebody waits for it: a host that reads too early, or
 * writes over what is still to be copied, gets wrong numbers here every time. Device memory begins
 * as NaN. One device and one stream at a time, one host thread.
 */
#ifndef TESTS_SUPPORT_CUDA_EMULATED_DRIVER_H
#define TESTS_SUPPORT_CUDA_EMULATED_DRIVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernels/cuda/driver.h"

struct emulated_device {
    int capability;      // 80, 90
    size_t memory_bytes; // in all
    size_t used_bytes;   // by others
    int devices;         // 0: cuInit says that there is none
    int launches_before; // that succeed, with a result to fail with
    int launch_result;   // of the launch after those; the device stays in that state
};

/* For what is opened from now on; counts launches anew. */
void emulated_device_set(const struct emulated_device *device);
int emulated_device_capability(void);

const struct cuda_driver *emulated_driver(void);

/* Puts work on the stream; `context` is copied. */
int emulated_stream_put(void (*work)(const void *context), const void *context, size_t bytes);

#endif
