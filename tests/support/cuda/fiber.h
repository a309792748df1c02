/* fiber: a stack of its own that runs until it gives way. The sanitizers know of it. One thread. */
#ifndef TESTS_SUPPORT_CUDA_FIBER_H
#define TESTS_SUPPORT_CUDA_FIBER_H

#include <stddef.h>

struct fiber;

/* Aborts when there is no memory. */
struct fiber *fiber_open(size_t stack_bytes);

/* Makes the fiber begin with `body` when it is resumed next; what it was in the middle of is
 * forgotten, without unwinding. */
void fiber_start(struct fiber *fiber, void (*body)(void *context), void *context);

/* Runs the fiber until it yields or its body returns. Not from within a fiber. */
void fiber_resume(struct fiber *fiber);

/* Back to whoever resumed this fiber. */
void fiber_yield(void);

#endif
