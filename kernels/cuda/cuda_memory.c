/* cuda_memory: a list of holes, of which pieces take the first that is large enough. */
#include "kernels/cuda/cuda_memory.h"

#include <stdlib.h>
#include <string.h>

#include "schemas/base/check.h"

enum { UNIT = 256 };

struct hole {
    uint64_t address;
    size_t bytes;
};

struct cuda_memory {
    const struct cuda_driver *driver;
    bool is_exact;
    uint64_t base;
    size_t bytes;
    size_t left;
    struct hole *holes; // [holes_count], by address, no two of them touch
    size_t holes_count;
    size_t holes_capacity; // above the count of pieces, so that giving one back cannot fail
    size_t pieces_count;
};

int cuda_memory_open(const struct cuda_driver *driver, size_t bytes, bool is_exact,
                     struct cuda_memory **memory_out)
{
    enum { HOLES_FIRST = 64 };
    bytes = bytes / UNIT * UNIT;
    struct cuda_memory *memory = calloc(1, sizeof(*memory));
    struct hole *holes = calloc(HOLES_FIRST, sizeof(*holes));
    uint64_t base = 0;
    int result = memory == NULL || holes == NULL ? (int)CUDA_ERROR_OUT_OF_MEMORY
                 : is_exact                      ? (int)CUDA_OK
                                                 : driver->cuMemAlloc(&base, bytes);
    if (result != CUDA_OK) {
        free(memory);
        free(holes);
        return result;
    }
    holes[0] = (struct hole){base, bytes};
    *memory = (struct cuda_memory){
        .driver = driver,
        .is_exact = is_exact,
        .base = base,
        .bytes = bytes,
        .left = bytes,
        .holes = holes,
        .holes_count = 1,
        .holes_capacity = HOLES_FIRST,
    };
    *memory_out = memory;
    return CUDA_OK;
}

void cuda_memory_close(struct cuda_memory *memory)
{
    if (memory == NULL) {
        return;
    }
    if (!memory->is_exact) {
        (void)memory->driver->cuMemFree(memory->base);
    }
    free(memory->holes);
    free(memory);
}

static size_t rounded(size_t bytes)
{
    return bytes == 0 ? UNIT : (bytes + UNIT - 1) / UNIT * UNIT;
}

static void remove_hole(struct cuda_memory *memory, size_t index)
{
    memory->holes_count--;
    memmove(&memory->holes[index], &memory->holes[index + 1],
            (memory->holes_count - index) * sizeof(*memory->holes));
}

/* Between n pieces there are at most n + 1 holes. */
static bool reserve_holes(struct cuda_memory *memory)
{
    if (memory->pieces_count + 2 < memory->holes_capacity) {
        return true;
    }
    size_t capacity = memory->holes_capacity * 2;
    struct hole *holes = realloc(memory->holes, capacity * sizeof(*holes));
    if (holes == NULL) {
        return false;
    }
    memory->holes = holes;
    memory->holes_capacity = capacity;
    return true;
}

static bool take_hole(struct cuda_memory *memory, size_t bytes, uint64_t *address_out)
{
    for (size_t i = 0; i < memory->holes_count; i++) {
        struct hole *hole = &memory->holes[i];
        if (hole->bytes < bytes) {
            continue;
        }
        *address_out = hole->address;
        hole->address += bytes;
        hole->bytes -= bytes;
        if (hole->bytes == 0) {
            remove_hole(memory, i);
        }
        return true;
    }
    return false;
}

bool cuda_memory_take(struct cuda_memory *memory, size_t bytes, uint64_t *address_out)
{
    if (bytes > memory->left || rounded(bytes) > memory->left) {
        return false;
    }
    bool is_taken = memory->is_exact
                        ? memory->driver->cuMemAlloc(address_out, bytes) == CUDA_OK
                        : reserve_holes(memory) && take_hole(memory, rounded(bytes), address_out);
    if (is_taken) {
        memory->left -= rounded(bytes);
        memory->pieces_count++;
    }
    return is_taken;
}

static void add_hole(struct cuda_memory *memory, uint64_t address, size_t bytes)
{
    size_t at = 0;
    while (at < memory->holes_count && memory->holes[at].address < address) {
        at++;
    }
    CHECK(memory->holes_count < memory->holes_capacity);
    memmove(&memory->holes[at + 1], &memory->holes[at],
            (memory->holes_count - at) * sizeof(*memory->holes));
    memory->holes[at] = (struct hole){address, bytes};
    memory->holes_count++;
    if (at + 1 < memory->holes_count && address + bytes == memory->holes[at + 1].address) {
        memory->holes[at].bytes += memory->holes[at + 1].bytes;
        remove_hole(memory, at + 1);
    }
    if (at > 0 && memory->holes[at - 1].address + memory->holes[at - 1].bytes == address) {
        memory->holes[at - 1].bytes += memory->holes[at].bytes;
        remove_hole(memory, at);
    }
}

void cuda_memory_give(struct cuda_memory *memory, uint64_t address, size_t bytes)
{
    if (memory->is_exact) {
        (void)memory->driver->cuMemFree(address);
    } else {
        add_hole(memory, address, rounded(bytes));
    }
    memory->left += rounded(bytes);
    memory->pieces_count--;
}

size_t cuda_memory_bytes(const struct cuda_memory *memory)
{
    return memory->bytes;
}

size_t cuda_memory_left(const struct cuda_memory *memory)
{
    return memory->left;
}
