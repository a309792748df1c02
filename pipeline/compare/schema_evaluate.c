/* schema_evaluate: the walk over nodes and values, with its limits. */
#include "pipeline/compare/schema.h"

#include <stdio.h>
#include <string.h>

#include "pipeline/compare/schema_internal.h"

enum { MARKS_BYTES_MAX = 64 << 20 };

/* Steps of a regular expression cost as many of the check's; most searches take few, and are only
 * repeated with a higher limit where they do not end. */
enum {
    SEARCH_STEPS_FIRST = 1000, // and some for each byte of the text
    SEARCH_STEPS_PER_BYTE = 20,
    SEARCH_STEPS_GROWTH = 30,
    SEARCH_STEPS_MAX = 2000000,
    SEARCH_DISCOUNT = 10, // a step of PCRE2 is cheaper than one of the check
};

/* --- Limits and reasons --- */

bool schema_give_up(struct schema_run *run, const char *why)
{
    if (!run->has_failed) {
        run->has_failed = true;
        (void)error_set(run->error, ERROR_TOO_LARGE, NULL, NULL, "the schema cannot be checked: %s",
                        why);
    }
    return false;
}

bool schema_step(struct schema_run *run, size_t steps)
{
    if (run->has_failed || steps > run->steps_left) {
        return schema_give_up(run, "it takes over 10000000 steps");
    }
    run->steps_left -= steps;
    return true;
}

bool schema_refuse(struct schema_run *run, const struct schema_rule *rule, const char *why)
{
    if (run->quiet == 0 && run->reason[0] == '\0') {
        (void)snprintf(run->reason, run->reason_size, "%s: %s%s%.60s", value_path_text(&run->path),
                       rule->keyword->name, why[0] == '\0' ? "" : " ", why);
    }
    return false;
}

bool schema_search(struct schema_run *run, const struct pattern *pattern, const char *text,
                   size_t size)
{
    if (size > SCHEMA_SEARCH_BYTES_MAX) {
        return schema_give_up(run, "a text for a regular expression has over 65536 bytes");
    }
    size_t steps_max = SEARCH_STEPS_FIRST + SEARCH_STEPS_PER_BYTE * size;
    enum pattern_found found = PATTERN_STEPS_EXCEEDED;
    while (found == PATTERN_STEPS_EXCEEDED && steps_max <= SEARCH_STEPS_MAX) {
        if (!schema_step(run, 1 + steps_max / SEARCH_DISCOUNT)) {
            return false;
        }
        found =
            pattern_search(pattern, &run->scratch, (struct bytes){text, size}, (uint32_t)steps_max);
        steps_max *= SEARCH_STEPS_GROWTH;
    }
    if (found == PATTERN_STEPS_EXCEEDED || found == PATTERN_FAILED) {
        return schema_give_up(run, "a regular expression takes too many steps");
    }
    return found == PATTERN_FOUND;
}

/* --- Equality --- */

static bool are_members_equal(struct schema_run *run, json_t *a, json_t *b)
{
    const char *name = NULL;
    json_t *value = NULL;
    if (json_object_size(a) != json_object_size(b)) {
        return false;
    }
    json_object_foreach (a, name, value) {
        json_t *other = json_object_get(b, name);
        if (other == NULL || !schema_equal(run, value, other)) {
            return false;
        }
    }
    return true;
}

static bool are_items_equal(struct schema_run *run, json_t *a, json_t *b)
{
    size_t count = json_array_size(a);
    bool is_equal = count == json_array_size(b);
    for (size_t i = 0; is_equal && i < count; i++) {
        is_equal = schema_equal(run, json_array_get(a, i), json_array_get(b, i));
    }
    return is_equal;
}

bool schema_equal(struct schema_run *run, json_t *a, json_t *b)
{
    size_t text = json_is_string(a) ? json_string_length(a) / 64 : 0;
    if (!schema_step(run, 1 + text)) {
        return false;
    }
    if (json_is_object(a) && json_is_object(b)) {
        return are_members_equal(run, a, b);
    }
    if (json_is_array(a) && json_is_array(b)) {
        return are_items_equal(run, a, b);
    }
    if (json_is_number(a) && json_is_number(b) && !(json_is_integer(a) && json_is_integer(b))) {
        return json_number_value(a) == json_number_value(b);
    }
    return json_equal(a, b);
}

/* --- Marks --- */

void schema_mark_name(struct schema_marks *marks, const char *name, json_t *value)
{
    if (marks != NULL) {
        if (marks->names == NULL) {
            marks->names = json_object();
        }
        (void)json_object_set(marks->names, name, value);
    }
}

bool *schema_mark_items(struct schema_run *run, struct schema_marks *marks, size_t size)
{
    if (marks == NULL || size == 0) {
        return NULL;
    }
    if (marks->items == NULL) {
        marks->items = arena_alloc_array(run->arena, size, sizeof *marks->items);
        marks->items_count = size;
        if (marks->items == NULL) {
            (void)schema_give_up(run, "its unevaluatedItems need too much memory");
        }
    }
    return marks->items;
}

static void merge_marks(struct schema_run *run, struct schema_marks *into,
                        const struct schema_marks *from)
{
    if (from->names != NULL) {
        if (into->names == NULL) {
            into->names = json_object();
        }
        (void)json_object_update(into->names, from->names);
    }
    bool *items = from->items == NULL ? NULL : schema_mark_items(run, into, from->items_count);
    for (size_t i = 0; items != NULL && i < from->items_count; i++) {
        items[i] |= from->items[i];
    }
}

/* --- The walk --- */

static bool check_rules(struct schema_run *run, const struct schema_node *node, json_t *value,
                        struct schema_marks *marks)
{
    for (size_t i = 0; i < node->rules_count; i++) {
        const struct schema_rule *rule = &node->rules[i];
        if (rule->keyword->check == NULL) {
            continue;
        }
        if (!schema_step(run, 1) || !rule->keyword->check(run, rule, value, marks) ||
            run->has_failed) {
            return false;
        }
    }
    return true;
}

static bool evaluate_object(struct schema_run *run, const struct schema_node *node, json_t *value,
                            struct schema_marks *marks)
{
    const struct schema_scope *outer = run->scope;
    struct schema_scope scope = {outer, node->resource};
    struct schema_marks local = {NULL, NULL, 0};
    bool has_marks = marks != NULL || node->wants_marks;
    if (outer == NULL || outer->resource != node->resource) {
        run->scope = &scope;
    }
    bool is_valid = check_rules(run, node, value, has_marks ? &local : NULL);
    if (is_valid && marks != NULL) {
        merge_marks(run, marks, &local);
    }
    json_decref(local.names);
    run->scope = outer;
    return is_valid;
}

bool schema_evaluate(struct schema_run *run, const struct schema_node *node, json_t *value,
                     struct schema_marks *marks)
{
    if (!schema_step(run, 1)) {
        return false;
    }
    if (json_is_boolean(node->json)) {
        bool is_valid = json_is_true(node->json);
        if (!is_valid && run->quiet == 0 && run->reason[0] == '\0') {
            (void)snprintf(run->reason, run->reason_size, "%s: nothing is allowed here",
                           value_path_text(&run->path));
        }
        return is_valid;
    }
    if (run->depth == SCHEMA_DEPTH_MAX) {
        return schema_give_up(run, "it nests or refers to itself over 256 levels deep");
    }
    run->depth++;
    bool is_valid = evaluate_object(run, node, value, marks);
    run->depth--;
    return is_valid && !run->has_failed;
}

bool schema_check(const struct schema *schema, json_t *value, bool *is_valid_out, char *reason,
                  size_t reason_size, struct error *error)
{
    struct schema_run run = {
        .schema = schema,
        .arena = arena_open(MARKS_BYTES_MAX),
        .steps_left = SCHEMA_STEPS_MAX,
        .reason = reason,
        .reason_size = reason_size,
        .error = error,
    };
    if (run.arena == NULL) {
        return error_set(error, ERROR_INTERNAL, NULL, NULL, "out of memory for a schema");
    }
    reason[0] = '\0';
    *is_valid_out = schema_evaluate(&run, schema->root, value, NULL);
    pattern_scratch_close(&run.scratch);
    arena_close(run.arena);
    return !run.has_failed;
}
