/* expert_kernels: arguments of the kernels of mixture layers. */
#ifndef KERNELS_CUDA_EXPERT_KERNELS_H
#define KERNELS_CUDA_EXPERT_KERNELS_H

#include <stdint.h>

#define CUDA_EXPERT_KERNELS(X)                                                                     \
    X(EXPERT_CHOOSE, expert_choose_kernel)                                                         \
    X(EXPERT_PLACE, expert_place_kernel)                                                           \
    X(EXPERT_LINEAR, expert_linear_kernel)                                                         \
    X(EXPERT_LINEAR_FP8, expert_linear_fp8_kernel)                                                 \
    X(EXPERT_COMBINE, expert_combine_kernel)

enum {
    CUDA_EXPERTS_MAX = 1024,
    CUDA_EXPERT_THREADS = 128,
    /* expert_linear: a block's tile of the output, and the inputs of a step. */
    CUDA_EXPERT_ROWS = 64,
    CUDA_EXPERT_COLUMNS = 128,
    CUDA_EXPERT_INPUTS = 64,
    CUDA_EXPERT_STAGES = 3,
};

/* As struct expert_route_args: one warp a row. Shared memory: for each warp three arrays of
 * [experts] floats. */
struct expert_choose_kernel_args {
    const float *logits; // [rows, experts]
    const float *bias;   // [experts] or NULL
    int32_t *chosen;     // [rows, top_k] experts, ascending
    float *weights;      // [rows, top_k]
    int rows;
    int experts;
    int top_k;
    int is_sigmoid;
    int normalizes;
    float scale;
    int groups;
    int groups_top;
    int is_pair_sum;
};

/* One block for each expert. */
struct expert_place_kernel_args {
    const int32_t *chosen; // [rows, top_k]
    int32_t *rows;         // [slots]
    int32_t *slots;        // [rows, top_k]
    int32_t *starts;       // [experts + 1]
    int choices;           // rows * top_k
    int top_k;
    int experts;
};

/* Of one expert. */
struct kernel_expert {
    const void *data;    // [columns, inputs], bf16 or E4M3
    const float *scales; // [columns], of E4M3
    const float *bias;   // [columns] or NULL
};

/* output[slot] = input[slot] * data^T: blocks (tiles of rows of all experts, tiles of columns). */
struct expert_linear_kernel_args {
    const struct kernel_expert *weights; // [experts]
    const int32_t *starts;               // [experts + 1]
    const uint16_t *input;               // [slots, inputs]
    uint16_t *output;                    // [slots, columns]
    int experts;
    int inputs; // a multiple of 8, of 16 with E4M3
    int columns;
};

/* As struct expert_combine_args: one block a row. */
struct expert_combine_kernel_args {
    const int32_t *slots;  // [rows, top_k]
    const float *weights;  // [rows, top_k]
    const uint16_t *input; // [slots, width]
    uint16_t *output;      // [rows, width]
    int top_k;
    int is_first;
    int width;
};

#endif
