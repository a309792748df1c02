/* buffer: doubling growth with a hard maximum. */
#include "schemas/base/buffer.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "schemas/base/check.h"
#include "schemas/base/shortage.h"

enum { CAPACITY_MIN = 256 };

void buffer_init(struct buffer *buffer, size_t size_max)
{
    *buffer = (struct buffer){.size_max = size_max};
}

void buffer_close(struct buffer *buffer)
{
    free(buffer->data);
    buffer_init(buffer, buffer->size_max);
}

void buffer_clear(struct buffer *buffer)
{
    buffer->size = 0;
    buffer->has_failed = false;
}

/* Makes room for `size` more bytes and a NUL. */
static bool reserve(struct buffer *buffer, size_t size)
{
    if (buffer->has_failed || size > buffer->size_max - buffer->size) {
        buffer->has_failed = true;
        return false;
    }
    size_t needed = buffer->size + size + 1;
    if (needed <= buffer->capacity) {
        return true;
    }
    size_t capacity = buffer->capacity < CAPACITY_MIN ? CAPACITY_MIN : 2 * buffer->capacity;
    capacity = capacity < needed ? needed : capacity;
    char *data = realloc(buffer->data, capacity);
    if (data == NULL) {
        shortage_note();
        buffer->has_failed = true;
        return false;
    }
    buffer->data = data;
    buffer->capacity = capacity;
    return true;
}

void buffer_append(struct buffer *buffer, const void *data, size_t size)
{
    if (!reserve(buffer, size)) {
        return;
    }
    if (size > 0) {
        memcpy(buffer->data + buffer->size, data, size);
    }
    buffer->size += size;
    buffer->data[buffer->size] = '\0';
}

void buffer_append_bytes(struct buffer *buffer, struct bytes bytes)
{
    buffer_append(buffer, bytes.data, bytes.size);
}

void buffer_append_text(struct buffer *buffer, const char *text)
{
    buffer_append(buffer, text, strlen(text));
}

void buffer_append_char(struct buffer *buffer, char c)
{
    buffer_append(buffer, &c, 1);
}

void buffer_printf(struct buffer *buffer, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    va_list again;
    va_copy(again, arguments);
    int length = vsnprintf(NULL, 0, format, arguments);
    va_end(arguments);
    if (length >= 0 && reserve(buffer, (size_t)length)) {
        (void)vsnprintf(buffer->data + buffer->size, (size_t)length + 1, format, again);
        buffer->size += (size_t)length;
    } else {
        buffer->has_failed = true;
    }
    va_end(again);
}

char *buffer_extend(struct buffer *buffer, size_t size)
{
    if (!reserve(buffer, size)) {
        return NULL;
    }
    char *start = buffer->data + buffer->size;
    memset(start, 0, size + 1);
    buffer->size += size;
    return start;
}

void buffer_truncate(struct buffer *buffer, size_t size)
{
    CHECK(size <= buffer->size);
    buffer->size = size;
    if (buffer->data != NULL) {
        buffer->data[size] = '\0';
    }
}
