/* sse: the events of a text/event-stream, as the WHATWG's HTML standard has them (9.2.6). Only
 * their data matter here. Thread: any. */
#ifndef PIPELINE_OPENAI_SSE_H
#define PIPELINE_OPENAI_SSE_H

#include <stdbool.h>
#include <stddef.h>

#include "schemas/base/buffer.h"

struct sse {
    struct bytes text;
    size_t at; // the end of the event that came last
};

struct sse sse_start(struct bytes text);
/* Puts the data of the next whole event into `data`, lines joined by a line feed. False at the end;
 * an event without the empty line that ends it does not count. */
bool sse_next(struct sse *sse, struct buffer *data);

#endif
