/* emulation: runs CUDA kernels on the processor, a block at a time, a fiber for each thread.
 *
 * The kernels are the very files of kernels/cuda, compiled as C++ (emulation.cuh has CUDA's words).
 * What a device only does by luck is made to fail here:
 *
 * - Threads run in turn, forward, reverse or shuffled, from one place where they wait to the next:
 *   a missing barrier shows in one of the orders. So do blocks.
 * - A barrier that some threads of the block do not reach, or reach at another line, ends the
 * launch with a message; so does a warp operation whose lanes do not all come.
 * - Shared memory is allocated at its exact size for every block and begins as NaN, so that the
 *   address sanitizer sees what is outside and results show what nobody wrote.
 * - An asynchronous copy fills its target with NaN when it is issued and copies when it is waited
 *   for: a missing wait shows, and so does a target that somebody still reads.
 *
 * One host thread. Speed and memory order between blocks are not modelled.
 */
#ifndef TESTS_SUPPORT_CUDA_EMULATION_H
#define TESTS_SUPPORT_CUDA_EMULATION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum emulation_order { EMULATION_FORWARD, EMULATION_REVERSE, EMULATION_RANDOM };

struct emulation_dim {
    unsigned x;
    unsigned y;
    unsigned z;
};

/* What CUDA calls threadIdx, blockIdx, blockDim and gridDim. */
struct emulation_place {
    struct emulation_dim thread;
    struct emulation_dim block;
    struct emulation_dim block_dim;
    struct emulation_dim grid_dim;
};

/* For launches from now on. */
void emulation_set_order(enum emulation_order order, uint64_t seed);

/* Runs a kernel over the whole grid. False: emulation_message() says what is wrong with it. */
bool emulation_launch(void (*kernel)(const void *args), struct emulation_dim grid,
                      struct emulation_dim block, size_t shared_bytes, const void *args);
const char *emulation_message(void);

/* What follows is called by kernels. */

extern struct emulation_place emulation_here;

/* Ends the launch; does not return. */
__attribute__((format(printf, 1, 2), noreturn)) void emulation_fail(const char *format, ...);

void emulation_check_threads(unsigned threads_max);
void emulation_barrier(const char *file, int line);

char *emulation_shared(void);
/* The block's own copy of a variable in shared memory; `key` is its name's address. */
void *emulation_variable(const void *key, size_t bytes);

/* One lane's part in an operation of its warp. The last lane to come does it for all. */
struct emulation_call {
    void (*operate)(struct emulation_call *const *lanes, unsigned mask); // [32]
    unsigned mask; // of the lanes that take part
    const void *input;
    void *output;
    int argument;
    const char *file;
    int line;
};
void emulation_collective(struct emulation_call *call);

void emulation_copy_async(void *target, const void *source, size_t bytes, size_t valid);
void emulation_copy_commit(void);
void emulation_copy_wait(int groups_left);

/* Warp operations on the fragments that the PTX manual documents. */
void emulation_mma_bf16(struct emulation_call *const *lanes, unsigned mask);
void emulation_load_matrix(struct emulation_call *const *lanes, unsigned mask);

#ifdef __cplusplus
}
#endif

#endif
