/* schema_apply: keywords that apply other subschemas, to the value itself or to what is in it. */
#include "pipeline/compare/schema.h"

#include <string.h>

#include "pipeline/compare/schema_internal.h"

/* As part of something that may succeed without it. */
static bool evaluate_quietly(struct schema_run *run, const struct schema_node *node, json_t *value,
                             struct schema_marks *marks)
{
    run->quiet++;
    bool is_valid = schema_evaluate(run, node, value, marks);
    run->quiet--;
    return is_valid;
}

static bool evaluate_member(struct schema_run *run, const struct schema_node *node,
                            const char *name, json_t *value)
{
    size_t size = value_path_add_key(&run->path, name);
    bool is_valid = schema_evaluate(run, node, value, NULL);
    value_path_cut(&run->path, size);
    return is_valid;
}

static bool evaluate_item(struct schema_run *run, const struct schema_node *node, size_t index,
                          json_t *array)
{
    size_t size = value_path_add_index(&run->path, index);
    bool is_valid = schema_evaluate(run, node, json_array_get(array, index), NULL);
    value_path_cut(&run->path, size);
    return is_valid;
}

/* --- References --- */

SCHEMA_CHECK(ref)
{
    return schema_evaluate(run, rule->parts->node, value, marks);
}

/* Where the target is a dynamic anchor, the outermost resource on the way here that has one of that
 * name gives the schema. */
SCHEMA_CHECK(dynamic_ref)
{
    const struct schema_node *node = rule->parts->node;
    const char *text = json_string_value(rule->value);
    const char *hash = strrchr(text, '#');
    struct bytes name = bytes_of(hash == NULL ? "" : hash + 1);
    const struct schema_anchor *own = schema_find_anchor(run->schema, node->resource, name);
    if (own != NULL && own->is_dynamic && own->node == node) {
        for (const struct schema_scope *scope = run->scope; scope != NULL; scope = scope->outer) {
            const struct schema_anchor *anchor =
                schema_find_anchor(run->schema, scope->resource, name);
            if (!schema_step(run, 1 + run->schema->anchors_count)) {
                return false;
            }
            node = anchor != NULL && anchor->is_dynamic ? anchor->node : node;
        }
    }
    return schema_evaluate(run, node, value, marks);
}

/* --- Several for the same value --- */

SCHEMA_CHECK(all_of)
{
    for (size_t i = 0; i < rule->parts_count; i++) {
        if (!schema_evaluate(run, rule->parts[i].node, value, marks)) {
            return false;
        }
    }
    return true;
}

SCHEMA_CHECK(any_of)
{
    bool is_valid = false;
    for (size_t i = 0; i < rule->parts_count && (!is_valid || marks != NULL); i++) {
        is_valid |= evaluate_quietly(run, rule->parts[i].node, value, marks);
    }
    return is_valid || schema_refuse(run, rule, "allows none");
}

SCHEMA_CHECK(one_of)
{
    size_t count = 0;
    for (size_t i = 0; i < rule->parts_count && count < 2; i++) {
        count += evaluate_quietly(run, rule->parts[i].node, value, marks);
    }
    return count == 1 || schema_refuse(run, rule, count == 0 ? "allows none" : "allows several");
}

SCHEMA_CHECK(not )
{
    (void)marks;
    return !evaluate_quietly(run, rule->parts->node, value, NULL) || schema_refuse(run, rule, "");
}

SCHEMA_CHECK(if)
{
    bool is_true = evaluate_quietly(run, rule->parts->node, value, marks);
    const struct schema_rule *next = schema_rule_of(rule->node, is_true ? "then" : "else");
    return next == NULL || schema_evaluate(run, next->parts->node, value, marks);
}

/* `dependentSchemas`, and `dependencies`, whose members may also be arrays of names. */
SCHEMA_CHECK(dependencies)
{
    for (size_t i = 0; i < rule->parts_count; i++) {
        const struct schema_part *part = &rule->parts[i];
        if (!schema_step(run, 1)) {
            return false;
        }
        if (json_object_get(value, part->name) == NULL) {
            continue;
        }
        if (part->node != NULL && !schema_evaluate(run, part->node, value, marks)) {
            return false;
        }
        if (!schema_has_all(run, rule, part->json, value)) {
            return false;
        }
    }
    return true;
}

/* --- Members --- */

SCHEMA_CHECK(properties)
{
    for (size_t i = 0; i < rule->parts_count; i++) {
        const struct schema_part *part = &rule->parts[i];
        json_t *member = json_object_get(value, part->name);
        if (!schema_step(run, 1)) {
            return false;
        }
        if (member != NULL) {
            schema_mark_name(marks, part->name, member);
            if (!evaluate_member(run, part->node, part->name, member)) {
                return false;
            }
        }
    }
    return true;
}

/* Whether one of the expressions of `patternProperties` occurs in the name. */
static bool fits_pattern(struct schema_run *run, const struct schema_rule *patterns,
                         const char *name)
{
    for (size_t i = 0; patterns != NULL && i < patterns->parts_count; i++) {
        if (schema_search(run, patterns->parts[i].pattern, name, strlen(name))) {
            return true;
        }
    }
    return false;
}

SCHEMA_CHECK(pattern_properties)
{
    const char *name = NULL;
    json_t *member = NULL;
    json_object_foreach (value, name, member) {
        for (size_t i = 0; i < rule->parts_count; i++) {
            if (!schema_search(run, rule->parts[i].pattern, name, strlen(name))) {
                continue;
            }
            schema_mark_name(marks, name, member);
            if (!evaluate_member(run, rule->parts[i].node, name, member)) {
                return false;
            }
        }
    }
    return true;
}

SCHEMA_CHECK(additional_properties)
{
    const json_t *properties = json_object_get(rule->node->json, "properties");
    const struct schema_rule *patterns = schema_rule_of(rule->node, "patternProperties");
    const char *name = NULL;
    json_t *member = NULL;
    json_object_foreach (value, name, member) {
        if (!schema_step(run, 1)) {
            return false;
        }
        if (json_object_get(properties, name) != NULL || fits_pattern(run, patterns, name)) {
            continue;
        }
        schema_mark_name(marks, name, member);
        if (!evaluate_member(run, rule->parts->node, name, member)) {
            return false;
        }
    }
    return true;
}

SCHEMA_CHECK(property_names)
{
    (void)marks;
    const char *name = NULL;
    json_t *member = NULL;
    json_object_foreach (value, name, member) {
        json_t *text = json_string(name);
        bool is_valid = schema_evaluate(run, rule->parts->node, text, NULL);
        json_decref(text);
        if (!is_valid) {
            return schema_refuse(run, rule, name);
        }
    }
    return true;
}

SCHEMA_CHECK(unevaluated_properties)
{
    const char *name = NULL;
    json_t *member = NULL;
    json_object_foreach (value, name, member) {
        if (!schema_step(run, 1)) {
            return false;
        }
        if (json_object_get(marks->names, name) != NULL) {
            continue;
        }
        if (!evaluate_member(run, rule->parts->node, name, member)) {
            return schema_refuse(run, rule, name);
        }
        schema_mark_name(marks, name, member);
    }
    return true;
}

/* --- Items --- */

/* Applies part i to item i. */
static bool check_tuple(struct schema_run *run, const struct schema_rule *rule, json_t *value,
                        struct schema_marks *marks)
{
    size_t count = json_array_size(value);
    bool *items = schema_mark_items(run, marks, count);
    for (size_t i = 0; i < count && i < rule->parts_count; i++) {
        if (items != NULL) {
            items[i] = true;
        }
        if (!evaluate_item(run, rule->parts[i].node, i, value)) {
            return false;
        }
    }
    return true;
}

/* Applies the only part to all items from `first`. */
static bool check_rest(struct schema_run *run, const struct schema_rule *rule, size_t first,
                       json_t *value, struct schema_marks *marks)
{
    size_t count = json_array_size(value);
    bool *items = schema_mark_items(run, marks, count);
    for (size_t i = first; i < count; i++) {
        if (items != NULL) {
            items[i] = true;
        }
        if (!evaluate_item(run, rule->parts->node, i, value)) {
            return false;
        }
    }
    return true;
}

SCHEMA_CHECK(prefix_items)
{
    return check_tuple(run, rule, value, marks);
}

SCHEMA_CHECK(items)
{
    if (json_is_array(rule->value)) { // draft 7's tuple
        return check_tuple(run, rule, value, marks);
    }
    const struct schema_rule *prefix = schema_rule_of(rule->node, "prefixItems");
    return check_rest(run, rule, prefix == NULL ? 0 : prefix->parts_count, value, marks);
}

/* What follows draft 7's tuple. */
SCHEMA_CHECK(additional_items)
{
    const struct schema_rule *tuple = schema_rule_of(rule->node, "items");
    return tuple == NULL || !json_is_array(tuple->value) ||
           check_rest(run, rule, tuple->parts_count, value, marks);
}

/* The limit that a member gives, or `otherwise`. */
static double limit_of(const struct schema_rule *rule, const char *name, double otherwise)
{
    const struct schema_rule *limit = schema_rule_of(rule->node, name);
    return limit != NULL && json_is_number(limit->value) ? json_number_value(limit->value)
                                                         : otherwise;
}

SCHEMA_CHECK(contains)
{
    size_t count = json_array_size(value);
    size_t found = 0;
    if (!json_is_array(value)) {
        return true;
    }
    bool *items = schema_mark_items(run, marks, count);
    for (size_t i = 0; i < count; i++) {
        if (evaluate_quietly(run, rule->parts->node, json_array_get(value, i), NULL)) {
            found++;
            if (items != NULL) {
                items[i] = true;
            }
        }
    }
    return ((double)found >= limit_of(rule, "minContains", 1) &&
            (double)found <= limit_of(rule, "maxContains", (double)count)) ||
           schema_refuse(run, rule, "");
}

SCHEMA_CHECK(unevaluated_items)
{
    size_t count = json_array_size(value);
    bool *items = schema_mark_items(run, marks, count);
    for (size_t i = 0; items != NULL && i < count; i++) {
        if (items[i]) {
            continue;
        }
        if (!evaluate_item(run, rule->parts->node, i, value)) {
            return schema_refuse(run, rule, "");
        }
        items[i] = true;
    }
    return true;
}
