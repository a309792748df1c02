/* parse_memory: jansson's allocator is a variable of the process. */
#include "pipeline/openai/parse_memory.h"

#include <jansson.h>
#include <stdlib.h>
#include <time.h>

#include "schemas/base/check.h"
#include "schemas/base/shortage.h"

enum { TRIES_MAX = 100 };
static const struct timespec nap = {.tv_nsec = 1000000}; // between them

static void *(*allocator)(size_t size) = malloc;

static void *allocate_watched(size_t size)
{
    void *memory = allocator(size);
    for (int tries = 1; memory == NULL && tries < TRIES_MAX; tries++) {
        shortage_note();
        (void)nanosleep(&nap, NULL);
        memory = allocator(size);
    }
    CHECK(memory != NULL);
    return memory;
}

void parse_memory_watch(void *(*allocate)(size_t size))
{
    allocator = allocate == NULL ? malloc : allocate;
    json_set_alloc_funcs(allocate_watched, free);
}
