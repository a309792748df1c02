/* chat_template: a model's chat template (Jinja2), from messages to prompt text.
 *
 * Renders as Hugging Face transformers does: an immutable sandbox, trim_blocks, lstrip_blocks, loop
 * controls, raise_exception, strftime_now and transformers' own tojson. Templates and messages are
 * untrusted: one render is bounded in steps, nesting, memory (jinja_run.h) and output.
 *
 * Immutable after opening and shared by all threads without a lock.
 */
#ifndef PIPELINE_TEXT_CHAT_TEMPLATE_H
#define PIPELINE_TEXT_CHAT_TEMPLATE_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "schemas/base/buffer.h"
#include "schemas/base/bytes.h"
#include "schemas/base/error.h"

struct chat_template;

/* The text of one template, without variables of its own. ERROR_CONFIG names the line at fault. */
bool chat_template_parse(struct bytes source, struct chat_template **out,
                         struct error *error) MUST_CHECK;

/* The template of a model folder: chat_template.jinja, or else `chat_template` of
 * tokenizer_config.json, which is one template or a list of {name, template} with "default" and
 * perhaps "tool_use". The special tokens of tokenizer_config.json become variables. ERROR_NOT_FOUND
 * where the model has no template. */
bool chat_template_open(const char *model_folder, struct chat_template **out,
                        struct error *error) MUST_CHECK;

void chat_template_close(struct chat_template *chat_template); // accepts NULL

/* Of the template's text: says which template made a prompt. */
uint64_t chat_template_hash(const struct chat_template *chat_template);

/* Whether its text mentions them. */
bool chat_template_takes_tools(const struct chat_template *chat_template);

/* Before the template is shared: what strftime_now tells in every render (Unix time, shown in UTC)
 * instead of the clock, so that equal requests have equal prompts. */
void chat_template_fix_time(struct chat_template *chat_template, int64_t unix_time_s);

/* Appends the prompt to `out`, whose maximum bounds it. `variables` is an object: messages,
 * add_generation_prompt, tools, and whatever else the template may want; it overrides the model's
 * special tokens. What transformers always passes (tools, documents, add_generation_prompt) is
 * none or false where it is absent. The "tool_use" template, if there is one, renders requests
 * with tools.
 *
 * Failure leaves the text in `out` as it was. ERROR_INVALID, param "messages": the template
 * refused the messages (the message is the template's own), or they lack what it needs.
 * ERROR_TOO_LARGE: the prompt is longer than `out` may be. */
bool chat_template_render(const struct chat_template *chat_template, const json_t *variables,
                          struct buffer *out, struct error *error) MUST_CHECK;

#endif
