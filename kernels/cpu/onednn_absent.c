/* onednn_absent: stands in for onednn.c in builds without oneDNN. */
#include "kernels/cpu/onednn.h"

#include <stddef.h>

struct onednn *onednn_open(enum backend_isa isa, int threads)
{
    (void)isa;
    (void)threads;
    return NULL;
}

void onednn_close(struct onednn *onednn)
{
    (void)onednn;
}

const char *onednn_version(const struct onednn *onednn)
{
    (void)onednn;
    return "";
}
