/* cuda_fixture: the CUDA back end for tests: on the machine's device where there is one and the
 * kernels are built in, else emulated. */
#ifndef TESTS_SUPPORT_CUDA_CUDA_FIXTURE_H
#define TESTS_SUPPORT_CUDA_CUDA_FIXTURE_H

#include <stdbool.h>

#include "kernels/backend.h"

/* Opens the emulated device as emulated_device_set has left it. */
MUST_CHECK bool cuda_fixture_open_emulated(const struct backend_options *options,
                                           struct backend **backend_out, struct error *error);

/* The emulated device made `device`; ends the test on failure. */
struct emulated_device;
struct backend *cuda_fixture_open(const struct emulated_device *device,
                                  const struct backend_options *options);

/* Calls `test` on the emulated device with its threads forward, in reverse and shuffled, and on a
 * device if there is one. */
void each_cuda_backend(const struct backend_options *options,
                       void (*test)(struct backend *backend));

#endif
