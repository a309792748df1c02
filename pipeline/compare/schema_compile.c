/* schema_compile: from a document to nodes and rules. */
#include "pipeline/compare/schema.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "pipeline/compare/schema_internal.h"
#include "pipeline/compare/uri.h"

enum { ARENA_BYTES_MAX = 64 << 20, URI_BYTES_MAX = 4096 };

static bool refuse(struct error *error, const char *what, const char *name)
{
    return error_set(error, ERROR_INVALID, NULL, NULL, "the schema %s%.100s", what, name);
}

static bool refuse_size(struct error *error)
{
    return error_set(error, ERROR_TOO_LARGE, NULL, NULL,
                     "the schema is too large: %d subschemas, %d names, %d patterns and %d levels "
                     "are the limits",
                     SCHEMA_NODES_MAX, SCHEMA_NAMES_MAX, SCHEMA_PATTERNS_MAX, SCHEMA_DEPTH_MAX);
}

/* --- Finding what was compiled --- */

static size_t slot_of(const json_t *json)
{
    uint64_t address = (uint64_t)(uintptr_t)json;
    return (size_t)(address * UINT64_C(0x9E3779B97F4A7C15) >> 52) % SCHEMA_SLOTS;
}

static struct schema_node *find_node(const struct schema *schema, const json_t *json)
{
    struct schema_node *node = schema->slots[slot_of(json)];
    while (node != NULL && node->json != json) {
        node = node->next;
    }
    return node;
}

struct schema_resource *schema_find_resource(const struct schema *schema, struct bytes uri)
{
    for (size_t i = 0; i < schema->resources_count; i++) {
        if (bytes_equal(schema->resources[i]->uri, uri)) {
            return schema->resources[i];
        }
    }
    return NULL;
}

const struct schema_anchor *schema_find_anchor(const struct schema *schema,
                                               const struct schema_resource *resource,
                                               struct bytes name)
{
    for (size_t i = 0; i < schema->anchors_count; i++) {
        const struct schema_anchor *anchor = &schema->anchors[i];
        if (anchor->resource == resource && bytes_equal_text(name, anchor->name)) {
            return anchor;
        }
    }
    return NULL;
}

const struct schema_rule *schema_rule_of(const struct schema_node *node, const char *name)
{
    for (size_t i = 0; i < node->rules_count; i++) {
        if (strcmp(node->rules[i].keyword->name, name) == 0) {
            return &node->rules[i];
        }
    }
    return NULL;
}

/* --- Resources and anchors --- */

static void note_unknown(struct schema *schema, const char *name)
{
    for (size_t i = 0; i < schema->unknown_count; i++) {
        if (strcmp(schema->unknown[i], name) == 0) {
            return;
        }
    }
    if (schema->unknown_count < SCHEMA_UNKNOWN_MAX) {
        schema->unknown[schema->unknown_count++] = name;
    }
}

static void read_dialect(struct schema *schema, const json_t *json,
                         struct schema_resource *resource)
{
    static const char *const old[] = {"draft-04", "draft-06", "draft-07"};
    const char *text = json_string_value(json_object_get(json, "$schema"));
    if (text == NULL) {
        return;
    }
    resource->dialect = DIALECT_2020;
    for (size_t i = 0; i < sizeof old / sizeof old[0]; i++) {
        if (strstr(text, "json-schema.org/") != NULL && strstr(text, old[i]) != NULL) {
            resource->dialect = DIALECT_DRAFT7;
            resource->is_draft4 = i == 0;
        }
    }
    if (resource->dialect == DIALECT_2020 && strstr(text, "draft/2020-12/") == NULL) {
        note_unknown(schema, "$schema");
    }
}

/* A new resource at `json`, whose $id is `id` (absent for the root of the document). */
static bool add_resource(struct schema *schema, const json_t *json,
                         const struct schema_resource *parent, struct bytes id,
                         struct schema_resource **resource_out, struct error *error)
{
    struct schema_resource *resource = arena_alloc(schema->arena, sizeof *resource);
    if (resource == NULL || schema->resources_count == SCHEMA_NAMES_MAX) {
        return refuse_size(error);
    }
    *resource = parent != NULL ? *parent : (struct schema_resource){.dialect = DIALECT_2020};
    read_dialect(schema, json, resource);
    struct buffer uri;
    buffer_init(&uri, URI_BYTES_MAX);
    uri_resolve(resource->uri, id, &uri);
    resource->uri = arena_copy(schema->arena, buffer_bytes(&uri));
    bool has_failed = buffer_failed(&uri) || resource->uri.data == NULL;
    buffer_close(&uri);
    schema->resources[schema->resources_count++] = resource;
    *resource_out = resource;
    return !has_failed || refuse_size(error);
}

static bool add_anchor(struct schema *schema, struct schema_node *node, const char *name,
                       bool is_dynamic, struct error *error)
{
    if (name == NULL) {
        return true;
    }
    if (schema->anchors_count == SCHEMA_NAMES_MAX) {
        return refuse_size(error);
    }
    schema->anchors[schema->anchors_count++] =
        (struct schema_anchor){node->resource, name, node, is_dynamic};
    return true;
}

static bool is_ref_alone(const struct schema_resource *resource, const json_t *json)
{
    return resource != NULL && resource->dialect == DIALECT_DRAFT7 &&
           json_is_string(json_object_get(json, "$ref"));
}

/* The identifier of a subschema, absent where it has none. A new $schema counts for its own $id. */
static struct bytes id_of(const json_t *json, const struct schema_resource *resource)
{
    const char *text = json_string_value(json_object_get(json, "$id"));
    const char *dialect = json_string_value(json_object_get(json, "$schema"));
    bool is_draft4 = dialect != NULL ? strstr(dialect, "draft-04") != NULL
                                     : resource != NULL && resource->is_draft4;
    if (text == NULL && is_draft4) {
        text = json_string_value(json_object_get(json, "id"));
    }
    return is_ref_alone(resource, json) ? (struct bytes){NULL, 0} : bytes_of(text);
}

/* Sets the node's resource, which is a new one where it has an identifier, and adds its anchors. */
static bool name_node(struct schema *schema, struct schema_node *node, struct error *error)
{
    struct bytes id = id_of(node->json, node->resource);
    const char *old_anchor = id.data != NULL && id.data[0] == '#' ? id.data + 1 : NULL;
    if (node->resource == NULL || (id.data != NULL && old_anchor == NULL)) {
        struct bytes name = old_anchor == NULL ? id : (struct bytes){NULL, 0};
        if (!add_resource(schema, node->json, node->resource, name, &node->resource, error)) {
            return false;
        }
        node->resource->root = node;
    }
    bool is_new = node->resource->dialect == DIALECT_2020;
    const json_t *anchor = is_new ? json_object_get(node->json, "$anchor") : NULL;
    const json_t *dynamic = is_new ? json_object_get(node->json, "$dynamicAnchor") : NULL;
    return add_anchor(schema, node, is_new ? NULL : old_anchor, false, error) &&
           add_anchor(schema, node, json_string_value(anchor), false, error) &&
           add_anchor(schema, node, json_string_value(dynamic), true, error);
}

/* --- Rules --- */

static bool add_pattern(struct schema *schema, const char *text, size_t size,
                        struct pattern **pattern_out, struct error *error)
{
    static const char always[] = "(?:)"; // what the empty expression means
    struct bytes expression = {size == 0 ? always : text, size == 0 ? sizeof always - 1 : size};
    if (schema->patterns_count == SCHEMA_PATTERNS_MAX) {
        return refuse_size(error);
    }
    if (!pattern_open_ecma(expression, pattern_out, error)) {
        return error_prefix(error, "the schema");
    }
    schema->patterns[schema->patterns_count++] = *pattern_out;
    return true;
}

static bool compile_part(struct schema *schema, const struct schema_rule *rule,
                         struct schema_part *part, int depth, struct error *error)
{
    bool is_names = rule->keyword->shape == SHAPE_DEPENDENCIES && json_is_array(part->json);
    if (rule->keyword->shape == SHAPE_PATTERNS &&
        !add_pattern(schema, part->name, strlen(part->name), &part->pattern, error)) {
        return false;
    }
    return is_names ||
           schema_compile(schema, part->json, rule->node->resource, depth, &part->node, error);
}

static bool compile_list(struct schema *schema, struct schema_rule *rule, int depth,
                         struct error *error)
{
    size_t index = 0;
    json_t *item = NULL;
    rule->parts_count = json_array_size(rule->value);
    rule->parts = arena_alloc_array(schema->arena, rule->parts_count, sizeof *rule->parts);
    if (rule->parts == NULL) {
        return refuse_size(error);
    }
    json_array_foreach (rule->value, index, item) {
        rule->parts[index].json = item;
        if (!compile_part(schema, rule, &rule->parts[index], depth, error)) {
            return false;
        }
    }
    return true;
}

static bool compile_map(struct schema *schema, struct schema_rule *rule, int depth,
                        struct error *error)
{
    const char *name = NULL;
    json_t *member = NULL;
    rule->parts =
        arena_alloc_array(schema->arena, json_object_size(rule->value), sizeof *rule->parts);
    if (rule->parts == NULL) {
        return refuse_size(error);
    }
    json_object_foreach (rule->value, name, member) {
        struct schema_part *part = &rule->parts[rule->parts_count++];
        *part = (struct schema_part){.name = name, .json = member};
        if (!compile_part(schema, rule, part, depth, error)) {
            return false;
        }
    }
    return true;
}

static bool compile_single(struct schema *schema, struct schema_rule *rule, int depth,
                           struct error *error)
{
    rule->parts_count = 1;
    rule->parts = arena_alloc(schema->arena, sizeof *rule->parts);
    if (rule->parts == NULL) {
        return refuse_size(error);
    }
    rule->parts->json = rule->value;
    if (rule->keyword->shape == SHAPE_PATTERN) {
        return add_pattern(schema, json_string_value(rule->value), json_string_length(rule->value),
                           &rule->parts->pattern, error);
    }
    return rule->keyword->shape == SHAPE_REFERENCE ||
           compile_part(schema, rule, rule->parts, depth, error);
}

static bool compile_rule(struct schema *schema, struct schema_rule *rule, int depth,
                         struct error *error)
{
    const json_t *value = rule->value;
    bool fits = true;
    switch (rule->keyword->shape) {
    case SHAPE_VALUE:
        return true;
    case SHAPE_ONE_OR_LIST:
        return json_is_array(value) ? compile_list(schema, rule, depth, error)
                                    : compile_single(schema, rule, depth, error);
    case SHAPE_ONE:
        return compile_single(schema, rule, depth, error);
    case SHAPE_PATTERN:
    case SHAPE_REFERENCE:
        fits = json_is_string(value);
        return fits ? compile_single(schema, rule, depth, error)
                    : refuse(error, "needs a string for ", rule->keyword->name);
    case SHAPE_LIST:
        fits = json_is_array(value);
        return fits ? compile_list(schema, rule, depth, error)
                    : refuse(error, "needs an array for ", rule->keyword->name);
    case SHAPE_MAP:
    case SHAPE_PATTERNS:
    case SHAPE_DEPENDENCIES:
        fits = json_is_object(value);
    }
    return fits ? compile_map(schema, rule, depth, error)
                : refuse(error, "needs an object for ", rule->keyword->name);
}

static bool is_keyword(const char *name, enum schema_dialect dialect)
{
    for (size_t i = 0; i < schema_keywords_count; i++) {
        if (strcmp(schema_keywords[i].name, name) == 0) {
            return (schema_keywords[i].dialect & dialect) != 0;
        }
    }
    return false;
}

static void note_unknown_keywords(struct schema *schema, const struct schema_node *node)
{
    const char *name = NULL;
    json_t *value = NULL;
    json_object_foreach (node->json, name, value) {
        if (!is_keyword(name, node->resource->dialect)) {
            note_unknown(schema, name);
        }
    }
}

static bool compile_rules(struct schema *schema, struct schema_node *node, int depth,
                          struct error *error)
{
    enum schema_dialect dialect = node->resource->dialect;
    bool is_alone = is_ref_alone(node->resource, node->json);
    node->rules =
        arena_alloc_array(schema->arena, json_object_size(node->json), sizeof *node->rules);
    if (node->rules == NULL) {
        return refuse_size(error);
    }
    for (size_t i = 0; i < schema_keywords_count; i++) {
        const struct schema_keyword *keyword = &schema_keywords[i];
        json_t *value = json_object_get(node->json, keyword->name);
        bool is_hidden = is_alone && keyword->check != NULL && keyword->check != schema_check_ref;
        if (value == NULL || (keyword->dialect & dialect) == 0 || is_hidden) {
            continue;
        }
        struct schema_rule *rule = &node->rules[node->rules_count++];
        *rule = (struct schema_rule){.keyword = keyword, .node = node, .value = value};
        node->wants_marks |= keyword->check == schema_check_unevaluated_properties ||
                             keyword->check == schema_check_unevaluated_items;
        if (!compile_rule(schema, rule, depth, error)) {
            return false;
        }
    }
    note_unknown_keywords(schema, node);
    return true;
}

bool schema_compile(struct schema *schema, json_t *json, struct schema_resource *resource,
                    int depth, struct schema_node **node_out, struct error *error)
{
    if (!json_is_object(json) && !json_is_boolean(json)) {
        return refuse(error, "has a subschema that is neither an object nor true or false", "");
    }
    *node_out = json_is_object(json) ? find_node(schema, json) : NULL;
    if (*node_out != NULL) {
        return true;
    }
    struct schema_node *node = arena_alloc(schema->arena, sizeof *node);
    if (node == NULL || schema->nodes_count == SCHEMA_NODES_MAX || depth > SCHEMA_DEPTH_MAX) {
        return refuse_size(error);
    }
    *node_out = node;
    schema->nodes[schema->nodes_count++] = node;
    node->json = json;
    node->resource = resource;
    if (json_is_boolean(json)) { // which are the same everywhere, and not found by address
        return resource != NULL || name_node(schema, node, error);
    }
    node->next = schema->slots[slot_of(json)];
    schema->slots[slot_of(json)] = node;
    return name_node(schema, node, error) && compile_rules(schema, node, depth + 1, error);
}

bool schema_open(json_t *document, struct schema **schema_out, struct error *error)
{
    struct schema *schema = calloc(1, sizeof *schema);
    if (schema == NULL) {
        return error_set(error, ERROR_INTERNAL, NULL, NULL, "out of memory for a schema");
    }
    schema->document = json_incref(document);
    schema->arena = arena_open(ARENA_BYTES_MAX);
    schema->nodes = calloc(SCHEMA_NODES_MAX, sizeof(struct schema_node *));
    bool is_done = schema->arena != NULL && schema->nodes != NULL;
    if (!is_done) {
        (void)error_set(error, ERROR_INTERNAL, NULL, NULL, "out of memory for a schema");
    }
    is_done = is_done && schema_compile(schema, document, NULL, 0, &schema->root, error) &&
              schema_link(schema, error);
    if (!is_done) {
        schema_close(schema);
        return false;
    }
    *schema_out = schema;
    return true;
}

void schema_close(struct schema *schema)
{
    if (schema == NULL) {
        return;
    }
    for (size_t i = 0; i < schema->patterns_count; i++) {
        pattern_close(schema->patterns[i]);
    }
    json_decref(schema->document);
    arena_close(schema->arena);
    free(schema->nodes);
    free(schema);
}

const char *schema_unknown(const struct schema *schema, size_t index)
{
    return index < schema->unknown_count ? schema->unknown[index] : NULL;
}
