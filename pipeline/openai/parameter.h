/* parameter: one row of the table of request parameters, and the readers of values (internal).
 *
 * A row says which endpoints know the parameter, how its value is read, and its limits. JSON null
 * is the same as absent for every parameter that is not required, as OpenAI has it.
 */
#ifndef PIPELINE_OPENAI_PARAMETER_H
#define PIPELINE_OPENAI_PARAMETER_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "pipeline/openai/request.h"
#include "schemas/base/arena.h"
#include "schemas/base/error.h"

/* What a parse knows beside the request itself. */
struct parse {
    struct openai_request *request;
    struct arena *arena;
    struct error *error;
    size_t body_bytes;
    int max_tokens; // as given, 0 = absent
    int max_completion_tokens;
};

struct parameter {
    const char *name;
    unsigned endpoints; // bits 1u << enum openai_endpoint
    bool (*read)(const struct parameter *parameter, json_t *value, struct parse *parse);

    // Where read_number, read_int and read_bool put the value; offsets in struct openai_request.
    size_t offset;
    size_t flag_offset; // of the has_ member; 0 = there is none
    double min, max;
    bool is_min_excluded;

    // read_harmless: values that change no answer are taken and dropped, others are refused.
    bool (*is_harmless)(const json_t *value);
    const char *limit; // what is taken, or why nothing is; ends the message
};

/* NULL when the endpoint has no parameter of this name. */
const struct parameter *parameter_find(enum openai_endpoint endpoint, const char *name);

/* Readers with a part of their own. */
bool read_messages(const struct parameter *parameter, json_t *value, struct parse *parse);
bool read_prompt(const struct parameter *parameter, json_t *value, struct parse *parse);
bool read_input(const struct parameter *parameter, json_t *value, struct parse *parse);
bool read_tools(const struct parameter *parameter, json_t *value, struct parse *parse);
bool read_tool_choice(const struct parameter *parameter, json_t *value, struct parse *parse);
bool read_stop(const struct parameter *parameter, json_t *value, struct parse *parse);

/* "a string", "null": what a value is, for messages. */
const char *type_phrase(const json_t *value);
/* Borrowed from a JSON string; NUL bytes inside are kept. */
struct bytes string_bytes(const json_t *string);
/* For when the arena is full. Returns false. */
bool parse_too_large(struct parse *parse, const char *name);

#endif
