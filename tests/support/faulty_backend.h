/* faulty_backend: the CPU backend with operations that fail on command.
 *
 * A test that links this, with --wrap=backend_open, gets it from every backend_open. The backend is
 * the real one; a few members of its table first look whether the present step is to fail. Commands
 * are given while the engine has nothing to do. */
#ifndef TESTS_SUPPORT_FAULTY_BACKEND_H
#define TESTS_SUPPORT_FAULTY_BACKEND_H

#include "kernels/backend.h"

enum faulty_operation {
    FAULTY_EMBED,
    FAULTY_ROPE_ANGLES,
    FAULTY_ADD_NORM,
    FAULTY_LINEAR,
    FAULTY_ROPE_KV_WRITE,
    FAULTY_ATTENTION,
    FAULTY_MLP,
    FAULTY_GATHER_ROWS,
    FAULTY_LOGITS,
    FAULTY_SAMPLE,
    FAULTY_OPERATIONS,
};

enum { FAULTY_ANY_TOKEN = -1 };

struct fault {
    enum faulty_operation operation;
    enum kernel_status status; // KERNEL_OK: no fault
    int32_t token;             // only in steps with a row of this token
    int calls_before;          // so many such calls still pass
    int times;                 // then so many fail; 0: all
    bool gives_nan;            // the operation is `sample`: the token's logits are not finite
};

void faulty_backend_set(const struct fault *fault);
/* Calls that failed since then. */
int faulty_backend_failed(void);

#endif
