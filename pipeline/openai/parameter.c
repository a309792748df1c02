/* parameter: every parameter of the endpoints, in one table.
 *
 * What is not here is refused as unknown. What is here is read, or taken when its value is harmless
 * (changes no answer) and refused otherwise: a request is never answered as if it had asked for
 * less. The rows follow OpenAI's description of the API; the last ones are vLLM's.
 */
#include "pipeline/openai/parameter.h"

#include <limits.h>
#include <string.h>

#include "schemas/base/check.h"

enum { MODEL_BYTES_MAX = 256, TOKENS_MAX = INT_MAX };

static const char not_supported[] = "is not supported";

const char *type_phrase(const json_t *value)
{
    switch (json_typeof(value)) {
    case JSON_OBJECT:
        return "an object";
    case JSON_ARRAY:
        return "an array";
    case JSON_STRING:
        return "a string";
    case JSON_INTEGER:
        return "an integer";
    case JSON_REAL:
        return "a fractional number";
    case JSON_TRUE:
    case JSON_FALSE:
        return "a boolean";
    case JSON_NULL:
        return "null";
    }
    return "of an unknown type";
}

struct bytes string_bytes(const json_t *string)
{
    return (struct bytes){json_string_value(string), json_string_length(string)};
}

bool parse_too_large(struct parse *parse, const char *name)
{
    return error_set(parse->error, ERROR_TOO_LARGE, "request_too_large", name,
                     "%s does not fit the memory of one request (%zu bytes are in use)", name,
                     arena_bytes(parse->arena));
}

static bool wrong_type(const struct parameter *parameter, const json_t *value, struct parse *parse,
                       const char *wanted)
{
    return error_set(parse->error, ERROR_INVALID, "invalid_type", parameter->name,
                     "%s is %s, must be %s", parameter->name, type_phrase(value), wanted);
}

static void *member(const struct parse *parse, size_t offset)
{
    return (char *)parse->request + offset;
}

static void set_flag(const struct parameter *parameter, const struct parse *parse)
{
    if (parameter->flag_offset != 0) {
        *(bool *)member(parse, parameter->flag_offset) = true;
    }
}

static bool read_number(const struct parameter *parameter, json_t *value, struct parse *parse)
{
    if (!json_is_number(value)) {
        return wrong_type(parameter, value, parse, "a number");
    }
    double number = json_number_value(value);
    bool is_low = parameter->is_min_excluded ? number <= parameter->min : number < parameter->min;
    if (is_low || number > parameter->max) {
        return error_set(parse->error, ERROR_INVALID, "invalid_value", parameter->name,
                         "%s is %g, must be %s %g and at most %g", parameter->name, number,
                         parameter->is_min_excluded ? "over" : "at least", parameter->min,
                         parameter->max);
    }
    *(double *)member(parse, parameter->offset) = number;
    set_flag(parameter, parse);
    return true;
}

static bool take_int(const struct parameter *parameter, const json_t *value, struct parse *parse,
                     int *number_out)
{
    if (!json_is_integer(value)) {
        return wrong_type(parameter, value, parse, "an integer");
    }
    json_int_t number = json_integer_value(value);
    json_int_t min = (json_int_t)parameter->min;
    json_int_t max = (json_int_t)parameter->max;
    if (number < min || number > max) {
        return error_set(parse->error, ERROR_INVALID, "invalid_value", parameter->name,
                         "%s is %lld, must be from %lld to %lld", parameter->name,
                         (long long)number, (long long)min, (long long)max);
    }
    *number_out = (int)number;
    return true;
}

static bool read_int(const struct parameter *parameter, json_t *value, struct parse *parse)
{
    if (!take_int(parameter, value, parse, member(parse, parameter->offset))) {
        return false;
    }
    set_flag(parameter, parse);
    return true;
}

static bool read_bool(const struct parameter *parameter, json_t *value, struct parse *parse)
{
    if (!json_is_boolean(value)) {
        return wrong_type(parameter, value, parse, "a boolean");
    }
    *(bool *)member(parse, parameter->offset) = json_is_true(value);
    return true;
}

static bool read_model(const struct parameter *parameter, json_t *value, struct parse *parse)
{
    if (!json_is_string(value)) {
        return wrong_type(parameter, value, parse, "a string");
    }
    struct bytes model = string_bytes(value);
    if (model.size == 0 || model.size > MODEL_BYTES_MAX) {
        return error_set(parse->error, ERROR_INVALID, "invalid_value", "model",
                         "model has %zu bytes, must have 1 to %d", model.size, MODEL_BYTES_MAX);
    }
    parse->request->model = model;
    return true;
}

static bool read_max_tokens(const struct parameter *parameter, json_t *value, struct parse *parse)
{
    return take_int(parameter, value, parse, &parse->max_tokens);
}

static bool read_max_completion_tokens(const struct parameter *parameter, json_t *value,
                                       struct parse *parse)
{
    return take_int(parameter, value, parse, &parse->max_completion_tokens);
}

/* vLLM has -1 and 0 for "all tokens". */
static bool read_top_k(const struct parameter *parameter, json_t *value, struct parse *parse)
{
    if (!read_int(parameter, value, parse)) {
        return false;
    }
    parse->request->top_k = parse->request->top_k < 0 ? 0 : parse->request->top_k;
    return true;
}

static bool read_seed(const struct parameter *parameter, json_t *value, struct parse *parse)
{
    if (!json_is_integer(value)) {
        return wrong_type(parameter, value, parse, "an integer of 64 bits");
    }
    parse->request->seed = (uint64_t)json_integer_value(value);
    parse->request->has_seed = true;
    return true;
}

/* Completions count the alternatives: 0 asks for the chosen tokens' own, which is what there is. */
static bool read_logprobs_count(const struct parameter *parameter, json_t *value,
                                struct parse *parse)
{
    int count = 0;
    if (!take_int(parameter, value, parse, &count)) {
        return false;
    }
    if (count > 0) {
        return error_set(parse->error, ERROR_INVALID, "unsupported_value", "logprobs",
                         "logprobs is %d, alternatives are not supported: the limit is 0, which "
                         "gives the chosen tokens' own",
                         count);
    }
    parse->request->wants_logprobs = true;
    return true;
}

static bool read_harmless(const struct parameter *parameter, json_t *value, struct parse *parse)
{
    if (parameter->is_harmless != NULL && parameter->is_harmless(value)) {
        return true;
    }
    const char *code =
        parameter->is_harmless == NULL ? "unsupported_parameter" : "unsupported_value";
    if (json_is_string(value)) {
        return error_set(parse->error, ERROR_INVALID, code, parameter->name, "%s is '%.60s': %s",
                         parameter->name, json_string_value(value), parameter->limit);
    }
    if (json_is_integer(value)) {
        return error_set(parse->error, ERROR_INVALID, code, parameter->name, "%s is %lld: %s",
                         parameter->name, (long long)json_integer_value(value), parameter->limit);
    }
    if (json_is_boolean(value)) {
        return error_set(parse->error, ERROR_INVALID, code, parameter->name, "%s is %s: %s",
                         parameter->name, json_is_true(value) ? "true" : "false", parameter->limit);
    }
    return error_set(parse->error, ERROR_INVALID, code, parameter->name, "%s is %s: %s",
                     parameter->name, type_phrase(value), parameter->limit);
}

/* Templates see it; what comes is text. */
static bool read_response_format(const struct parameter *parameter, json_t *value,
                                 struct parse *parse)
{
    parse->request->response_format = value;
    return read_harmless(parameter, value, parse);
}

static bool is_string(const json_t *value)
{
    return json_is_string(value);
}

static bool is_boolean(const json_t *value)
{
    return json_is_boolean(value);
}

static bool is_object(const json_t *value)
{
    return json_is_object(value);
}

static bool is_false(const json_t *value)
{
    return json_is_false(value);
}

static bool is_empty_array(const json_t *value)
{
    return json_is_array(value) && json_array_size(value) == 0;
}

static bool is_empty_object(const json_t *value)
{
    return json_is_object(value) && json_object_size(value) == 0;
}

static bool is_empty_string(const json_t *value)
{
    return json_is_string(value) && json_string_length(value) == 0;
}

static bool is_integer(const json_t *value, json_int_t wanted)
{
    return json_is_integer(value) && json_integer_value(value) == wanted;
}

static bool is_zero(const json_t *value)
{
    return is_integer(value, 0);
}

static bool is_zero_or_one(const json_t *value)
{
    return is_integer(value, 0) || is_integer(value, 1);
}

static bool is_text(const json_t *value, const char *wanted)
{
    return json_is_string(value) && bytes_equal_text(string_bytes(value), wanted);
}

static bool is_none_or_auto(const json_t *value)
{
    return is_text(value, "none") || is_text(value, "auto");
}

static bool is_none(const json_t *value)
{
    return is_text(value, "none");
}

static bool is_medium(const json_t *value)
{
    return is_text(value, "medium");
}

static bool is_text_format(const json_t *value)
{
    return json_is_object(value) && json_object_size(value) == 1 &&
           is_text(json_object_get(value, "type"), "text");
}

static bool is_text_modality(const json_t *value)
{
    return json_is_array(value) && json_array_size(value) == 1 &&
           is_text(json_array_get(value, 0), "text");
}

static bool read_encoding_format(const struct parameter *parameter, json_t *value,
                                 struct parse *parse)
{
    parse->request->wants_base64 = is_text(value, "base64");
    if (parse->request->wants_base64 || is_text(value, "float")) {
        return true;
    }
    return json_is_string(value)
               ? error_set(parse->error, ERROR_INVALID, "invalid_value", parameter->name,
                           "encoding_format is '%.60s', must be 'float' or 'base64'",
                           json_string_value(value))
               : wrong_type(parameter, value, parse, "a string");
}

#define REQUEST(member) .offset = offsetof(struct openai_request, member)
#define FLAG(member) .flag_offset = offsetof(struct openai_request, member)
#define HARMLESS(condition) .read = read_harmless, .is_harmless = (condition)
#define REFUSED .read = read_harmless, .limit = not_supported

enum {
    CHAT = 1u << ENDPOINT_CHAT,
    COMPLETIONS = 1u << ENDPOINT_COMPLETIONS,
    BOTH = CHAT | COMPLETIONS,
    EMBEDDINGS = 1u << ENDPOINT_EMBEDDINGS,
    ALL = BOTH | EMBEDDINGS,
};

static const struct parameter parameters[] = {
    {"model", ALL, .read = read_model},
    {"messages", CHAT, .read = read_messages},
    {"prompt", COMPLETIONS, .read = read_prompt, .max = OPENAI_CHOICES_MAX},
    {"input", EMBEDDINGS, .read = read_input, .max = OPENAI_INPUTS_MAX},
    {"encoding_format", EMBEDDINGS, .read = read_encoding_format},
    {"dimensions", EMBEDDINGS, .read = read_int, REQUEST(dimensions), .min = 1, .max = 1 << 16},
    {"n", BOTH, .read = read_int, REQUEST(n), .min = 1, .max = OPENAI_CHOICES_MAX},
    {"max_tokens", BOTH, .read = read_max_tokens, .min = 1, .max = TOKENS_MAX},
    {"max_completion_tokens", CHAT, .read = read_max_completion_tokens, .min = 1,
     .max = TOKENS_MAX},
    {"temperature", BOTH, .read = read_number, REQUEST(temperature), FLAG(has_temperature),
     .max = 2},
    {"top_p", BOTH, .read = read_number, REQUEST(top_p), FLAG(has_top_p), .is_min_excluded = true,
     .max = 1},
    {"frequency_penalty", BOTH, .read = read_number, REQUEST(frequency_penalty), .min = -2,
     .max = 2},
    {"presence_penalty", BOTH, .read = read_number, REQUEST(presence_penalty), .min = -2, .max = 2},
    {"seed", BOTH, .read = read_seed},
    {"stop", BOTH, .read = read_stop},
    {"logprobs", CHAT, .read = read_bool, REQUEST(wants_logprobs)},
    {"logprobs", COMPLETIONS, .read = read_logprobs_count, .min = 0, .max = 5},
    {"echo", COMPLETIONS, .read = read_bool, REQUEST(wants_echo)},

    // These say something about the call and nothing about the answer.
    {"user", ALL, HARMLESS(is_string), .limit = "must be a string"},
    {"safety_identifier", CHAT, HARMLESS(is_string), .limit = "must be a string"},
    {"prompt_cache_key", CHAT, HARMLESS(is_string), .limit = "must be a string"},
    {"prompt_cache_retention", CHAT, HARMLESS(is_string), .limit = "must be a string"},
    {"prompt_cache_options", CHAT, HARMLESS(is_object), .limit = "must be an object"},
    {"service_tier", CHAT, HARMLESS(is_string), .limit = "must be a string"},
    {"metadata", CHAT, HARMLESS(is_object), .limit = "must be an object"},
    {"prediction", CHAT, HARMLESS(is_object), .limit = "must be an object"},
    {"store", CHAT, HARMLESS(is_boolean), .limit = "must be a boolean"},
    {"parallel_tool_calls", CHAT, HARMLESS(is_boolean), .limit = "must be a boolean"},

    // These have values that ask for what every answer is.
    {"stream", BOTH, HARMLESS(is_false), .limit = "only false is supported, answers come whole"},
    {"stream_options", BOTH, .read = read_harmless,
     .limit = "it is only allowed with stream, which is not supported"},
    {"response_format", CHAT, .read = read_response_format, .is_harmless = is_text_format,
     .limit = "only {\"type\": \"text\"} is supported"},
    {"modalities", CHAT, HARMLESS(is_text_modality), .limit = "only [\"text\"] is supported"},
    {"tools", CHAT, .read = read_tools},
    {"functions", CHAT, HARMLESS(is_empty_array),
     .limit = "functions are not supported, the limit is 0"},
    {"tool_choice", CHAT, .read = read_tool_choice},
    {"function_call", CHAT, HARMLESS(is_none_or_auto),
     .limit = "functions are not supported, must be 'none' or 'auto'"},
    {"logit_bias", BOTH, HARMLESS(is_empty_object), .limit = "only the empty object is supported"},
    {"top_logprobs", CHAT, HARMLESS(is_zero),
     .limit = "alternatives are not supported, the limit is 0"},
    {"best_of", COMPLETIONS, HARMLESS(is_zero_or_one), .limit = "the limit is 1"},
    {"suffix", COMPLETIONS, HARMLESS(is_empty_string), .limit = "must be empty or null"},
    {"reasoning_effort", CHAT, HARMLESS(is_none), .limit = "only 'none' is supported"},
    {"verbosity", CHAT, HARMLESS(is_medium), .limit = "only 'medium' is supported"},
    {"audio", CHAT, REFUSED},
    {"web_search_options", CHAT, REFUSED},
    {"moderation", CHAT, REFUSED},

    // vLLM's.
    {"top_k", BOTH, .read = read_top_k, REQUEST(top_k), FLAG(has_top_k), .min = -1, .max = INT_MAX},
    {"min_p", BOTH, .read = read_number, REQUEST(min_p), FLAG(has_min_p), .max = 1},
    {"repetition_penalty", BOTH, .read = read_number, REQUEST(repetition_penalty),
     FLAG(has_repetition_penalty), .is_min_excluded = true, .max = 10},
    {"ignore_eos", BOTH, .read = read_bool, REQUEST(ignore_eos)},
};

const struct parameter *parameter_find(enum openai_endpoint endpoint, const char *name)
{
    for (size_t i = 0; i < sizeof parameters / sizeof parameters[0]; i++) {
        const struct parameter *parameter = &parameters[i];
        if ((parameter->endpoints & 1u << endpoint) != 0 && strcmp(parameter->name, name) == 0) {
            return parameter;
        }
    }
    return NULL;
}
