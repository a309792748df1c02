/* cpu_backend: the backend that computes on the processor's own cores, in f32. */
#ifndef KERNELS_CPU_CPU_BACKEND_H
#define KERNELS_CPU_CPU_BACKEND_H

#include "kernels/backend.h"

MUST_CHECK bool cpu_backend_open(const struct backend_options *options,
                                 struct backend **backend_out, struct error *error);

#endif
