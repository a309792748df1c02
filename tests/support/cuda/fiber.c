/* fiber: switching stacks. The System V ABI of x86-64 takes seven instructions' worth of saving;
 * the C library's swapcontext, which makes two system calls a switch, serves other processors. */
#include "tests/support/cuda/fiber.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#define ADDRESS_SANITIZER 1
#else
#define ADDRESS_SANITIZER 0
#endif

#if defined(__x86_64__)
struct machine {
    void *stack_pointer;
};

/* Saves the callee's registers on this stack, then goes on with those of the other. */
void fiber_swap(struct machine *from, struct machine *to);
__asm__(".text\n"
        ".globl fiber_swap\n"
        ".hidden fiber_swap\n"
        ".type fiber_swap, @function\n"
        "fiber_swap:\n"
        "    pushq %rbp\n"
        "    pushq %rbx\n"
        "    pushq %r12\n"
        "    pushq %r13\n"
        "    pushq %r14\n"
        "    pushq %r15\n"
        "    movq %rsp, (%rdi)\n"
        "    movq (%rsi), %rsp\n"
        "    popq %r15\n"
        "    popq %r14\n"
        "    popq %r13\n"
        "    popq %r12\n"
        "    popq %rbx\n"
        "    popq %rbp\n"
        "    ret\n"
        ".size fiber_swap, .-fiber_swap\n");

static void machine_start(struct machine *machine, char *stack, size_t bytes, void (*entry)(void))
{
    // fiber_swap pops six registers and returns into entry, whose own return address is missing;
    // there the stack pointer is 8 below a multiple of 16.
    uintptr_t top = ((uintptr_t)stack + bytes) / 16 * 16 - 16;
    uintptr_t *frame = (uintptr_t *)top - 6;
    for (int i = 0; i < 6; i++) {
        frame[i] = 0;
    }
    frame[6] = (uintptr_t)entry;
    frame[7] = 0;
    machine->stack_pointer = frame;
}
#else
#include <ucontext.h>
struct machine {
    ucontext_t context;
};

static void fiber_swap(struct machine *from, struct machine *to)
{
    (void)swapcontext(&from->context, &to->context);
}

static void machine_start(struct machine *machine, char *stack, size_t bytes, void (*entry)(void))
{
    (void)getcontext(&machine->context);
    machine->context.uc_stack.ss_sp = stack;
    machine->context.uc_stack.ss_size = bytes;
    machine->context.uc_link = NULL;
    makecontext(&machine->context, entry, 0);
}
#endif

struct fiber {
    struct machine machine;
    char *stack;
    size_t stack_bytes;
    void *fake_stack; // the address sanitizer's
    void (*body)(void *context);
    void *context;
    bool is_begun; // and has not ended
};

static struct {
    struct machine machine; // of who resumes
    void *fake_stack;
    const void *stack;
    size_t stack_bytes;
    struct fiber *fiber; // that runs, or NULL
} resumer;

/* Leaves one stack for another; comes back when somebody switches here again. */
static void leave(void **fake_stack, const void *stack, size_t bytes)
{
#if ADDRESS_SANITIZER
    __sanitizer_start_switch_fiber(fake_stack, stack, bytes);
#else
    (void)fake_stack;
    (void)stack;
    (void)bytes;
#endif
}

static void arrive(void *fake_stack, const void **stack_out, size_t *bytes_out)
{
#if ADDRESS_SANITIZER
    __sanitizer_finish_switch_fiber(fake_stack, stack_out, bytes_out);
#else
    (void)fake_stack;
    (void)stack_out;
    (void)bytes_out;
#endif
}

static void run_body(void)
{
    struct fiber *fiber = resumer.fiber;
    arrive(NULL, &resumer.stack, &resumer.stack_bytes);
    fiber->body(fiber->context);
    fiber->is_begun = false;
    leave(NULL, resumer.stack, resumer.stack_bytes); // NULL: this stack is done with
    fiber_swap(&fiber->machine, &resumer.machine);
    abort(); // nobody resumes a fiber that has ended
}

struct fiber *fiber_open(size_t stack_bytes)
{
    struct fiber *fiber = calloc(1, sizeof(*fiber));
    void *stack = NULL;
    if (fiber == NULL || posix_memalign(&stack, 4096, stack_bytes) != 0) {
        (void)fprintf(stderr, "no memory for a fiber\n");
        abort();
    }
    fiber->stack = stack;
    fiber->stack_bytes = stack_bytes;
    return fiber;
}

void fiber_start(struct fiber *fiber, void (*body)(void *context), void *context)
{
#if ADDRESS_SANITIZER
    if (fiber->is_begun) { // its frames never returned
        __asan_unpoison_memory_region(fiber->stack, fiber->stack_bytes);
    }
#endif
    fiber->is_begun = true;
    fiber->body = body;
    fiber->context = context;
    machine_start(&fiber->machine, fiber->stack, fiber->stack_bytes, run_body);
}

void fiber_resume(struct fiber *fiber)
{
    resumer.fiber = fiber;
    leave(&resumer.fake_stack, fiber->stack, fiber->stack_bytes);
    fiber_swap(&resumer.machine, &fiber->machine);
    arrive(resumer.fake_stack, NULL, NULL);
    resumer.fiber = NULL;
}

void fiber_yield(void)
{
    struct fiber *fiber = resumer.fiber;
    leave(&fiber->fake_stack, resumer.stack, resumer.stack_bytes);
    fiber_swap(&fiber->machine, &resumer.machine);
    arrive(fiber->fake_stack, &resumer.stack, &resumer.stack_bytes);
}
