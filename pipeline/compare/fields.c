/* fields: both trees are walked at once. */
#include "pipeline/compare/fields.h"

#include <stdio.h>

#include "pipeline/compare/value_path.h"

struct walk {
    struct fields fields;
    struct value_path path;
    int depth;
};

static void compare(struct walk *walk, json_t *reference, json_t *candidate);

static void note_difference(struct walk *walk)
{
    if (walk->fields.difference[0] == '\0') {
        (void)snprintf(walk->fields.difference, sizeof walk->fields.difference, "%s",
                       value_path_text(&walk->path));
    }
}

/* --- Values --- */

static bool is_number_equal(const json_t *a, const json_t *b)
{
    if (json_is_integer(a) && json_is_integer(b)) {
        return json_integer_value(a) == json_integer_value(b);
    }
    return json_number_value(a) == json_number_value(b);
}

static bool is_leaf_equal(const json_t *a, const json_t *b)
{
    if (json_is_number(a) && json_is_number(b)) {
        return is_number_equal(a, b);
    }
    return a != NULL && b != NULL && json_equal(a, b);
}

static bool is_open(const struct walk *walk, const json_t *value)
{
    return walk->depth < FIELDS_DEPTH_MAX &&
           (json_object_size(value) > 0 || json_array_size(value) > 0);
}

/* Goes on below the step that was just added to the path, which was `size` long before. */
static void enter(struct walk *walk, size_t size, json_t *reference, json_t *candidate)
{
    walk->depth++;
    compare(walk, reference, candidate);
    walk->depth--;
    value_path_cut(&walk->path, size);
}

/* Either may be something else than an object, which then has none of the members. */
static void compare_members(struct walk *walk, json_t *reference, json_t *candidate)
{
    const char *key = NULL;
    json_t *value = NULL;
    json_object_foreach (reference, key, value) {
        size_t size = value_path_add_key(&walk->path, key);
        enter(walk, size, value, json_object_get(candidate, key));
    }
    json_object_foreach (candidate, key, value) {
        if (json_object_get(reference, key) == NULL) {
            size_t size = value_path_add_key(&walk->path, key);
            enter(walk, size, NULL, value);
        }
    }
}

static void compare_items(struct walk *walk, json_t *reference, json_t *candidate)
{
    size_t reference_size = json_array_size(reference);
    size_t candidate_size = json_array_size(candidate);
    size_t count = reference_size > candidate_size ? reference_size : candidate_size;
    for (size_t i = 0; i < count; i++) {
        size_t size = value_path_add_index(&walk->path, i);
        enter(walk, size, json_array_get(reference, i), json_array_get(candidate, i));
    }
}

/* Either may be NULL: the path is not there. */
static void compare(struct walk *walk, json_t *reference, json_t *candidate)
{
    bool is_equal = false;
    bool is_reference_open = is_open(walk, reference);
    bool is_candidate_open = is_open(walk, candidate);
    if (json_is_object(reference) || json_is_object(candidate)) {
        compare_members(walk, is_reference_open ? reference : NULL,
                        is_candidate_open ? candidate : NULL);
    }
    if (json_is_array(reference) || json_is_array(candidate)) {
        compare_items(walk, is_reference_open ? reference : NULL,
                      is_candidate_open ? candidate : NULL);
    }
    bool is_field =
        (reference != NULL && !is_reference_open) || (candidate != NULL && !is_candidate_open);
    if (is_field) {
        is_equal = !is_reference_open && !is_candidate_open && is_leaf_equal(reference, candidate);
        walk->fields.total++;
        walk->fields.equal += is_equal;
    }
    if (is_field && !is_equal) {
        note_difference(walk);
    }
}

struct fields fields_compare(json_t *reference, json_t *candidate)
{
    struct walk walk = {.depth = 0};
    compare(&walk, reference, candidate);
    return walk.fields;
}

double fields_accuracy(const struct fields *fields)
{
    return fields->total == 0 ? 1 : (double)fields->equal / (double)fields->total;
}
