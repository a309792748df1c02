/* schema_link: references to their targets. */
#include "pipeline/compare/schema.h"

#include <string.h>

#include "pipeline/compare/schema_internal.h"
#include "pipeline/compare/uri.h"

enum { REFERENCE_BYTES_MAX = 4096, INDEX_DIGITS_MAX = 9 };

static bool refuse(struct error *error, const char *reference)
{
    return error_set(error, ERROR_INVALID, NULL, NULL,
                     "the schema refers to %.200s, which is not within it", reference);
}

/* An index without leading zeros; SIZE_MAX where it is none. */
static size_t index_of(const char *text)
{
    size_t size = strlen(text);
    size_t index = 0;
    if (size == 0 || size > INDEX_DIGITS_MAX || (text[0] == '0' && size > 1)) {
        return SIZE_MAX;
    }
    for (size_t i = 0; i < size; i++) {
        if (text[i] < '0' || text[i] > '9') {
            return SIZE_MAX;
        }
        index = 10 * index + (size_t)(text[i] - '0');
    }
    return index;
}

/* Undoes the escapes of a pointer's token in place: ~1 is a slash, ~0 a tilde. */
static void unescape(char *token)
{
    char *out = token;
    for (const char *at = token; *at != '\0'; at++) {
        if (at[0] == '~' && (at[1] == '0' || at[1] == '1')) {
            at++;
            *out++ = *at == '0' ? '~' : '/';
        } else {
            *out++ = *at;
        }
    }
    *out = '\0';
}

/* What the JSON pointer leads to, NULL where it leads nowhere. Changes `pointer`. */
static json_t *follow(json_t *json, char *pointer)
{
    while (json != NULL && *pointer == '/') {
        char *token = pointer + 1;
        size_t size = strcspn(token, "/");
        bool is_last = token[size] == '\0';
        token[size] = '\0';
        pointer = token + size;
        unescape(token);
        size_t index = json_is_array(json) ? index_of(token) : SIZE_MAX;
        json = json_is_array(json) ? json_array_get(json, index) : json_object_get(json, token);
        if (!is_last) {
            *pointer = '/';
        }
    }
    return json;
}

/* The node that a fragment means: all, a JSON pointer, or an anchor; NULL for none. */
static bool find_target(struct schema *schema, struct schema_resource *resource,
                        struct bytes fragment, struct schema_node **node_out, struct error *error)
{
    struct buffer decoded;
    buffer_init(&decoded, REFERENCE_BYTES_MAX);
    uri_decode(fragment, &decoded);
    struct bytes name = buffer_bytes(&decoded);
    const struct schema_anchor *anchor = NULL;
    bool is_done = true;
    *node_out = NULL;
    if (name.size == 0) {
        *node_out = resource->root;
    } else if (name.data[0] == '/' && strlen(name.data) == name.size) {
        json_t *target = follow(resource->root->json, decoded.data);
        if (json_is_object(target) || json_is_boolean(target)) {
            is_done = schema_compile(schema, target, resource, 0, node_out, error);
        }
    } else {
        anchor = schema_find_anchor(schema, resource, name);
        *node_out = anchor == NULL ? NULL : anchor->node;
    }
    buffer_close(&decoded);
    return is_done;
}

static bool link_rule(struct schema *schema, struct schema_rule *rule, struct error *error)
{
    struct bytes reference = {json_string_value(rule->value), json_string_length(rule->value)};
    struct buffer uri;
    buffer_init(&uri, REFERENCE_BYTES_MAX);
    uri_resolve(rule->node->resource->uri, reference, &uri);
    struct schema_resource *resource =
        buffer_failed(&uri) ? NULL : schema_find_resource(schema, buffer_bytes(&uri));
    buffer_close(&uri);
    if (resource == NULL) {
        return refuse(error, reference.data);
    }
    struct bytes fragment = uri_split(reference).fragment;
    if (!find_target(schema, resource, fragment, &rule->parts->node, error)) {
        return false;
    }
    return rule->parts->node != NULL || refuse(error, reference.data);
}

bool schema_link(struct schema *schema, struct error *error)
{
    // Targets in places that no keyword reaches add nodes while this goes on.
    for (size_t i = 0; i < schema->nodes_count; i++) {
        struct schema_node *node = schema->nodes[i];
        for (size_t j = 0; j < node->rules_count; j++) {
            struct schema_rule *rule = &node->rules[j];
            if (rule->keyword->shape == SHAPE_REFERENCE && !link_rule(schema, rule, error)) {
                return false;
            }
        }
    }
    return true;
}
