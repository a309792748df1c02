/* arena: the memory of one request, given back in one call.
 *
 * Grows in chunks up to a hard limit that its owner sets; past it `arena_alloc` returns NULL, which
 * for a record means "too large" (ERROR_TOO_LARGE), not an accident; shortage.h tells when it was
 * one after all. Nobody frees inside an arena.
 * An arena belongs to one thread at a time; ownership moves with the job.
 */
#ifndef SCHEMAS_BASE_ARENA_H
#define SCHEMAS_BASE_ARENA_H

#include <stddef.h>

#include "schemas/base/bytes.h"

struct arena;

/* NULL when the process is out of memory. `bytes_max` bounds the sum of all chunks. */
struct arena *arena_open(size_t bytes_max);
void arena_close(struct arena *arena); // accepts NULL

/* Zeroed memory aligned for any type, or NULL past the limit. `size` 0 gives a valid pointer. */
void *arena_alloc(struct arena *arena, size_t size);
/* As above for count * size, checked for overflow. */
void *arena_alloc_array(struct arena *arena, size_t count, size_t size);
/* A copy with a NUL after it; .data is NULL past the limit or where the source is absent. */
struct bytes arena_copy(struct arena *arena, struct bytes source);

/* Sum of the chunks, which is what the process holds for this arena. */
size_t arena_bytes(const struct arena *arena);

#endif
