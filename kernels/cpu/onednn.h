/* onednn: matrix products by oneDNN, in one file for 2.6 and 3.x. Without it (MILLRACE_ONEDNN off,
 * or an instruction set whose oneDNN results depend on the batch) onednn_open gives NULL.
 *
 * Products run on panels of outputs, each on one thread and without OpenMP regions: the backend's
 * own threads share the panels. f32 takes any number of rows up to a block, which AVX-512 computes
 * row by row in the same way (a single one among two); bf16 always takes a whole block, padded with
 * zeros, because tile kernels do not. int8 multiplies bytes to exact sums, whole blocks as well.
 */
#ifndef KERNELS_CPU_ONEDNN_H
#define KERNELS_CPU_ONEDNN_H

#include <stdbool.h>
#include <stddef.h>

#include "kernels/backend.h"

enum { ONEDNN_PANEL = 128, ONEDNN_ROWS_F32 = 64, ONEDNN_ROWS_BLOCK = 32 };

struct onednn;
struct onednn_weight;

/* `threads`: how many threads run products at most. */
struct onednn *onednn_open(enum backend_isa isa, int threads);
void onednn_close(struct onednn *onednn);                // accepts NULL
const char *onednn_version(const struct onednn *onednn); // "" for NULL

/* KERNEL_NO_DEVICE where oneDNN has no products of this kind. One thread at a time. */
enum kernel_status onednn_weight_open(struct onednn *onednn, int rows, int columns,
                                      enum weight_format format, struct onednn_weight **weight_out);
/* Fills a panel with its rows of the matrix, [ONEDNN_PANEL or what is left, columns]: f32, or bytes
 * for int8. Thread: any, each with its own number. */
enum kernel_status onednn_weight_pack(const struct onednn_weight *weight, int panel,
                                      const void *matrix, int thread);
void onednn_weight_close(struct onednn_weight *weight); // accepts NULL

int onednn_block_rows(const struct onednn_weight *weight); // rows of one product at most
size_t onednn_scratch_bytes(const struct onednn_weight *weight);

/* A block of rows through some panels of the weight. */
struct onednn_task {
    const struct onednn_weight *weight;
    int panel;
    int panel_end;
    const void *input; // [rows, columns] f32; for int8 [rows, input_stride] signed bytes
    size_t input_stride;
    void *output;  // [rows, weight rows] f32; s32 for int8
    int rows;      // at most onednn_block_rows
    void *scratch; // onednn_scratch_bytes, aligned to 64
    int thread;    // below onednn_open's threads
};

/* Thread: any, each with its own number and scratch. */
enum kernel_status onednn_product(const struct onednn_task *task);

#endif
