/* request: one OpenAI request body, parsed and checked against the API's own rules.
 *
 * What depends on the model (its context, its template) is checked by the generator later. Every
 * refusal names the parameter and the limit; unknown and unsupported parameters are refused, never
 * ignored. Thread: the owner of the job.
 */
#ifndef PIPELINE_OPENAI_REQUEST_H
#define PIPELINE_OPENAI_REQUEST_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "schemas/base/arena.h"
#include "schemas/base/bytes.h"
#include "schemas/base/error.h"

enum openai_endpoint { ENDPOINT_NONE, ENDPOINT_CHAT, ENDPOINT_COMPLETIONS, ENDPOINT_EMBEDDINGS };

/* What tells endpoints apart beside their parameters: one row each, in request.c. */
struct openai_endpoint_traits {
    const char *url;
    const char *input;     // the parameter that is required beside model
    int max_tokens;        // default; 0: as many as the context allows
    const char *id_prefix; // of its responses
    const char *object;    // likewise
};

enum {
    OPENAI_STOPS_MAX = 16,    // OpenAI takes 4
    OPENAI_CHOICES_MAX = 128, // prompts * n
    OPENAI_INPUTS_MAX = 2048, // of an embeddings request; more than choices
};

struct openai_prompt {
    struct bytes text;  // .data NULL when ids are given
    const int32_t *ids; // [ids_count] in the arena
    int ids_count;
};

struct openai_request {
    enum openai_endpoint endpoint;
    json_t *root; // owned; the members below borrow from it or from the arena
    struct bytes model;

    /* Chat: a non-empty array, checked and made plain for templates: content is a string (text
     * parts are joined by a line feed) or, beside tool_calls, null or absent; developer became
     * system. */
    const json_t *messages;
    json_t *tools;                 // a non-empty array of functions as they came, or NULL
    json_t *response_format;       // as it came, or NULL
    bool hides_tools;              // tool_choice is none
    struct openai_prompt *prompts; // completions and embeddings: [prompts_count]
    int prompts_count;             // 1 for a chat

    int n;          // choices per prompt
    int max_tokens; // 0: as many as the context allows
    // Without its flag a member is OpenAI's default, which gives way to the model's own.
    bool has_temperature, has_top_p, has_top_k, has_min_p, has_repetition_penalty, has_seed;
    double temperature;
    double top_p;
    int top_k;
    double min_p;
    double frequency_penalty;
    double presence_penalty;
    double repetition_penalty; // 1 = none
    uint64_t seed;
    struct bytes stops[OPENAI_STOPS_MAX];
    int stops_count;
    bool ignore_eos; // as vLLM has it, for measuring
    bool wants_logprobs;
    bool wants_echo; // completions

    bool wants_base64; // embeddings, as are the numbers of a vector: 0: all
    int dimensions;
};

/* "/v1/chat/completions" and so on; ENDPOINT_NONE when unknown. */
enum openai_endpoint openai_endpoint_of(struct bytes url);
const struct openai_endpoint_traits *openai_endpoint_traits(enum openai_endpoint endpoint);
/* Sets the error of a URL that is none of these. Returns false. */
bool openai_unknown_url(struct bytes url, struct error *error);

/* Parses `body` only as far as it must be to know who answers: root and model. *request is filled
 * also on failure as far as it came; close it in both cases. */
MUST_CHECK bool openai_request_open(enum openai_endpoint endpoint, struct bytes body,
                                    struct openai_request *request, struct error *error);
/* The rest of an opened request. */
MUST_CHECK bool openai_request_check(size_t body_bytes, struct arena *arena,
                                     struct openai_request *request, struct error *error);
/* Both. */
MUST_CHECK bool openai_request_parse(enum openai_endpoint endpoint, struct bytes body,
                                     struct arena *arena, struct openai_request *request,
                                     struct error *error);
/* What a chat template is rendered with, as transformers passes it; the caller's. NULL: out of
 * memory. */
json_t *openai_template_variables(const struct openai_request *request);
void openai_request_close(struct openai_request *request);

#endif
