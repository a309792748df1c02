/* omit: a request body without some of its parameters. Thread: any, no state. */
#ifndef PIPELINE_OPENAI_OMIT_H
#define PIPELINE_OPENAI_OMIT_H

#include "schemas/base/arena.h"
#include "schemas/base/error.h"
#include "schemas/base/records.h"

/* What means nothing where answers come whole, and nobody reads along. */
extern const struct names openai_streaming_parameters;

/* `names` are left out of the body; those that were there are in *omitted_out. A body without any
 * of them, or that is no JSON object, stays the bytes that it is. The rest is in the arena. */
MUST_CHECK bool openai_body_omit(struct bytes body, const struct names *names, struct arena *arena,
                                 struct bytes *body_out, struct names *omitted_out,
                                 struct error *error);

#endif
