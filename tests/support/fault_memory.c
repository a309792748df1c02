/* fault_memory: the wrapped allocators, and the decision. Thread: any. */
#include "tests/support/fault_memory.h"

#include <errno.h>
#include <execinfo.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "schemas/base/check.h"

enum {
    FRAMES_MAX = 10, // that tell one path from another
    FRAMES_OWN = 2,  // the wrapper and should_fail
    PATHS_MAX = 4096,
    LAST_MAX = 4, // failures that can be printed
};

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *memory, size_t size);
char *__real_strdup(const char *text);
char *__real_strndup(const char *text, size_t size);
void *__real_aligned_alloc(size_t alignment, size_t size);
int __real_posix_memalign(void **memory, size_t alignment, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *memory, size_t size);
char *__wrap_strdup(const char *text);
char *__wrap_strndup(const char *text, size_t size);
void *__wrap_aligned_alloc(size_t alignment, size_t size);
int __wrap_posix_memalign(void **memory, size_t alignment, size_t size);

struct path {
    int depth;
    void *frames[FRAMES_MAX];
};

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static bool is_sweeping;
static size_t starve_skip, starve_count;
static struct path paths[PATHS_MAX]; // that failed
static size_t paths_count;
static struct path last[LAST_MAX];
static size_t failed;
static _Thread_local bool is_exempt;

void fault_exempt_thread(void)
{
    is_exempt = true;
}

bool fault_set_exempt(bool exempt)
{
    bool was_exempt = is_exempt;
    is_exempt = exempt;
    return was_exempt;
}

bool fault_is_exempt(void)
{
    return is_exempt;
}

/* Whether the path is a new one. */
static bool learn(const struct path *path)
{
    for (size_t i = 0; i < paths_count; i++) {
        if (memcmp(&paths[i], path, sizeof *path) == 0) {
            return false;
        }
    }
    CHECK(paths_count < PATHS_MAX);
    paths[paths_count++] = *path;
    return true;
}

static bool is_starved(void)
{
    if (starve_skip > 0) {
        starve_skip--;
        return false;
    }
    starve_count -= starve_count > 0 ? 1 : 0;
    return starve_count > 0;
}

static bool decide(const struct path *path)
{
    CHECK(pthread_mutex_lock(&mutex) == 0);
    bool fails = (is_sweeping && learn(path)) || is_starved();
    if (fails) {
        last[failed++ % LAST_MAX] = *path;
    }
    CHECK(pthread_mutex_unlock(&mutex) == 0);
    return fails;
}

/* Not inlined: its frame is one of FRAMES_OWN. */
__attribute__((noinline)) static bool should_fail(void)
{
    if (is_exempt || (!is_sweeping && starve_count == 0)) {
        return false;
    }
    is_exempt = true; // what the unwinder allocates is not ours
    void *frames[FRAMES_MAX + FRAMES_OWN];
    int depth = backtrace(frames, FRAMES_MAX + FRAMES_OWN);
    is_exempt = false;
    struct path path = {.depth = depth > FRAMES_OWN ? depth - FRAMES_OWN : 0};
    memcpy(path.frames, frames + FRAMES_OWN, (size_t)path.depth * sizeof frames[0]);
    return decide(&path);
}

static void set(bool sweeps, size_t skip, size_t count)
{
    CHECK(pthread_mutex_lock(&mutex) == 0);
    is_sweeping = sweeps;
    starve_skip = skip;
    starve_count = count;
    CHECK(pthread_mutex_unlock(&mutex) == 0);
}

void fault_memory_sweep(void)
{
    set(true, 0, 0);
}

void fault_memory_starve(size_t skip, size_t count)
{
    set(false, skip, count + 1);
}

void fault_memory_stop(void)
{
    set(false, 0, 0);
}

void fault_memory_forget(void)
{
    CHECK(pthread_mutex_lock(&mutex) == 0);
    paths_count = 0;
    failed = 0;
    CHECK(pthread_mutex_unlock(&mutex) == 0);
}

size_t fault_memory_failed(void)
{
    CHECK(pthread_mutex_lock(&mutex) == 0);
    size_t count = failed;
    CHECK(pthread_mutex_unlock(&mutex) == 0);
    return count;
}

size_t fault_memory_paths(void)
{
    CHECK(pthread_mutex_lock(&mutex) == 0);
    size_t count = paths_count;
    CHECK(pthread_mutex_unlock(&mutex) == 0);
    return count;
}

void fault_memory_print(void)
{
    for (size_t i = 0; i < LAST_MAX && i < failed; i++) {
        const struct path *path = &last[(failed - 1 - i) % LAST_MAX];
        backtrace_symbols_fd(path->frames, path->depth, STDERR_FILENO);
        (void)!write(STDERR_FILENO, "\n", 1);
    }
}

void *fault_memory_alloc(size_t size)
{
    void *memory = __real_malloc(size);
    CHECK(memory != NULL);
    return memory;
}

char *fault_memory_copy(const char *text)
{
    size_t size = strlen(text) + 1;
    return memcpy(fault_memory_alloc(size), text, size);
}

void *__wrap_malloc(size_t size)
{
    return should_fail() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
    return should_fail() ? NULL : __real_calloc(count, size);
}

void *__wrap_realloc(void *memory, size_t size)
{
    return should_fail() ? NULL : __real_realloc(memory, size);
}

char *__wrap_strdup(const char *text)
{
    return should_fail() ? NULL : __real_strdup(text);
}

char *__wrap_strndup(const char *text, size_t size)
{
    return should_fail() ? NULL : __real_strndup(text, size);
}

void *__wrap_aligned_alloc(size_t alignment, size_t size)
{
    return should_fail() ? NULL : __real_aligned_alloc(alignment, size);
}

int __wrap_posix_memalign(void **memory, size_t alignment, size_t size)
{
    return should_fail() ? ENOMEM : __real_posix_memalign(memory, alignment, size);
}
