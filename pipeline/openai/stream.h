/* stream: an OpenAI answer that came as server-sent events, put together to what it would have been
 * without a stream.
 *
 * Each event is a chunk with deltas; texts are joined, tool calls by their index, log probabilities
 * appended, the last usage kept. The stream must have come to its end: [DONE], or a finish_reason
 * for each choice. Thread: any, no state.
 */
#ifndef PIPELINE_OPENAI_STREAM_H
#define PIPELINE_OPENAI_STREAM_H

#include <stdbool.h>
#include <stddef.h>

#include "schemas/base/buffer.h"
#include "schemas/base/error.h"

/* Whether an answer is a stream rather than one JSON value. */
bool openai_stream_is(struct bytes answer);

/* Appends the response to `out`. *first_size_out: the bytes up to the end of the event with the
 * first token, 0 when there is none. */
MUST_CHECK bool openai_stream_join(struct bytes stream, struct buffer *out, size_t *first_size_out,
                                   struct error *error);

#endif
