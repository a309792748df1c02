/* response: the OpenAI response and error bodies, composed as bytes. Thread: any. */
#ifndef PIPELINE_OPENAI_RESPONSE_H
#define PIPELINE_OPENAI_RESPONSE_H

#include "pipeline/openai/request.h"
#include "schemas/base/buffer.h"
#include "schemas/base/error.h"
#include "schemas/base/records.h"

struct openai_token_logprob {
    struct bytes token; // its bytes, perhaps not whole UTF-8 alone
    double logprob;
};

struct openai_choice {
    struct bytes text;
    const char *finish_reason;                   // "stop" or "length"
    const struct openai_token_logprob *logprobs; // NULL: none wanted
    int logprobs_count;
};

struct openai_response {
    enum openai_endpoint endpoint;
    struct bytes id;          // without prefix; "chatcmpl-" or "cmpl-" is added
    int64_t created;          // Unix seconds
    struct bytes model;       // the public name that was asked for
    struct bytes fingerprint; // system_fingerprint: what answered; left out when absent
    const struct openai_choice *choices;
    int choices_count;
    struct usage usage;
};

/* A whole chat.completion or text_completion object. Failure is sticky in `out`. */
void openai_response_write(const struct openai_response *response, struct buffer *out);
/* The vectors of an embeddings request, in the order of its inputs. */
struct openai_embeddings {
    struct bytes model;
    const float *const *vectors; // [count], [width]
    int count;
    int width;
    bool is_base64; // of the f32, little-endian; else an array of numbers
    struct usage usage;
};

/* A whole list of embedding objects. Failure is sticky in `out`. */
void openai_embeddings_write(const struct openai_embeddings *embeddings, struct buffer *out);
/* {"error": {"message", "type", "param", "code"}} */
void openai_error_write(const struct error *error, struct buffer *out);

#endif
