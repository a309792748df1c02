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

enum kernel_status onednn_weight_open(struct onednn *onednn, int rows, int columns,
                                      enum weight_format format, struct onednn_weight **weight_out)
{
    (void)onednn;
    (void)rows;
    (void)columns;
    (void)format;
    (void)weight_out;
    return KERNEL_NO_DEVICE;
}

enum kernel_status onednn_weight_pack(const struct onednn_weight *weight, int panel,
                                      const void *matrix, int thread)
{
    (void)weight;
    (void)panel;
    (void)matrix;
    (void)thread;
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
