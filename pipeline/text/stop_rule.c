/* stop_rule: one Knuth-Morris-Pratt automaton per stop string, a constant amount of work per byte.
 */
#include "pipeline/text/stop_rule.h"

static bool string_init(struct stop_string *string, struct arena *arena, struct bytes text,
                        struct error *error)
{
    if (text.size == 0 || text.size > STOP_STRING_SIZE_MAX) {
        return error_set(error, ERROR_INVALID, "invalid_value", "stop",
                         "a stop string has %zu bytes, must be 1 to %d", text.size,
                         STOP_STRING_SIZE_MAX);
    }
    uint16_t *fallback = arena_alloc_array(arena, text.size, sizeof *fallback);
    struct bytes copy = arena_copy(arena, text);
    if (fallback == NULL || copy.data == NULL) {
        return error_set(error, ERROR_TOO_LARGE, NULL, "stop",
                         "the request's memory has no room for a stop string of %zu bytes",
                         text.size);
    }
    size_t border = 0;
    for (size_t i = 1; i < copy.size; i++) {
        while (border > 0 && copy.data[i] != copy.data[border]) {
            border = fallback[border - 1];
        }
        border += copy.data[i] == copy.data[border] ? 1 : 0;
        fallback[i] = (uint16_t)border;
    }
    *string = (struct stop_string){.text = copy, .fallback = fallback};
    return true;
}

bool stop_rule_init(struct stop_rule *rule, struct arena *arena, const struct bytes *strings,
                    size_t count, struct error *error)
{
    *rule = (struct stop_rule){.cut = SIZE_MAX};
    if (count > STOP_STRINGS_MAX) {
        return error_set(error, ERROR_INVALID, "invalid_value", "stop",
                         "%zu stop strings, at most %d are allowed", count, STOP_STRINGS_MAX);
    }
    for (size_t i = 0; i < count; i++) {
        if (!string_init(&rule->strings[i], arena, strings[i], error)) {
            return false;
        }
    }
    rule->count = count;
    return true;
}

/* True when `byte` completes the string. */
static bool advance(struct stop_string *string, char byte)
{
    while (string->matched > 0 && string->text.data[string->matched] != byte) {
        string->matched = string->fallback[string->matched - 1];
    }
    string->matched += string->text.data[string->matched] == byte ? 1 : 0;
    return string->matched == string->text.size;
}

bool stop_rule_feed(struct stop_rule *rule, struct bytes piece)
{
    for (size_t i = 0; i < piece.size && !stop_rule_has_stopped(rule); i++) {
        rule->text_size++;
        for (size_t k = 0; k < rule->count; k++) {
            struct stop_string *string = &rule->strings[k];
            if (advance(string, piece.data[i])) {
                size_t start = rule->text_size - string->text.size;
                rule->cut = start < rule->cut ? start : rule->cut;
            }
        }
    }
    return stop_rule_has_stopped(rule);
}

size_t stop_rule_safe_size(const struct stop_rule *rule)
{
    if (stop_rule_has_stopped(rule)) {
        return rule->cut;
    }
    size_t held = 0;
    for (size_t i = 0; i < rule->count; i++) {
        held = rule->strings[i].matched > held ? rule->strings[i].matched : held;
    }
    return rule->text_size - held;
}
