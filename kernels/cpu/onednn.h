/* onednn: matrix products by oneDNN, in one file for 2.6 and 3.x. Without it (MILLRACE_ONEDNN off,
 * or an instruction set whose oneDNN results depend on the batch) onednn_open gives NULL. */
#ifndef KERNELS_CPU_ONEDNN_H
#define KERNELS_CPU_ONEDNN_H

#include "kernels/backend.h"

struct onednn;

struct onednn *onednn_open(enum backend_isa isa, int threads);
void onednn_close(struct onednn *onednn);                // accepts NULL
const char *onednn_version(const struct onednn *onednn); // "" for NULL

#endif
