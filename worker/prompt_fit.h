/* prompt_fit: whether a request fits a model's context, from the model's folder alone. For
 * `produce`, before anything is sent. Thread: one at a time. */
#ifndef WORKER_PROMPT_FIT_H
#define WORKER_PROMPT_FIT_H

#include <stdint.h>

#include "schemas/base/error.h"
#include "schemas/base/records.h"

struct prompt_fit;

/* `folder` has config.json, tokenizer.json and, for chats, a template. */
MUST_CHECK bool prompt_fit_open(const char *folder, struct prompt_fit **fit_out,
                                struct error *error);
void prompt_fit_close(struct prompt_fit *fit); // accepts NULL

/* False with *error when the prompt and max_tokens are longer than the context, or the request is
 * one that the worker would refuse. */
MUST_CHECK bool prompt_fit_check(struct prompt_fit *fit, const struct inference_request *request,
                                 struct error *error);

#endif
