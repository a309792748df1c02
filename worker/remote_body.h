/* remote_body: from the body that a record brought to the one that an endpoint gets.
 *
 * The bytes of every member stay as the caller wrote them; only what must differ is put in or left
 * out, and listed. Thread: any.
 */
#ifndef WORKER_REMOTE_BODY_H
#define WORKER_REMOTE_BODY_H

#include "pipeline/openai/request.h"
#include "schemas/base/arena.h"
#include "schemas/base/error.h"
#include "schemas/base/records.h"

/* The name under which a chat endpoint wants the limit of tokens. */
enum remote_max_tokens { REMOTE_MAX_TOKENS_AS_IS, REMOTE_MAX_TOKENS, REMOTE_MAX_COMPLETION_TOKENS };

struct remote_body_options {
    const char *model; // what the endpoint calls it
    enum remote_max_tokens max_tokens;
    bool streams; // asks for a stream with usage
};

struct remote_body {
    struct bytes bytes;
    struct bytes prompt; // the part that a prefix cache would know again, within bytes
    struct names changed, dropped;
};

/* `source` is a JSON object; memory from the arena. */
MUST_CHECK bool remote_body_make(struct bytes source, enum openai_endpoint endpoint,
                                 const struct remote_body_options *options, struct arena *arena,
                                 struct remote_body *body_out, struct error *error);

#endif
