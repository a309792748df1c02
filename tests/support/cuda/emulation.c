/* emulation: blocks of fibers. */
#include "tests/support/cuda/emulation.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/random.h"
#include "tests/support/cuda/fiber.h"

enum {
    THREADS_MAX = 1024,
    WARP = 32,
    STACK_BYTES = 128 << 10, // the sanitizers' frames are large
    SHARED_MAX = 227 << 10,  // of a block on sm_90
    GRID_YZ_MAX = 65535,
    VARIABLES_MAX = 16,
    COPIES_MAX = 1024, // that a thread has under way
};

enum state { READY, AT_BARRIER, IN_WARP, DONE };

struct copy {
    void *target;
    const void *source;
    size_t bytes;
    size_t valid; // the rest is zeros
    int group;
};

struct thread {
    struct fiber *fiber;
    enum state state;
    struct emulation_call *call; // IN_WARP
    struct copy *copies;         // [COPIES_MAX], made at the first
    int copies_count;
    int groups; // committed
};

struct variable {
    const void *key;
    void *memory;
};

static struct {
    enum emulation_order order;
    uint64_t random;
    struct thread threads[THREADS_MAX];
    int threads_count;
    int thread; // that runs
    int at_barrier;
    const char *barrier_file;
    int barrier_line;
    char *shared;
    struct variable variables[VARIABLES_MAX];
    int variables_count;
    void (*kernel)(const void *args);
    const void *args;
    bool has_failed;
    char message[512];
} emulation = {.random = 1};

struct emulation_place emulation_here;

void emulation_set_order(enum emulation_order order, uint64_t seed)
{
    emulation.order = order;
    emulation.random = seed;
}

const char *emulation_message(void)
{
    return emulation.message;
}

static void set_message(const char *format, va_list list)
{
    struct emulation_dim block = emulation_here.block;
    int length = snprintf(emulation.message, sizeof(emulation.message),
                          "block (%u, %u, %u): ", block.x, block.y, block.z);
    (void)vsnprintf(emulation.message + length, sizeof(emulation.message) - (size_t)length, format,
                    list);
    emulation.has_failed = true;
}

void emulation_fail(const char *format, ...)
{
    va_list list;
    va_start(list, format);
    set_message(format, list);
    va_end(list);
    fiber_yield();
    abort(); // the scheduler does not come back to a failed launch
}

/* As emulation_fail, from the scheduler. */
__attribute__((format(printf, 1, 2))) static void report(const char *format, ...)
{
    va_list list;
    va_start(list, format);
    set_message(format, list);
    va_end(list);
}

/* splitmix64 */
static uint64_t next_random(void)
{
    uint64_t x = random_mix(emulation.random);
    emulation.random += 0x9e3779b97f4a7c15u;
    return x;
}

/* indices = 0..count in the launch's order. */
static void put_in_order(unsigned *indices, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        indices[i] = emulation.order == EMULATION_REVERSE ? count - 1 - i : i;
    }
    for (unsigned i = count; emulation.order == EMULATION_RANDOM && i > 1; i--) {
        unsigned other = (unsigned)(next_random() % i);
        unsigned kept = indices[i - 1];
        indices[i - 1] = indices[other];
        indices[other] = kept;
    }
}

static struct thread *running(void)
{
    return &emulation.threads[emulation.thread];
}

static void wait_in(enum state state)
{
    running()->state = state;
    fiber_yield();
}

void emulation_check_threads(unsigned threads_max)
{
    if ((unsigned)emulation.threads_count > threads_max) {
        emulation_fail("%d threads, but the kernel's launch bound is %u", emulation.threads_count,
                       threads_max);
    }
}

void emulation_barrier(const char *file, int line)
{
    if (emulation.at_barrier > 0 &&
        (line != emulation.barrier_line || file != emulation.barrier_file)) {
        emulation_fail("thread %d comes to the barrier at %s:%d while others wait at %s:%d",
                       emulation.thread, file, line, emulation.barrier_file,
                       emulation.barrier_line);
    }
    emulation.barrier_file = file;
    emulation.barrier_line = line;
    emulation.at_barrier++;
    if (emulation.at_barrier < emulation.threads_count) {
        wait_in(AT_BARRIER);
        return;
    }
    emulation.at_barrier = 0;
    for (int i = 0; i < emulation.threads_count; i++) {
        emulation.threads[i].state = READY;
    }
    wait_in(READY); // so that the next stretch begins in the launch's order
}

char *emulation_shared(void)
{
    return emulation.shared;
}

static void *shared_open(size_t bytes)
{
    void *memory = NULL;
    if (posix_memalign(&memory, 128, bytes > 0 ? bytes : 1) != 0) {
        abort();
    }
    memset(memory, 0xff, bytes); // NaN in every floating-point format
    return memory;
}

void *emulation_variable(const void *key, size_t bytes)
{
    for (int i = 0; i < emulation.variables_count; i++) {
        if (emulation.variables[i].key == key) {
            return emulation.variables[i].memory;
        }
    }
    if (emulation.variables_count == VARIABLES_MAX) {
        emulation_fail("more than %d variables in shared memory", VARIABLES_MAX);
    }
    struct variable *variable = &emulation.variables[emulation.variables_count++];
    variable->key = key;
    variable->memory = shared_open(bytes);
    return variable->memory;
}

static bool is_same_call(const struct emulation_call *a, const struct emulation_call *b)
{
    return a->operate == b->operate && a->mask == b->mask && a->line == b->line &&
           a->file == b->file;
}

void emulation_collective(struct emulation_call *call)
{
    int first = emulation.thread / WARP * WARP;
    struct emulation_call *lanes[WARP] = {NULL};
    if ((call->mask >> (emulation.thread % WARP) & 1u) == 0) {
        emulation_fail("thread %d is not in the mask %#x of its warp operation at %s:%d",
                       emulation.thread, call->mask, call->file, call->line);
    }
    running()->call = call;
    bool is_last = true;
    for (int lane = 0; lane < WARP; lane++) {
        struct thread *thread = &emulation.threads[first + lane];
        bool is_here = thread->state == IN_WARP || thread == running();
        if ((call->mask >> lane & 1u) == 0) {
            continue;
        }
        if (is_here && !is_same_call(call, thread->call)) {
            emulation_fail("lanes of a warp meet in different operations: %s:%d (mask %#x) and "
                           "%s:%d (mask %#x)",
                           call->file, call->line, call->mask, thread->call->file,
                           thread->call->line, thread->call->mask);
        }
        is_last = is_last && is_here;
        lanes[lane] = thread->call;
    }
    if (!is_last) {
        wait_in(IN_WARP);
        return;
    }
    call->operate(lanes, call->mask);
    for (int lane = 0; lane < WARP; lane++) {
        if ((call->mask >> lane & 1u) != 0) {
            emulation.threads[first + lane].state = READY;
        }
    }
}

void emulation_copy_async(void *target, const void *source, size_t bytes, size_t valid)
{
    struct thread *thread = running();
    if ((uintptr_t)target % bytes != 0 || (uintptr_t)source % bytes != 0 || valid > bytes) {
        emulation_fail("a copy of %zu bytes that is not aligned to them", bytes);
    }
    if (thread->copies == NULL) {
        thread->copies = calloc(COPIES_MAX, sizeof(*thread->copies));
    }
    if (thread->copies == NULL || thread->copies_count == COPIES_MAX) {
        emulation_fail("more than %d copies under way in a thread", COPIES_MAX);
    }
    memset(target, 0xff, bytes);
    thread->copies[thread->copies_count++] =
        (struct copy){target, source, bytes, valid, thread->groups};
}

void emulation_copy_commit(void)
{
    running()->groups++;
}

void emulation_copy_wait(int groups_left)
{
    struct thread *thread = running();
    int kept = 0;
    for (int i = 0; i < thread->copies_count; i++) {
        struct copy copy = thread->copies[i];
        if (copy.group >= thread->groups - groups_left) {
            thread->copies[kept++] = copy;
            continue;
        }
        memset(copy.target, 0, copy.bytes);
        if (copy.valid > 0) {
            memcpy(copy.target, copy.source, copy.valid);
        }
    }
    thread->copies_count = kept;
}

static void run_thread(void *context)
{
    struct thread *thread = context;
    emulation.kernel(emulation.args);
    if (thread->copies_count > 0) {
        emulation_fail("thread %d returns with asynchronous copies under way", emulation.thread);
    }
    thread->state = DONE;
}

static void resume(unsigned index)
{
    unsigned width = emulation_here.block_dim.x;
    unsigned height = emulation_here.block_dim.y;
    emulation.thread = (int)index;
    emulation_here.thread =
        (struct emulation_dim){index % width, index / width % height, index / width / height};
    fiber_resume(emulation.threads[index].fiber);
}

static void report_standstill(void)
{
    static const char *const places[] = {[READY] = "runs",
                                         [AT_BARRIER] = "waits at the barrier",
                                         [IN_WARP] = "waits for its warp",
                                         [DONE] = "has returned"};
    int waiting = 0;
    while (emulation.threads[waiting].state == DONE) {
        waiting++;
    }
    int other = 0;
    while (other + 1 < emulation.threads_count &&
           emulation.threads[other].state == emulation.threads[waiting].state) {
        other++;
    }
    const struct thread *thread = &emulation.threads[waiting];
    bool is_barrier = thread->state == AT_BARRIER;
    report("thread %d %s at %s:%d for ever: thread %d %s", waiting, places[thread->state],
           is_barrier ? emulation.barrier_file : thread->call->file,
           is_barrier ? emulation.barrier_line : thread->call->line, other,
           places[emulation.threads[other].state]);
}

/* Runs the threads of one block to their end, in turns. */
static void run_threads(void)
{
    unsigned order[THREADS_MAX];
    int done = 0;
    while (done < emulation.threads_count) {
        bool has_moved = false;
        put_in_order(order, (unsigned)emulation.threads_count);
        for (int i = 0; i < emulation.threads_count; i++) {
            struct thread *thread = &emulation.threads[order[i]];
            if (thread->state != READY) {
                continue;
            }
            resume(order[i]);
            if (emulation.has_failed) {
                return;
            }
            has_moved = true;
            done += thread->state == DONE;
        }
        if (!has_moved) {
            report_standstill();
            return;
        }
    }
}

static void run_block(unsigned index, size_t shared_bytes)
{
    struct emulation_dim grid = emulation_here.grid_dim;
    emulation_here.block =
        (struct emulation_dim){index % grid.x, index / grid.x % grid.y, index / grid.x / grid.y};
    emulation.shared = shared_open(shared_bytes);
    emulation.at_barrier = 0;
    for (int i = 0; i < emulation.threads_count; i++) {
        struct thread *thread = &emulation.threads[i];
        thread->state = READY;
        thread->copies_count = 0;
        thread->groups = 0;
        fiber_start(thread->fiber, run_thread, thread);
    }
    run_threads();
    for (int i = 0; i < emulation.variables_count; i++) {
        free(emulation.variables[i].memory);
    }
    emulation.variables_count = 0;
    free(emulation.shared);
}

static bool is_launchable(struct emulation_dim grid, struct emulation_dim block,
                          size_t shared_bytes)
{
    uint64_t threads = (uint64_t)block.x * block.y * block.z;
    uint64_t blocks = (uint64_t)grid.x * grid.y * grid.z;
    emulation_here.block = (struct emulation_dim){0};
    if (blocks == 0 || blocks > INT32_MAX || grid.y > GRID_YZ_MAX || grid.z > GRID_YZ_MAX) {
        report("a grid of (%u, %u, %u) blocks cannot be launched", grid.x, grid.y, grid.z);
        return false;
    }
    if (threads == 0 || threads > THREADS_MAX || threads % WARP != 0) {
        report("a block must have whole warps, at most %d threads, not %llu", THREADS_MAX,
               (unsigned long long)threads);
        return false;
    }
    if (shared_bytes > SHARED_MAX) {
        report("%zu bytes of shared memory; a block has %d", shared_bytes, SHARED_MAX);
        return false;
    }
    emulation.threads_count = (int)threads;
    return true;
}

bool emulation_launch(void (*kernel)(const void *args), struct emulation_dim grid,
                      struct emulation_dim block, size_t shared_bytes, const void *args)
{
    emulation.has_failed = false;
    if (!is_launchable(grid, block, shared_bytes)) {
        return false;
    }
    unsigned blocks = grid.x * grid.y * grid.z;
    unsigned *order = malloc(blocks * sizeof(*order));
    if (order == NULL) {
        report("no memory for the order of %u blocks", blocks);
        return false;
    }
    for (int i = 0; i < emulation.threads_count; i++) {
        if (emulation.threads[i].fiber == NULL) {
            emulation.threads[i].fiber = fiber_open(STACK_BYTES);
        }
    }
    put_in_order(order, blocks);
    emulation_here.grid_dim = grid;
    emulation_here.block_dim = block;
    emulation.kernel = kernel;
    emulation.args = args;
    for (unsigned i = 0; i < blocks && !emulation.has_failed; i++) {
        run_block(order[i], shared_bytes);
    }
    free(order);
    return !emulation.has_failed;
}
