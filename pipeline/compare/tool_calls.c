/* tool_calls: calls are paired by name, in their order. */
#include "pipeline/compare/tool_calls.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "pipeline/compare/answer_json.h"
#include "pipeline/compare/fields.h"

static const json_t *function_of(const json_t *calls, size_t index)
{
    return json_object_get(json_array_get(calls, index), "function");
}

static const char *name_of(const json_t *function)
{
    const char *name = json_string_value(json_object_get(function, "name"));
    return name == NULL ? "" : name;
}

/* The arguments of a call, which are JSON in a string or, from some servers, an object; NULL where
 * they are neither. The caller's. */
static json_t *arguments_of(const json_t *function)
{
    json_t *arguments = json_object_get(function, "arguments");
    if (!json_is_string(arguments)) {
        return json_incref(arguments);
    }
    json_t *value = NULL;
    struct bytes text = {json_string_value(arguments), json_string_length(arguments)};
    return answer_json_parse(text, &value, NULL) ? value : NULL;
}

static void note(struct tool_calls *calls, const char *name, const char *what, const char *path)
{
    if (calls->difference[0] == '\0') {
        (void)snprintf(calls->difference, sizeof calls->difference, "%.60s: %s%.60s", name, what,
                       path);
    }
}

static double compare_arguments(const json_t *reference, const json_t *candidate,
                                struct tool_calls *calls)
{
    json_t *expected = arguments_of(reference);
    json_t *given = arguments_of(candidate);
    double accuracy = 0;
    if (expected == NULL || given == NULL) {
        note(calls, name_of(candidate), "arguments are not JSON", "");
    } else {
        struct fields fields = fields_compare(expected, given);
        accuracy = fields_accuracy(&fields);
        if (fields.equal < fields.total) {
            note(calls, name_of(reference), "arguments differ at ", fields.difference);
        }
    }
    json_decref(expected);
    json_decref(given);
    return accuracy;
}

/* The first call of the candidate with that name which has no partner yet; SIZE_MAX for none. */
static size_t find_partner(const json_t *candidate, const char *name, const bool *is_taken)
{
    for (size_t i = 0; i < json_array_size(candidate); i++) {
        if (!is_taken[i] && strcmp(name_of(function_of(candidate, i)), name) == 0) {
            return i;
        }
    }
    return SIZE_MAX;
}

bool tool_calls_compare(const json_t *reference, const json_t *candidate,
                        struct tool_calls *calls_out, struct error *error)
{
    bool is_taken[TOOL_CALLS_MAX] = {false};
    size_t expected = json_array_size(reference);
    size_t given = json_array_size(candidate);
    *calls_out = (struct tool_calls){.is_given = expected + given > 0};
    if (expected > TOOL_CALLS_MAX || given > TOOL_CALLS_MAX) {
        return error_set(error, ERROR_TOO_LARGE, NULL, NULL,
                         "a message has %zu tool calls, the limit is %d",
                         expected > given ? expected : given, TOOL_CALLS_MAX);
    }
    size_t paired = 0;
    double sum = 0;
    for (size_t i = 0; i < expected; i++) {
        const json_t *function = function_of(reference, i);
        size_t partner = find_partner(candidate, name_of(function), is_taken);
        if (partner == SIZE_MAX) {
            note(calls_out, name_of(function), "is not called", "");
            continue;
        }
        is_taken[partner] = true;
        paired++;
        sum += compare_arguments(function, function_of(candidate, partner), calls_out);
    }
    for (size_t i = 0; i < given; i++) {
        if (!is_taken[i]) {
            note(calls_out, name_of(function_of(candidate, i)), "the reference does not call it",
                 "");
        }
    }
    size_t more = expected > given ? expected : given;
    calls_out->names = more == 0 ? 0 : 2 * (double)paired / (double)(expected + given);
    calls_out->arguments = more == 0 ? 0 : sum / (double)more;
    return true;
}
