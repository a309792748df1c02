/* onednn_absent: stands in for onednn.c in builds without oneDNN. */
#include "kernels/cpu/onednn.h"

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

enum kernel_status onednn_weight_open(struct onednn *onednn, const float *matrix, int rows,
                                      int columns, bool is_bf16, struct onednn_weight **weight_out)
{
    (void)onednn;
    (void)matrix;
    (void)rows;
    (void)columns;
    (void)is_bf16;
    (void)weight_out;
    return KERNEL_NO_DEVICE;
}

void onednn_weight_close(struct onednn_weight *weight)
{
    (void)weight;
}

int onednn_block_rows(const struct onednn_weight *weight)
{
    (void)weight;
    return 1;
}

size_t onednn_scratch_bytes(const struct onednn_weight *weight)
{
    (void)weight;
    return 0;
}

enum kernel_status onednn_product(const struct onednn_task *task)
{
    (void)task;
    return KERNEL_NO_DEVICE;
}
