/* schema_assert: keywords that look at the value alone. A keyword whose own value makes no sense
 * says nothing. */
#include "pipeline/compare/schema.h"

#include <math.h>
#include <string.h>

#include "pipeline/compare/schema_internal.h"

/* Exact for 64-bit integers and for doubles. */
static long double number_of(const json_t *json)
{
    return json_is_integer(json) ? (long double)json_integer_value(json)
                                 : (long double)json_real_value(json);
}

static bool is_integer(const json_t *json)
{
    return json_is_integer(json) ||
           (json_is_real(json) && floor(json_real_value(json)) == json_real_value(json));
}

/* In draft 4 1.0 is no integer. */
static bool has_type(const struct schema_rule *rule, const json_t *value, const char *name)
{
    bool is_draft4 = rule->node->resource->is_draft4;
    switch (json_typeof(value)) {
    case JSON_OBJECT:
        return strcmp(name, "object") == 0;
    case JSON_ARRAY:
        return strcmp(name, "array") == 0;
    case JSON_STRING:
        return strcmp(name, "string") == 0;
    case JSON_INTEGER:
    case JSON_REAL:
        return strcmp(name, "number") == 0 || (strcmp(name, "integer") == 0 && is_integer(value) &&
                                               !(is_draft4 && json_is_real(value)));
    case JSON_TRUE:
    case JSON_FALSE:
        return strcmp(name, "boolean") == 0;
    case JSON_NULL:
        break;
    }
    return json_is_null(value) && strcmp(name, "null") == 0;
}

SCHEMA_CHECK(type)
{
    (void)marks;
    size_t index = 0;
    json_t *name = NULL;
    if (json_is_string(rule->value)) {
        const char *wanted = json_string_value(rule->value);
        return has_type(rule, value, wanted) || schema_refuse(run, rule, wanted);
    }
    json_array_foreach (rule->value, index, name) {
        if (json_is_string(name) && has_type(rule, value, json_string_value(name))) {
            return true;
        }
    }
    return !json_is_array(rule->value) || schema_refuse(run, rule, "");
}

SCHEMA_CHECK(enum)
{
    (void)marks;
    size_t index = 0;
    json_t *allowed = NULL;
    json_array_foreach (rule->value, index, allowed) {
        if (schema_equal(run, allowed, value)) {
            return true;
        }
    }
    return !json_is_array(rule->value) || schema_refuse(run, rule, "");
}

SCHEMA_CHECK(const)
{
    (void)marks;
    return schema_equal(run, rule->value, value) || schema_refuse(run, rule, "");
}

/* --- Numbers --- */

static bool are_numbers(const struct schema_rule *rule, const json_t *value)
{
    return json_is_number(rule->value) && json_is_number(value);
}

/* Whether it is a whole number, but for what decimal fractions lose: half a unit of a double's 53
 * bits each. */
static bool is_whole(long double number)
{
    return fabsl(number - rintl(number)) <= fabsl(number) * 0x1p-52L;
}

static bool is_multiple(const json_t *value, const json_t *of)
{
    if (json_is_integer(value) && json_is_integer(of)) {
        return json_integer_value(value) % json_integer_value(of) == 0;
    }
    long double divisor = number_of(of);
    if (is_integer(value) && divisor < 1 && is_whole(1 / divisor)) {
        return true; // every integer is a multiple of 0.01
    }
    long double quotient = number_of(value) / divisor;
    return fabsl(quotient) > 0x1p52L ? fmodl(number_of(value), divisor) == 0 : is_whole(quotient);
}

SCHEMA_CHECK(multiple_of)
{
    (void)marks;
    bool applies = are_numbers(rule, value) && number_of(rule->value) > 0;
    return !applies || is_multiple(value, rule->value) || schema_refuse(run, rule, "");
}

SCHEMA_CHECK(maximum)
{
    (void)marks;
    return !are_numbers(rule, value) || number_of(value) <= number_of(rule->value) ||
           schema_refuse(run, rule, "");
}

SCHEMA_CHECK(minimum)
{
    (void)marks;
    return !are_numbers(rule, value) || number_of(value) >= number_of(rule->value) ||
           schema_refuse(run, rule, "");
}

/* The limit of an exclusive keyword: its own, or in draft 4, where it is true, that of `partner`.
 */
static const json_t *exclusive_limit(const struct schema_rule *rule, const char *partner)
{
    return json_is_true(rule->value) && rule->node->resource->dialect == DIALECT_DRAFT7
               ? json_object_get(rule->node->json, partner)
               : rule->value;
}

SCHEMA_CHECK(exclusive_maximum)
{
    (void)marks;
    const json_t *limit = exclusive_limit(rule, "maximum");
    return !json_is_number(limit) || !json_is_number(value) ||
           number_of(value) < number_of(limit) || schema_refuse(run, rule, "");
}

SCHEMA_CHECK(exclusive_minimum)
{
    (void)marks;
    const json_t *limit = exclusive_limit(rule, "minimum");
    return !json_is_number(limit) || !json_is_number(value) ||
           number_of(value) > number_of(limit) || schema_refuse(run, rule, "");
}

/* --- Sizes --- */

static bool is_at_most(struct schema_run *run, const struct schema_rule *rule, size_t size)
{
    return !json_is_number(rule->value) || (long double)size <= number_of(rule->value) ||
           schema_refuse(run, rule, "");
}

static bool is_at_least(struct schema_run *run, const struct schema_rule *rule, size_t size)
{
    return !json_is_number(rule->value) || (long double)size >= number_of(rule->value) ||
           schema_refuse(run, rule, "");
}

static size_t count_characters(const json_t *text)
{
    const char *data = json_string_value(text);
    size_t count = 0;
    for (size_t i = 0; i < json_string_length(text); i++) {
        count += ((unsigned char)data[i] & 0xC0) != 0x80; // not a UTF-8 continuation byte
    }
    return count;
}

SCHEMA_CHECK(max_length)
{
    (void)marks;
    return !json_is_string(value) || is_at_most(run, rule, count_characters(value));
}

SCHEMA_CHECK(min_length)
{
    (void)marks;
    return !json_is_string(value) || is_at_least(run, rule, count_characters(value));
}

SCHEMA_CHECK(max_items)
{
    (void)marks;
    return !json_is_array(value) || is_at_most(run, rule, json_array_size(value));
}

SCHEMA_CHECK(min_items)
{
    (void)marks;
    return !json_is_array(value) || is_at_least(run, rule, json_array_size(value));
}

SCHEMA_CHECK(max_properties)
{
    (void)marks;
    return !json_is_object(value) || is_at_most(run, rule, json_object_size(value));
}

SCHEMA_CHECK(min_properties)
{
    (void)marks;
    return !json_is_object(value) || is_at_least(run, rule, json_object_size(value));
}

SCHEMA_CHECK(pattern)
{
    (void)marks;
    return !json_is_string(value) ||
           schema_search(run, rule->parts->pattern, json_string_value(value),
                         json_string_length(value)) ||
           schema_refuse(run, rule, json_string_value(rule->value));
}

SCHEMA_CHECK(unique_items)
{
    (void)marks;
    size_t count = json_is_true(rule->value) ? json_array_size(value) : 0;
    for (size_t i = 0; i < count; i++) {
        for (size_t j = 0; j < i; j++) {
            if (schema_equal(run, json_array_get(value, i), json_array_get(value, j)) ||
                run->has_failed) {
                return schema_refuse(run, rule, "");
            }
        }
    }
    return true;
}

/* --- Members that must be there --- */

bool schema_has_all(struct schema_run *run, const struct schema_rule *rule, const json_t *names,
                    const json_t *value)
{
    size_t index = 0;
    json_t *name = NULL;
    json_array_foreach (names, index, name) {
        if (!schema_step(run, 1)) {
            return false;
        }
        if (json_is_string(name) && json_object_get(value, json_string_value(name)) == NULL) {
            return schema_refuse(run, rule, json_string_value(name));
        }
    }
    return true;
}

SCHEMA_CHECK(required)
{
    (void)marks;
    return !json_is_object(value) || schema_has_all(run, rule, rule->value, value);
}

SCHEMA_CHECK(dependent_required)
{
    (void)marks;
    const char *name = NULL;
    json_t *names = NULL;
    json_object_foreach (rule->value, name, names) {
        if (!schema_step(run, 1) ||
            (json_object_get(value, name) != NULL && !schema_has_all(run, rule, names, value))) {
            return false;
        }
    }
    return true;
}
