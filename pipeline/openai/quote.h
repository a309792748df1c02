/* quote: a JSON string of any bytes, for bodies that are written piece by piece. Thread: any. */
#ifndef PIPELINE_OPENAI_QUOTE_H
#define PIPELINE_OPENAI_QUOTE_H

#include "schemas/base/buffer.h"

/* Appends `text` in quotes. What is not UTF-8 becomes U+FFFD, one for each maximal part of a
 * character, as the Unicode standard recommends and Python does. */
void quote_json(struct buffer *out, struct bytes text);
/* The same without the quotes, for what goes on inside a string. */
void escape_json(struct buffer *out, struct bytes text);

#endif
