/* bytes: a pointer and a length, borrowed from whoever owns the memory. Not NUL-terminated. */
#ifndef SCHEMAS_BASE_BYTES_H
#define SCHEMAS_BASE_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

struct bytes {
    const char *data; // NULL means absent; an empty value has data and size 0
    size_t size;
};

static inline struct bytes bytes_of(const char *text)
{
    return (struct bytes){text, text == NULL ? 0 : strlen(text)};
}

static inline bool bytes_equal(struct bytes a, struct bytes b)
{
    return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

static inline bool bytes_equal_text(struct bytes a, const char *text)
{
    return bytes_equal(a, bytes_of(text));
}

#endif
