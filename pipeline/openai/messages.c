/* messages: the `messages` of a chat request, checked and made plain for templates.
 *
 * In place, before anybody else sees them: content given as text parts becomes one string, and the
 * role `developer` becomes `system`, which is what chat templates know. Message members that are
 * null or an empty array count as absent, so that an assistant message can be sent back as it came.
 */
#include "pipeline/openai/parameter.h"

#include <string.h>

#include "schemas/base/buffer.h"

enum { MESSAGES_MAX = 2048 }; // OpenAI's limit

enum role { ROLE_SYSTEM, ROLE_DEVELOPER, ROLE_USER, ROLE_ASSISTANT, ROLE_TOOL, ROLES_COUNT };

static const char *const role_names[ROLES_COUNT] = {"system", "developer", "user", "assistant",
                                                    "tool"};

enum { ANY = (1u << ROLES_COUNT) - 1, ASSISTANT = 1u << ROLE_ASSISTANT, TOOL = 1u << ROLE_TOOL };

/* Members of a message, and the roles that may have them. */
static const struct {
    const char *name;
    unsigned roles;
} message_members[] = {
    {"role", ANY},
    {"content", ANY},
    {"name", ANY & ~TOOL},
    {"refusal", ASSISTANT},
    {"annotations", ASSISTANT},
    {"tool_calls", ASSISTANT},
    {"function_call", ASSISTANT},
    {"audio", ASSISTANT},
    {"tool_call_id", TOOL},
};

struct reader {
    struct parse *parse;
    json_t *message;
    size_t index;
    enum role role;
};

static bool refuse(const struct reader *reader, const char *code, const char *what)
{
    return error_set(reader->parse->error, ERROR_INVALID, code, "messages", "messages[%zu]%s",
                     reader->index, what);
}

static bool is_absent(const json_t *value)
{
    return value == NULL || json_is_null(value) ||
           (json_is_array(value) && json_array_size(value) == 0);
}

static bool read_role(struct reader *reader)
{
    const json_t *value = json_object_get(reader->message, "role");
    if (!json_is_string(value)) {
        return refuse(reader, "missing_required_parameter", ".role is missing, must be a string");
    }
    for (int i = 0; i < ROLES_COUNT; i++) {
        if (bytes_equal_text(string_bytes(value), role_names[i])) {
            reader->role = (enum role)i;
            return true;
        }
    }
    return error_set(reader->parse->error, ERROR_INVALID, "invalid_value", "messages",
                     "messages[%zu].role is '%.40s', must be system, developer, user, assistant or "
                     "tool",
                     reader->index, json_string_value(value));
}

static bool is_member(const char *name, enum role role)
{
    for (size_t i = 0; i < sizeof message_members / sizeof message_members[0]; i++) {
        if (strcmp(message_members[i].name, name) == 0) {
            return (message_members[i].roles & 1u << role) != 0;
        }
    }
    return false;
}

static bool check_members(const struct reader *reader)
{
    const char *name;
    json_t *value;
    json_object_foreach (reader->message, name, value) {
        if (!is_member(name, reader->role)) {
            return error_set(reader->parse->error, ERROR_INVALID, "unknown_parameter", "messages",
                             "messages[%zu] has '%.60s', which a message of role %s has not",
                             reader->index, name, role_names[reader->role]);
        }
    }
    return true;
}

static bool check_name(const struct reader *reader, const char *name, bool is_required)
{
    const json_t *value = json_object_get(reader->message, name);
    if (is_absent(value) && !is_required) {
        return true;
    }
    if (json_is_string(value) && json_string_length(value) > 0) {
        return true;
    }
    return error_set(reader->parse->error, ERROR_INVALID,
                     value == NULL ? "missing_required_parameter" : "invalid_value", "messages",
                     "messages[%zu].%s must be a string that is not empty", reader->index, name);
}

/* A call that the assistant made earlier in the conversation. */
static bool check_tool_call(const struct reader *reader, const json_t *call)
{
    const json_t *function = json_object_get(call, "function");
    if (json_is_string(json_object_get(call, "id")) &&
        json_is_string(json_object_get(function, "name")) &&
        json_is_string(json_object_get(function, "arguments"))) {
        return true;
    }
    return refuse(reader, "invalid_value",
                  ".tool_calls must be an array of {\"id\": text, \"type\": \"function\", "
                  "\"function\": {\"name\": text, \"arguments\": text}}");
}

static bool check_assistant(const struct reader *reader)
{
    const json_t *message = reader->message;
    if (!is_absent(json_object_get(message, "function_call"))) {
        return refuse(reader, "unsupported_value",
                      ".function_call is not supported, tool_calls has its place");
    }
    if (!is_absent(json_object_get(message, "audio"))) {
        return refuse(reader, "unsupported_value", ".audio is not supported, only text is");
    }
    const json_t *refusal = json_object_get(message, "refusal");
    if (!is_absent(refusal) && !json_is_string(refusal)) {
        return refuse(reader, "invalid_type", ".refusal must be a string or null");
    }
    const json_t *calls = json_object_get(message, "tool_calls");
    if (!is_absent(calls) && !json_is_array(calls)) {
        return refuse(reader, "invalid_type", ".tool_calls must be an array");
    }
    for (size_t i = 0; i < json_array_size(calls); i++) {
        if (!check_tool_call(reader, json_array_get(calls, i))) {
            return false;
        }
    }
    return true;
}

/* The text of parts[index], or absent after a refusal. */
static struct bytes part_text(const struct reader *reader, const json_t *parts, size_t index)
{
    const json_t *part = json_array_get(parts, index);
    const json_t *type = json_object_get(part, "type");
    const json_t *text = json_object_get(part, "text");
    struct error *error = reader->parse->error;
    if (!json_is_string(type)) {
        error_set(error, ERROR_INVALID, "invalid_type", "messages",
                  "messages[%zu].content[%zu] must be {\"type\": \"text\", \"text\": text}",
                  reader->index, index);
    } else if (!bytes_equal_text(string_bytes(type), "text")) {
        error_set(error, ERROR_INVALID, "unsupported_value", "messages",
                  "messages[%zu].content[%zu] is of type '%.40s', only 'text' is supported: the "
                  "models read text and nothing else",
                  reader->index, index, json_string_value(type));
    } else if (!json_is_string(text)) {
        error_set(error, ERROR_INVALID, "invalid_type", "messages",
                  "messages[%zu].content[%zu].text must be a string", reader->index, index);
    } else {
        return string_bytes(text);
    }
    return (struct bytes){0};
}

/* Texts are joined by a line feed, as vLLM does. */
static bool join_parts(const struct reader *reader, const json_t *parts)
{
    struct buffer joined;
    buffer_init(&joined, reader->parse->body_bytes); // no text is longer than its JSON
    bool ok = json_array_size(parts) > 0 ||
              refuse(reader, "invalid_value", ".content is an empty array, must have a part");
    for (size_t i = 0; ok && i < json_array_size(parts); i++) {
        struct bytes text = part_text(reader, parts, i);
        ok = text.data != NULL;
        buffer_append_text(&joined, i > 0 ? "\n" : "");
        buffer_append_bytes(&joined, text);
    }
    struct bytes text = buffer_bytes(&joined);
    if (ok &&
        (buffer_failed(&joined) || json_object_set_new(reader->message, "content",
                                                       json_stringn(text.data, text.size)) != 0)) {
        ok = error_set(reader->parse->error, ERROR_INTERNAL, "out_of_memory", "messages",
                       "no memory to join the parts of messages[%zu].content", reader->index);
    }
    buffer_close(&joined);
    return ok;
}

static bool read_content(const struct reader *reader)
{
    const json_t *content = json_object_get(reader->message, "content");
    bool may_be_absent = reader->role == ROLE_ASSISTANT &&
                         !is_absent(json_object_get(reader->message, "tool_calls"));
    if (json_is_string(content) || (may_be_absent && is_absent(content))) {
        return true;
    }
    if (json_is_array(content)) {
        return join_parts(reader, content);
    }
    if (content == NULL || json_is_null(content)) {
        return refuse(reader, "missing_required_parameter",
                      ".content is absent, only an assistant message with tool_calls may do "
                      "without");
    }
    return error_set(reader->parse->error, ERROR_INVALID, "invalid_type", "messages",
                     "messages[%zu].content is %s, must be a string or an array of text parts",
                     reader->index, type_phrase(content));
}

static bool settle_role(const struct reader *reader)
{
    if (reader->role != ROLE_DEVELOPER ||
        json_object_set_new(reader->message, "role", json_string("system")) == 0) {
        return true;
    }
    return error_set(reader->parse->error, ERROR_INTERNAL, "out_of_memory", "messages",
                     "no memory to read messages[%zu]", reader->index);
}

static bool read_message(struct reader *reader)
{
    if (!json_is_object(reader->message)) {
        return refuse(reader, "invalid_type", " must be an object with role and content");
    }
    return read_role(reader) && check_members(reader) && check_name(reader, "name", false) &&
           check_name(reader, "tool_call_id", reader->role == ROLE_TOOL) &&
           check_assistant(reader) && read_content(reader) && settle_role(reader);
}

bool read_messages(const struct parameter *parameter, json_t *value, struct parse *parse)
{
    size_t count = json_array_size(value);
    if (!json_is_array(value)) {
        return error_set(parse->error, ERROR_INVALID, "invalid_type", parameter->name,
                         "messages is %s, must be an array", type_phrase(value));
    }
    if (count == 0 || count > MESSAGES_MAX) {
        return error_set(parse->error, ERROR_INVALID, "invalid_value", parameter->name,
                         "messages has %zu items, must have 1 to %d", count, MESSAGES_MAX);
    }
    for (size_t i = 0; i < count; i++) {
        struct reader reader = {.parse = parse, .message = json_array_get(value, i), .index = i};
        if (!read_message(&reader)) {
            return false;
        }
    }
    parse->request->messages = value;
    parse->request->prompts_count = 1;
    return true;
}
