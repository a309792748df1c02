/* cublas: names of the functions, and where the pointers to them go. */
#include "kernels/cuda/cublas.h"

#include "kernels/cuda/library.h"

#define MEMBER(member)                                                                             \
    {                                                                                              \
        "cublasLt" #member, offsetof(struct cublas_library, member)                                \
    }

static const struct library_symbol symbols[] = {
    MEMBER(GetVersion),
    MEMBER(Create),
    MEMBER(Destroy),
    MEMBER(MatmulDescCreate),
    MEMBER(MatmulDescDestroy),
    MEMBER(MatmulDescSetAttribute),
    MEMBER(MatrixLayoutCreate),
    MEMBER(MatrixLayoutDestroy),
    MEMBER(MatmulPreferenceCreate),
    MEMBER(MatmulPreferenceDestroy),
    MEMBER(MatmulPreferenceSetAttribute),
    MEMBER(MatmulAlgoGetHeuristic),
    MEMBER(Matmul),
};

bool cublas_library_load(const struct cublas_library **library_out, struct error *error)
{
    static struct cublas_library library; // it stays open, so one table serves all
    static const char *const names[] = {"libcublasLt.so.13", "libcublasLt.so.12", NULL};
    if (!library_load(names, symbols, sizeof(symbols) / sizeof(symbols[0]), &library, error)) {
        return false;
    }
    *library_out = &library;
    return true;
}
