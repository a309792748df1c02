/* text: UTF-8, and JSON's strings. Thread: any. */
#ifndef SCHEMAS_RECORDS_TEXT_H
#define SCHEMAS_RECORDS_TEXT_H

#include "schemas/base/arena.h"
#include "schemas/base/buffer.h"
#include "schemas/base/bytes.h"

bool text_is_utf8(struct bytes text);

/* The first byte at or after `at` that a JSON string cannot hold plainly or that is not ASCII. */
const unsigned char *text_skip_plain(const unsigned char *at, const unsigned char *end);

/* What a JSON string says, given what stands between its quotes (already scanned: grammar and UTF-8
 * are right). Borrowed from `quoted` where it has no escapes, otherwise in the arena. False for
 * half a surrogate pair, which no UTF-8 can hold, and when the arena is full (.data NULL then). */
bool text_unescape(struct bytes quoted, struct arena *arena, struct bytes *text_out);

/* Appends `text` (valid UTF-8) as a JSON string with its quotes. */
void text_append_quoted(struct buffer *buffer, struct bytes text);

#endif
