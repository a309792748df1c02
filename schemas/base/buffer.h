/* buffer: bytes that grow up to a mandatory maximum.
 *
 * Failure (the maximum passed, or out of memory) is sticky: later appends do nothing, so a writer
 * may append freely and ask once at the end with `buffer_failed`. Belongs to one thread at a time.
 */
#ifndef SCHEMAS_BASE_BUFFER_H
#define SCHEMAS_BASE_BUFFER_H

#include <stdbool.h>
#include <stddef.h>

#include "schemas/base/bytes.h"

struct buffer {
    char *data; // NULL while empty; always followed by a NUL once something was appended
    size_t size;
    size_t capacity;
    size_t size_max;
    bool has_failed;
};

void buffer_init(struct buffer *buffer, size_t size_max);
void buffer_close(struct buffer *buffer); // frees; only buffer_init may follow
void buffer_clear(struct buffer *buffer); // size 0 and no failure; keeps the memory

void buffer_append(struct buffer *buffer, const void *data, size_t size);
void buffer_append_bytes(struct buffer *buffer, struct bytes bytes);
void buffer_append_text(struct buffer *buffer, const char *text);
void buffer_append_char(struct buffer *buffer, char c);
void buffer_printf(struct buffer *buffer, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* Appends `size` bytes, all 0, for the caller to overwrite; NULL on failure. Borrowed until the
 * next append or close. */
char *buffer_extend(struct buffer *buffer, size_t size);
/* Cuts back to `size`, which must not be more than the present size. */
void buffer_truncate(struct buffer *buffer, size_t size);

static inline bool buffer_failed(const struct buffer *buffer)
{
    return buffer->has_failed;
}

/* Borrowed until the next append or close. Never NULL data. */
static inline struct bytes buffer_bytes(const struct buffer *buffer)
{
    return (struct bytes){buffer->data == NULL ? "" : buffer->data, buffer->size};
}

#endif
