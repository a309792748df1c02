/* cursor: reads Avro's binary primitives from untrusted bytes and never past their end.
 *
 * A failed read sets `problem` (static text) and returns false; `at` then stays within the bytes.
 * `depth` and `steps_left` bound what the bytes can make a reader do: an array of nulls takes no
 * bytes at all, so the number of bytes left is no bound for it.
 */
#ifndef SCHEMAS_RECORDS_CURSOR_H
#define SCHEMAS_RECORDS_CURSOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "schemas/base/bytes.h"

struct cursor {
    const unsigned char *start;
    const unsigned char *at;
    const unsigned char *end;
    size_t steps_left; // items and fields that may still be read
    unsigned depth;
    const char *problem;
    const char *field; // where the problem is: the innermost field's name, static text
};

enum { CURSOR_DEPTH_MAX = 64, CURSOR_STEPS_MAX = 1 << 18 };

static inline struct cursor cursor_of(struct bytes bytes)
{
    const unsigned char *start = (const unsigned char *)bytes.data;
    return (struct cursor){
        .start = start, .at = start, .end = start + bytes.size, .steps_left = CURSOR_STEPS_MAX};
}

static inline size_t cursor_left(const struct cursor *cursor)
{
    return (size_t)(cursor->end - cursor->at);
}

static inline bool cursor_fail(struct cursor *cursor, const char *problem)
{
    cursor->problem = problem;
    return false;
}

static inline bool cursor_skip(struct cursor *cursor, size_t size)
{
    if (size > cursor_left(cursor)) {
        return cursor_fail(cursor, "the value ends inside a field");
    }
    cursor->at += size;
    return true;
}

/* Pays for `count` items or fields. */
static inline bool cursor_charge(struct cursor *cursor, size_t count)
{
    if (count > cursor->steps_left) {
        return cursor_fail(cursor, "the value has more than 262144 items and fields");
    }
    cursor->steps_left -= count;
    return true;
}

/* A zigzag varint of at most 10 bytes; the tenth holds the top bit only. */
bool cursor_long(struct cursor *cursor, int64_t *value_out);

/* A length and that many bytes, borrowed. */
bool cursor_bytes(struct cursor *cursor, struct bytes *value_out);

bool cursor_float(struct cursor *cursor, double *value_out);
bool cursor_double(struct cursor *cursor, double *value_out);
bool cursor_boolean(struct cursor *cursor, bool *value_out);

/* The head of the next block of an array or map; 0 items is the end. Charges for them. */
bool cursor_block(struct cursor *cursor, size_t *count_out);

#endif
