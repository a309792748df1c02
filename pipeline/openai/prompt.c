/* prompt: the `prompt` of a completions request (text, texts, ids, arrays of ids), the `input` of
 * an embeddings request, which is alike, and `stop`. */
#include "pipeline/openai/parameter.h"

#include <limits.h>

enum { STOP_BYTES_MAX = 1024 };

static bool wrong_shape(const char *name, struct parse *parse)
{
    return error_set(parse->error, ERROR_INVALID, "invalid_type", name,
                     "%s must be a string, an array of strings, an array of token ids or an "
                     "array of arrays of token ids",
                     name);
}

static bool read_id(const char *name, const json_t *value, struct parse *parse, int32_t *id_out)
{
    if (!json_is_integer(value)) {
        return wrong_shape(name, parse);
    }
    json_int_t id = json_integer_value(value);
    if (id < 0 || id > INT32_MAX) {
        return error_set(parse->error, ERROR_INVALID, "invalid_value", name,
                         "%s has the token id %lld, must be from 0 to %ld", name, (long long)id,
                         (long)INT32_MAX);
    }
    *id_out = (int32_t)id;
    return true;
}

static bool read_ids(const char *name, const json_t *array, struct parse *parse,
                     struct openai_prompt *prompt)
{
    size_t count = json_array_size(array);
    if (count == 0 || count > INT_MAX) {
        return error_set(parse->error, ERROR_INVALID, "invalid_value", name,
                         "%s has an array of %zu token ids, must have 1 to %d", name, count,
                         INT_MAX);
    }
    int32_t *ids = arena_alloc_array(parse->arena, count, sizeof *ids);
    if (ids == NULL) {
        return parse_too_large(parse, name);
    }
    for (size_t i = 0; i < count; i++) {
        if (!read_id(name, json_array_get(array, i), parse, &ids[i])) {
            return false;
        }
    }
    *prompt = (struct openai_prompt){.ids = ids, .ids_count = (int)count};
    return true;
}

/* One element of an array of prompts, or a prompt that stands alone. */
static bool read_one(const char *name, const json_t *value, struct parse *parse,
                     struct openai_prompt *prompt)
{
    if (json_is_string(value)) {
        *prompt = (struct openai_prompt){.text = string_bytes(value)};
        return true;
    }
    return json_is_array(value) ? read_ids(name, value, parse, prompt) : wrong_shape(name, parse);
}

bool read_prompt(const struct parameter *parameter, json_t *value, struct parse *parse)
{
    const char *name = parameter->name;
    const json_t *first = json_array_get(value, 0); // NULL when it is no array
    bool is_many = json_is_string(first) || json_is_array(first);
    size_t count = is_many ? json_array_size(value) : 1;
    if (count > (size_t)parameter->max) {
        return error_set(parse->error, ERROR_INVALID, "invalid_value", name,
                         "%s has %zu prompts, must have 1 to %g", name, count, parameter->max);
    }
    struct openai_prompt *prompts = arena_alloc_array(parse->arena, count, sizeof *prompts);
    if (prompts == NULL) {
        return parse_too_large(parse, name);
    }
    for (size_t i = 0; i < count; i++) {
        const json_t *one = is_many ? json_array_get(value, i) : value;
        if (is_many && json_typeof(one) != json_typeof(first)) {
            return wrong_shape(name, parse);
        }
        if (!read_one(name, one, parse, &prompts[i])) {
            return false;
        }
    }
    parse->request->prompts = prompts;
    parse->request->prompts_count = (int)count;
    return true;
}

bool read_input(const struct parameter *parameter, json_t *value, struct parse *parse)
{
    if (!read_prompt(parameter, value, parse)) {
        return false;
    }
    for (int i = 0; i < parse->request->prompts_count; i++) {
        const struct openai_prompt *input = &parse->request->prompts[i];
        if (input->ids == NULL && input->text.size == 0) {
            return error_set(parse->error, ERROR_INVALID, "invalid_value", parameter->name,
                             "input %d is an empty string, must have at least 1 character", i);
        }
    }
    return true;
}

bool read_stop(const struct parameter *parameter, json_t *value, struct parse *parse)
{
    struct openai_request *request = parse->request;
    if (!json_is_string(value) && !json_is_array(value)) {
        return error_set(parse->error, ERROR_INVALID, "invalid_type", parameter->name,
                         "stop is %s, must be a string or an array of strings", type_phrase(value));
    }
    size_t count = json_is_string(value) ? 1 : json_array_size(value);
    if (count > OPENAI_STOPS_MAX) {
        return error_set(parse->error, ERROR_INVALID, "invalid_value", parameter->name,
                         "stop has %zu strings, must have at most %d", count, OPENAI_STOPS_MAX);
    }
    for (size_t i = 0; i < count; i++) {
        const json_t *one = json_is_string(value) ? value : json_array_get(value, i);
        if (!json_is_string(one)) {
            return error_set(parse->error, ERROR_INVALID, "invalid_type", parameter->name,
                             "stop[%zu] is %s, must be a string", i, type_phrase(one));
        }
        struct bytes text = string_bytes(one);
        if (text.size == 0 || text.size > STOP_BYTES_MAX) {
            return error_set(parse->error, ERROR_INVALID, "invalid_value", parameter->name,
                             "stop[%zu] has %zu bytes, must have 1 to %d", i, text.size,
                             STOP_BYTES_MAX);
        }
        request->stops[i] = text;
    }
    request->stops_count = (int)count;
    return true;
}
