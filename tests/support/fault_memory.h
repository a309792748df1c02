/* fault_memory: fails allocations of the project's own objects, for tests that are linked with
 * -Wl,--wrap= of malloc and its like (fault_test in tests/unit/worker). Allocations inside shared
 * libraries are not seen.
 *
 * An allocation is told by the path of calls that leads to it. Swept, each path fails the first
 * time that it is met, so a test that repeats itself until nothing new fails has tried them all,
 * whatever the threads' order. Starved, everything fails for a while.
 */
#ifndef TESTS_SUPPORT_FAULT_MEMORY_H
#define TESTS_SUPPORT_FAULT_MEMORY_H

#include <stdbool.h>
#include <stddef.h>

/* The calling thread is the test's own: nothing of it fails. */
void fault_exempt_thread(void);
bool fault_is_exempt(void);
/* For a while. Returns what it was. */
bool fault_set_exempt(bool is_exempt);

/* From now on each path fails once that has not failed since fault_memory_forget. */
void fault_memory_sweep(void);
/* From now on `count` allocations fail, after `skip` that do not. */
void fault_memory_starve(size_t skip, size_t count);
void fault_memory_stop(void);
void fault_memory_forget(void);

size_t fault_memory_failed(void); // so far, by sweeps and starvation
size_t fault_memory_paths(void);  // that failed in sweeps
/* Says on stderr where the last failures were. */
void fault_memory_print(void);

/* What malloc and strdup are without this, for the other parts of the harness. */
void *fault_memory_alloc(size_t size);
char *fault_memory_copy(const char *text);

#endif
