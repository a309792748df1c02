/* threads: a fixed set of worker threads that share a list of tasks with the caller.
 *
 * Workers sleep on a condition variable while there is nothing to do and never spin, so a busy
 * neighbour costs only its share. Tasks are handed out one by one; which thread runs a task must
 * not matter to its result. One owner thread calls these functions.
 */
#ifndef KERNELS_CPU_THREADS_H
#define KERNELS_CPU_THREADS_H

#include <stdbool.h>
#include <stddef.h>

struct threads;

/* `count` includes the caller: 1 starts none. NULL when the system refuses memory or threads. */
struct threads *threads_open(int count);
void threads_close(struct threads *threads); // accepts NULL

int threads_count(const struct threads *threads);

/* Gives every thread at least `bytes` of scratch memory, aligned to 64; false if out of memory.
 * Contents do not last. */
bool threads_reserve(struct threads *threads, size_t bytes);
void *threads_scratch(struct threads *threads, int thread);

/* Runs task(context, index, thread) for every index below `tasks_count` and returns when all are
 * done; `thread` is below threads_count. `cost` is about how many multiplications all tasks take
 * together: for few of them nobody is woken. */
void threads_run(struct threads *threads, void (*task)(void *context, int index, int thread),
                 void *context, int tasks_count, size_t cost);

#endif
