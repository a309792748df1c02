/* arena: a list of chunks, each twice the last. */
#include "schemas/base/arena.h"

#include <stdint.h>
#include <stdlib.h>

#include "schemas/base/check.h"
#include "schemas/base/shortage.h"

enum { CHUNK_BYTES_MIN = 4096, ALIGNMENT = _Alignof(max_align_t) };

struct chunk {
    struct chunk *next; // the one filled before
    size_t size;        // of data
    size_t used;
    _Alignas(max_align_t) char data[];
};

struct arena {
    struct chunk *chunk; // the one being filled
    size_t bytes;        // sum over chunks, headers included
    size_t bytes_max;
};

struct arena *arena_open(size_t bytes_max)
{
    struct arena *arena = calloc(1, sizeof *arena);
    if (arena != NULL) {
        arena->bytes_max = bytes_max;
    }
    return arena;
}

void arena_close(struct arena *arena)
{
    if (arena == NULL) {
        return;
    }
    for (struct chunk *chunk = arena->chunk; chunk != NULL;) {
        struct chunk *next = chunk->next;
        free(chunk);
        chunk = next;
    }
    free(arena);
}

static struct chunk *chunk_add(struct arena *arena, size_t size)
{
    size_t wanted = arena->chunk == NULL ? CHUNK_BYTES_MIN : 2 * arena->chunk->size;
    size_t left = arena->bytes_max - arena->bytes;
    if (left < sizeof(struct chunk) || size > left - sizeof(struct chunk)) {
        return NULL;
    }
    if (wanted > left - sizeof(struct chunk)) {
        wanted = left - sizeof(struct chunk);
    }
    if (wanted < size) {
        wanted = size;
    }
    struct chunk *chunk = calloc(1, sizeof *chunk + wanted);
    if (chunk == NULL) {
        shortage_note();
        return NULL;
    }
    chunk->size = wanted;
    chunk->next = arena->chunk;
    arena->chunk = chunk;
    arena->bytes += sizeof *chunk + wanted;
    CHECK(arena->bytes <= arena->bytes_max);
    return chunk;
}

void *arena_alloc(struct arena *arena, size_t size)
{
    if (size > SIZE_MAX - ALIGNMENT) {
        return NULL;
    }
    size = (size + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    struct chunk *chunk = arena->chunk;
    if (chunk == NULL || chunk->size - chunk->used < size) {
        chunk = chunk_add(arena, size);
        if (chunk == NULL) {
            return NULL;
        }
    }
    void *memory = chunk->data + chunk->used;
    chunk->used += size;
    return memory;
}

void *arena_alloc_array(struct arena *arena, size_t count, size_t size)
{
    if (size != 0 && count > SIZE_MAX / size) {
        return NULL;
    }
    return arena_alloc(arena, count * size);
}

struct bytes arena_copy(struct arena *arena, struct bytes source)
{
    if (source.data == NULL || source.size == SIZE_MAX) {
        return (struct bytes){NULL, 0};
    }
    char *copy = arena_alloc(arena, source.size + 1);
    if (copy == NULL) {
        return (struct bytes){NULL, 0};
    }
    memcpy(copy, source.data, source.size);
    return (struct bytes){copy, source.size};
}

size_t arena_bytes(const struct arena *arena)
{
    return arena->bytes;
}
