/* tokenizer_json: checked access to members. */
#include "pipeline/text/tokenizer_json.h"

static bool wrong(const char *key, const char *wanted, const json_t *value, struct error *error)
{
    return error_set(error, ERROR_INVALID, NULL, NULL, "\"%s\" is %s, must be %s", key,
                     value == NULL ? "missing" : "of another type", wanted);
}

bool member_text(const json_t *object, const char *key, struct bytes *text_out, struct error *error)
{
    const json_t *value = json_object_get(object, key);
    if (!json_is_string(value)) {
        return wrong(key, "a string", value, error);
    }
    *text_out = (struct bytes){json_string_value(value), json_string_length(value)};
    return true;
}

bool member_bool(const json_t *object, const char *key, bool fallback, bool *value_out,
                 struct error *error)
{
    const json_t *value = json_object_get(object, key);
    if (value == NULL || json_is_null(value)) {
        *value_out = fallback;
        return true;
    }
    if (!json_is_boolean(value)) {
        return wrong(key, "true or false", value, error);
    }
    *value_out = json_is_true(value);
    return true;
}

bool member_array(const json_t *object, const char *key, const json_t **array_out,
                  struct error *error)
{
    const json_t *value = json_object_get(object, key);
    if (!json_is_array(value)) {
        return wrong(key, "an array", value, error);
    }
    *array_out = value;
    return true;
}

bool member_integer(const json_t *object, const char *key, long long low, long long high,
                    long long *value_out, struct error *error)
{
    const json_t *value = json_object_get(object, key);
    if (!json_is_integer(value)) {
        return wrong(key, "an integer", value, error);
    }
    long long number = json_integer_value(value);
    if (number < low || number > high) {
        return error_set(error, ERROR_INVALID, NULL, NULL, "\"%s\" is %lld, must be %lld to %lld",
                         key, number, low, high);
    }
    *value_out = number;
    return true;
}

bool member_pattern(const json_t *object, struct pattern **pattern_out, struct error *error)
{
    const json_t *value = json_object_get(object, "pattern");
    if (!json_is_object(value)) {
        return wrong("pattern", "an object", value, error);
    }
    bool is_regex = json_object_get(value, "Regex") != NULL;
    struct bytes expression = {NULL, 0};
    return member_text(value, is_regex ? "Regex" : "String", &expression, error) &&
           pattern_open(expression, is_regex, pattern_out, error);
}

bool refuse_type(const char *what, struct bytes type, struct error *error)
{
    return error_set(error, ERROR_INVALID, NULL, NULL, "%s %.*s is not supported", what,
                     (int)(type.size < 60 ? type.size : 60), type.data);
}
