/* emulation_cases: kernels that try out the emulation: sound ones, and ones with each mistake that
 * it is there to find. */
#ifndef TESTS_UNIT_KERNELS_CUDA_EMULATION_CASES_H
#define TESTS_UNIT_KERNELS_CUDA_EMULATION_CASES_H

#include <stdint.h>

enum {
    CASE_NONE,
    CASE_WITHOUT_BARRIER,   // between writing and reading shared memory
    CASE_BARRIER_IN_BRANCH, // that half of the threads takes
    CASE_BARRIERS_APART,    // one for each half
    CASE_EARLY_RETURN,      // of a thread that others wait for
    CASE_WITHOUT_LANE,      // that a shuffle waits for
    CASE_WITHOUT_WAIT,      // for an asynchronous copy
    CASE_OVERWRITES,        // a copy's target, before others have read it
    CASE_COPY_LEFT,         // a copy under way at the end
};

/* output[block * 64 + i] = the reverse of the block's input, through shared memory. */
struct reverse_args {
    const int *input;
    int *output;
    int mistake;
};

/* outputs[block] = the sum of 64 inputs, by shuffles and an atomic. */
struct sum_args {
    const float *input;
    float *output;
    int mistake;
};

/* output[block * 64 + i] = input[(i + 1) % 64] of step 0 + that of step 1, copied in the
 * background: [block, step, 64]. */
struct stage_args {
    const float *input;
    float *output;
    int mistake;
};

/* d = a b: [16, 8] = [16, 16] [16, 8] in bf16, b by rows, or by columns. */
struct mma_args {
    const uint16_t *a;
    const uint16_t *b;
    float *d;
    int is_b_by_columns;
};

/* Conversions of each input and back. */
struct convert_args {
    const float *input;
    uint8_t *fp8;
    float *from_fp8;
    uint16_t *bf16;
    float *from_bf16;
    int count;
};

/* Kernels, as the emulation launches them. */
#ifndef __CUDACC__
#ifdef __cplusplus
extern "C" {
#endif
void reverse(const void *args);
void sum(const void *args);
void stage(const void *args);
void mma(const void *args);
void convert(const void *args);
#ifdef __cplusplus
}
#endif
#endif

#endif
