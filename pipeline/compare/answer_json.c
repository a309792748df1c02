/* answer_json: jansson, and a reason that a person can use. */
#include "pipeline/compare/answer_json.h"

static bool is_fenced(struct bytes text)
{
    size_t at = 0;
    while (at < text.size && strchr(" \t\r\n", text.data[at]) != NULL && text.data[at] != '\0') {
        at++;
    }
    return text.size - at >= 3 && memcmp(text.data + at, "```", 3) == 0;
}

bool answer_json_parse(struct bytes text, json_t **value_out, struct error *error)
{
    json_error_t cause = {.text = "the text is empty"};
    size_t flags = JSON_DECODE_ANY | JSON_ALLOW_NUL;
    json_t *value = text.size == 0 ? NULL : json_loadb(text.data, text.size, flags, &cause);
    if (value == NULL && text.size > 0 && json_error_code(&cause) == json_error_numeric_overflow) {
        value = json_loadb(text.data, text.size, flags | JSON_DECODE_INT_AS_REAL, &cause);
    }
    if (value == NULL) {
        return error_set(error, ERROR_INVALID, NULL, NULL, "not JSON: %s%s", cause.text,
                         is_fenced(text) ? "; it stands in a code fence" : "");
    }
    *value_out = value;
    return true;
}
