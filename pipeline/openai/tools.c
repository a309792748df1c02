/* tools: the functions that a chat request offers, checked and passed to the template as they are.
 */
#include "pipeline/openai/parameter.h"

#include <string.h>

enum { TOOLS_MAX = 128, NAME_BYTES_MAX = 64 }; // OpenAI's limits

static bool refuse(const struct parameter *parameter, struct parse *parse, size_t index,
                   const char *what)
{
    return error_set(parse->error, ERROR_INVALID, "invalid_value", parameter->name, "tools[%zu]%s",
                     index, what);
}

static bool is_name(const json_t *value)
{
    struct bytes name = string_bytes(value);
    if (name.data == NULL || name.size == 0 || name.size > NAME_BYTES_MAX) {
        return false;
    }
    static const char allowed[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-";
    return strspn(name.data, allowed) == name.size;
}

static bool is_absent_or(const json_t *value, json_type type)
{
    return value == NULL || json_is_null(value) || json_typeof(value) == type;
}

static bool check_tool(const struct parameter *parameter, const json_t *tool, size_t index,
                       struct parse *parse)
{
    const json_t *type = json_object_get(tool, "type");
    const json_t *function = json_object_get(tool, "function");
    if (!json_is_string(type) || strcmp(json_string_value(type), "function") != 0 ||
        !json_is_object(function)) {
        return refuse(parameter, parse, index,
                      " must be {\"type\": \"function\", \"function\": {...}}");
    }
    if (!is_name(json_object_get(function, "name"))) {
        return refuse(parameter, parse, index,
                      ".function.name must have 1 to 64 of a-z, A-Z, 0-9, _ and -");
    }
    if (!is_absent_or(json_object_get(function, "description"), JSON_STRING)) {
        return refuse(parameter, parse, index, ".function.description must be a string");
    }
    if (!is_absent_or(json_object_get(function, "parameters"), JSON_OBJECT)) {
        return refuse(parameter, parse, index, ".function.parameters must be an object");
    }
    return !json_is_true(json_object_get(function, "strict")) ||
           refuse(parameter, parse, index,
                  ".function.strict must be false: arguments are not "
                  "held to their schema");
}

bool read_tools(const struct parameter *parameter, json_t *value, struct parse *parse)
{
    size_t count = json_array_size(value);
    if (!json_is_array(value)) {
        return error_set(parse->error, ERROR_INVALID, "invalid_type", parameter->name,
                         "tools is %s, must be an array", type_phrase(value));
    }
    if (count > TOOLS_MAX) {
        return error_set(parse->error, ERROR_INVALID, "invalid_value", parameter->name,
                         "tools has %zu items, must have at most %d", count, TOOLS_MAX);
    }
    for (size_t i = 0; i < count; i++) {
        if (!check_tool(parameter, json_array_get(value, i), i, parse)) {
            return false;
        }
    }
    parse->request->tools = count > 0 ? value : NULL;
    return true;
}

/* A call cannot be made sure of, so only what leaves it to the model is taken. */
bool read_tool_choice(const struct parameter *parameter, json_t *value, struct parse *parse)
{
    struct bytes choice = string_bytes(value);
    bool is_none = choice.data != NULL && bytes_equal_text(choice, "none");
    parse->request->hides_tools = is_none;
    return is_none || (choice.data != NULL && bytes_equal_text(choice, "auto")) ||
           error_set(parse->error, ERROR_INVALID, "unsupported_value", parameter->name,
                     "tool_choice must be 'none' or 'auto': a call cannot be made sure of");
}

json_t *openai_template_variables(const struct openai_request *request)
{
    json_t *variables =
        json_pack("{s:O, s:b}", "messages", request->messages, "add_generation_prompt", 1);
    bool has_tools = request->tools != NULL && !request->hides_tools;
    if (variables != NULL &&
        ((has_tools && json_object_set(variables, "tools", request->tools) != 0) ||
         (request->response_format != NULL &&
          json_object_set(variables, "response_format", request->response_format) != 0))) {
        json_decref(variables);
        return NULL;
    }
    return variables;
}
