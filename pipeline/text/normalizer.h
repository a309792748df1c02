/* normalizer: the changes that a tokenizer.json makes to text before it is split: Unicode forms,
 * letter case, accents, Prepend, Replace, Strip, in sequence. Immutable after open.
 */
#ifndef PIPELINE_TEXT_NORMALIZER_H
#define PIPELINE_TEXT_NORMALIZER_H

#include <jansson.h>
#include <stdbool.h>

#include "pipeline/text/pattern.h"
#include "schemas/base/buffer.h"
#include "schemas/base/bytes.h"
#include "schemas/base/error.h"

struct normalizer;

/* `json` is the value of "normalizer": an object, or null or NULL for none. */
MUST_CHECK bool normalizer_open(const json_t *json, struct normalizer **normalizer_out,
                                struct error *error);
void normalizer_close(struct normalizer *normalizer); // accepts NULL

/* Normalizes valid UTF-8. The result is `text` itself where nothing changes, else it lies in one of
 * the two buffers, which the caller gives empty or used. */
MUST_CHECK bool normalizer_run(const struct normalizer *normalizer, struct pattern_scratch *scratch,
                               struct buffer buffers[2], struct bytes *text, struct error *error);

#endif
