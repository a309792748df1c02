/* sample_kernels: arguments of the kernel that goes from logits to tokens. */
#ifndef KERNELS_CUDA_SAMPLE_KERNELS_H
#define KERNELS_CUDA_SAMPLE_KERNELS_H

#include <stdint.h>

#define CUDA_SAMPLE_KERNELS(X) X(SAMPLE, sample_kernel)

enum {
    CUDA_SAMPLE_THREADS = 512,
    CUDA_SAMPLE_GROUP = 64,   // rows whose parameters lie together
    CUDA_SAMPLE_GROUPS = 256, // of a launch
};

/* struct token_count of backend.h. */
struct kernel_token_count {
    int32_t token;
    int32_t count;
};

/* One row's struct sample_params, with device memory for what it points to. */
struct kernel_sample_row {
    double random; // in [0, 1)
    const uint32_t *allowed;
    const struct kernel_token_count *counts;
    float *edited; // [vocabulary], where there is a mask or a penalty; else NULL
    int counts_count;
    int top_k;
    float temperature;
    float top_p;
    float min_p;
    float frequency_penalty;
    float presence_penalty;
    float repetition_penalty;
};

/* One block a row. */
struct sample_kernel_args {
    const float *logits; // [rows, vocabulary]
    int32_t *tokens;     // [rows]
    float *logprobs;     // [rows] or NULL
    int vocabulary;
    const struct kernel_sample_row *groups[CUDA_SAMPLE_GROUPS];
};

#endif
