/* schema_internal: a compiled schema, for the files of schema.h.
 *
 * Each subschema becomes a node, each keyword of it a rule, in the order of the table of keywords;
 * what a rule applies to others are its parts. Nodes are found again by the address of their
 * object, for references by JSON pointer. All memory is the schema's arena.
 */
#ifndef PIPELINE_COMPARE_SCHEMA_INTERNAL_H
#define PIPELINE_COMPARE_SCHEMA_INTERNAL_H

#include "pipeline/compare/schema.h"
#include "pipeline/compare/value_path.h"
#include "pipeline/text/pattern.h"
#include "schemas/base/arena.h"
#include "schemas/base/buffer.h"

struct schema_node;
struct schema_run;
struct schema_marks;

enum schema_dialect { DIALECT_DRAFT7 = 1, DIALECT_2020 = 2, DIALECT_BOTH = 3 };

/* What a keyword's value holds. */
enum schema_shape {
    SHAPE_VALUE,        // no subschemas
    SHAPE_ONE,          // a subschema
    SHAPE_LIST,         // an array of them
    SHAPE_ONE_OR_LIST,  // either
    SHAPE_MAP,          // an object of them
    SHAPE_PATTERNS,     // an object of them by regular expression
    SHAPE_DEPENDENCIES, // an object of them or of arrays of names
    SHAPE_PATTERN,      // a regular expression
    SHAPE_REFERENCE,    // a URI reference to one
};

struct schema_part {
    const char *name; // of the member, NULL without
    json_t *json;
    struct schema_node *node; // NULL where it is not a subschema
    struct pattern *pattern;
};

struct schema_rule {
    const struct schema_keyword *keyword;
    const struct schema_node *node;
    json_t *value;
    struct schema_part *parts;
    size_t parts_count;
};

struct schema_keyword {
    const char *name;
    enum schema_dialect dialect;
    enum schema_shape shape;
    // NULL: says nothing about a value by itself.
    bool (*check)(struct schema_run *run, const struct schema_rule *rule, json_t *value,
                  struct schema_marks *marks);
};

/* In the order in which they are checked: what looks at marks is last. */
extern const struct schema_keyword schema_keywords[];
extern const size_t schema_keywords_count;

/* A schema with a URI of its own. */
struct schema_resource {
    struct bytes uri;
    struct schema_node *root;
    enum schema_dialect dialect;
    bool is_draft4;
};

struct schema_anchor {
    struct schema_resource *resource;
    const char *name;
    struct schema_node *node;
    bool is_dynamic;
};

struct schema_node {
    json_t *json;
    struct schema_resource *resource;
    struct schema_rule *rules;
    size_t rules_count;
    bool wants_marks;         // has a rule that asks what the others looked at
    struct schema_node *next; // in its slot
};

enum { SCHEMA_SLOTS = 4096 };

struct schema {
    json_t *document;
    struct arena *arena;
    struct schema_node *root;
    struct schema_node *slots[SCHEMA_SLOTS]; // by the address of the object
    struct schema_node **nodes;              // [nodes_count]
    size_t nodes_count;
    struct schema_resource *resources[SCHEMA_NAMES_MAX];
    size_t resources_count;
    struct schema_anchor anchors[SCHEMA_NAMES_MAX];
    size_t anchors_count;
    struct pattern *patterns[SCHEMA_PATTERNS_MAX];
    size_t patterns_count;
    const char *unknown[SCHEMA_UNKNOWN_MAX];
    size_t unknown_count;
};

/* The resource with this URI, NULL for none. */
struct schema_resource *schema_find_resource(const struct schema *schema, struct bytes uri);
/* An anchor of a resource, NULL for none. */
const struct schema_anchor *schema_find_anchor(const struct schema *schema,
                                               const struct schema_resource *resource,
                                               struct bytes name);
/* Finds the targets of all references. */
bool schema_link(struct schema *schema, struct error *error) MUST_CHECK;
/* The node of a subschema anywhere in a resource, compiled now if it was not. */
bool schema_compile(struct schema *schema, json_t *json, struct schema_resource *resource,
                    int depth, struct schema_node **node_out, struct error *error) MUST_CHECK;

/* --- One check --- */

/* Which members or items of a value were looked at by keywords that succeeded. */
struct schema_marks {
    json_t *names; // an object with those members, NULL for none
    bool *items;   // [items_count], NULL for none
    size_t items_count;
};

/* The resources on the way from the root to here, for $dynamicRef. */
struct schema_scope {
    const struct schema_scope *outer;
    const struct schema_resource *resource;
};

struct schema_run {
    const struct schema *schema;
    const struct schema_scope *scope;
    struct arena *arena; // for marks of items
    struct pattern_scratch scratch;
    struct value_path path;
    size_t steps_left;
    int depth;
    int quiet; // above 0: a failure here may still be part of a success
    char *reason;
    size_t reason_size;
    bool has_failed; // a limit was met: every answer from here on is void
    struct error *error;
};

/* Whether the node allows the value; marks, if not NULL, get what it looked at. */
bool schema_evaluate(struct schema_run *run, const struct schema_node *node, json_t *value,
                     struct schema_marks *marks);
/* Takes `steps` off what is left; false when a limit is met. */
bool schema_step(struct schema_run *run, size_t steps);
/* Whether all of `names` that are strings are members of `value`, refused by the first that is not.
 */
bool schema_has_all(struct schema_run *run, const struct schema_rule *rule, const json_t *names,
                    const json_t *value);
/* Notes why the value is refused, and returns false. */
bool schema_refuse(struct schema_run *run, const struct schema_rule *rule, const char *why);
/* Ends the run with an error, and returns false. */
bool schema_give_up(struct schema_run *run, const char *why);
/* Whether two values are the same, numbers by value; counts steps. */
bool schema_equal(struct schema_run *run, json_t *a, json_t *b);
/* Whether the expression occurs in the text. */
bool schema_search(struct schema_run *run, const struct pattern *pattern, const char *text,
                   size_t size);

void schema_mark_name(struct schema_marks *marks, const char *name, json_t *value);
/* [size] of the marks for an array of that size; NULL when there is no room or nobody asks. */
bool *schema_mark_items(struct schema_run *run, struct schema_marks *marks, size_t size);

/* The check functions, by file. */
#define SCHEMA_CHECK(name)                                                                         \
    bool schema_check_##name(struct schema_run *run, const struct schema_rule *rule,               \
                             json_t *value, struct schema_marks *marks)

// schema_assert.c
SCHEMA_CHECK(type);
SCHEMA_CHECK(enum);
SCHEMA_CHECK(const);
SCHEMA_CHECK(multiple_of);
SCHEMA_CHECK(maximum);
SCHEMA_CHECK(minimum);
SCHEMA_CHECK(exclusive_maximum);
SCHEMA_CHECK(exclusive_minimum);
SCHEMA_CHECK(max_length);
SCHEMA_CHECK(min_length);
SCHEMA_CHECK(pattern);
SCHEMA_CHECK(max_items);
SCHEMA_CHECK(min_items);
SCHEMA_CHECK(unique_items);
SCHEMA_CHECK(max_properties);
SCHEMA_CHECK(min_properties);
SCHEMA_CHECK(required);
SCHEMA_CHECK(dependent_required);
// schema_apply.c
SCHEMA_CHECK(ref);
SCHEMA_CHECK(dynamic_ref);
SCHEMA_CHECK(all_of);
SCHEMA_CHECK(any_of);
SCHEMA_CHECK(one_of);
SCHEMA_CHECK(not );
SCHEMA_CHECK(if);
SCHEMA_CHECK(dependencies);
SCHEMA_CHECK(properties);
SCHEMA_CHECK(pattern_properties);
SCHEMA_CHECK(additional_properties);
SCHEMA_CHECK(property_names);
SCHEMA_CHECK(prefix_items);
SCHEMA_CHECK(items);
SCHEMA_CHECK(additional_items);
SCHEMA_CHECK(contains);
SCHEMA_CHECK(unevaluated_properties);
SCHEMA_CHECK(unevaluated_items);

/* The rule of a node with this keyword, NULL for none. */
const struct schema_rule *schema_rule_of(const struct schema_node *node, const char *name);

#endif
