/* cublas: the functions of cuBLASLt that the back end needs, as a table: that of the library,
 * opened when the program runs, or one that a test has filled.
 *
 * What is declared here is NVIDIA's binary interface as cublasLt.h of CUDA 13 has it (cuBLAS
 * 13.1.0.3). Version 12 is taken to agree; that was not checked against its header.
 */
#ifndef KERNELS_CUDA_CUBLAS_H
#define KERNELS_CUDA_CUBLAS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "schemas/base/error.h"

struct cuda_stream;
struct cublas_handle;
struct cublas_desc;
struct cublas_layout;
struct cublas_preference;

enum {
    CUBLAS_OK = 0,
    CUBLAS_ALLOC_FAILED = 3,
    CUBLAS_INVALID_VALUE = 7,
    CUBLAS_NOT_SUPPORTED = 15,

    CUBLAS_COMPUTE_F32 = 68,
    CUBLAS_TYPE_F32 = 0, // cudaDataType
    CUBLAS_TYPE_BF16 = 14,
    CUBLAS_TYPE_E4M3 = 28,
    CUBLAS_TRANSPOSED = 1,
    CUBLAS_EPILOGUE_BIAS = 4,
    CUBLAS_SCALE_OUTER_VECTOR = 3, // f32 for each row of A or column of B
    CUBLAS_REDUCTION_NONE = 0,

    CUBLAS_DESC_TRANSPOSE_A = 3, // int32
    CUBLAS_DESC_EPILOGUE = 7,    // uint32
    CUBLAS_DESC_BIAS_POINTER = 8,
    CUBLAS_DESC_A_SCALE_POINTER = 17,
    CUBLAS_DESC_B_SCALE_POINTER = 18,
    CUBLAS_DESC_BIAS_TYPE = 26,    // int32
    CUBLAS_DESC_A_SCALE_MODE = 31, // int32
    CUBLAS_DESC_B_SCALE_MODE = 32, // int32

    CUBLAS_PREFERENCE_WORKSPACE_BYTES = 1, // uint64
    CUBLAS_PREFERENCE_REDUCTIONS = 3,      // uint32, a mask
    CUBLAS_PREFERENCE_ALIGNMENT_A = 5,     // uint32 each, bytes
    CUBLAS_PREFERENCE_ALIGNMENT_B = 6,
    CUBLAS_PREFERENCE_ALIGNMENT_C = 7,
    CUBLAS_PREFERENCE_ALIGNMENT_D = 8,
};

struct cublas_algorithm {
    uint64_t data[8];
};

struct cublas_heuristic {
    struct cublas_algorithm algorithm;
    size_t workspace_bytes;
    int state; // CUBLAS_OK where the rest is valid
    float waves;
    int reserved[4];
};

/* Matrices are column-major. Members are named as the functions are, less "cublasLt". */
struct cublas_library {
    size_t (*GetVersion)(void);
    int (*Create)(struct cublas_handle **handle);
    int (*Destroy)(struct cublas_handle *handle);
    int (*MatmulDescCreate)(struct cublas_desc **desc, int compute_type, int scale_type);
    int (*MatmulDescDestroy)(struct cublas_desc *desc);
    int (*MatmulDescSetAttribute)(struct cublas_desc *desc, int attribute, const void *value,
                                  size_t bytes);
    int (*MatrixLayoutCreate)(struct cublas_layout **layout, int type, uint64_t rows,
                              uint64_t columns, int64_t leading);
    int (*MatrixLayoutDestroy)(struct cublas_layout *layout);
    int (*MatmulPreferenceCreate)(struct cublas_preference **preference);
    int (*MatmulPreferenceDestroy)(struct cublas_preference *preference);
    int (*MatmulPreferenceSetAttribute)(struct cublas_preference *preference, int attribute,
                                        const void *value, size_t bytes);
    int (*MatmulAlgoGetHeuristic)(struct cublas_handle *handle, struct cublas_desc *desc,
                                  struct cublas_layout *a, struct cublas_layout *b,
                                  struct cublas_layout *c, struct cublas_layout *d,
                                  struct cublas_preference *preference, int wanted,
                                  struct cublas_heuristic *results, int *count);
    int (*Matmul)(struct cublas_handle *handle, struct cublas_desc *desc, const void *alpha,
                  const void *a, struct cublas_layout *a_layout, const void *b,
                  struct cublas_layout *b_layout, const void *beta, const void *c,
                  struct cublas_layout *c_layout, void *d, struct cublas_layout *d_layout,
                  const struct cublas_algorithm *algorithm, void *workspace, size_t workspace_bytes,
                  struct cuda_stream *stream);
};

/* libcublasLt.so.13 or .12. False with an error that says what is missing. */
MUST_CHECK bool cublas_library_load(const struct cublas_library **library_out, struct error *error);

#endif
