/* schema: JSON Schema, draft 2020-12, or draft 7 where $schema says so.
 *
 * `$ref` and `$dynamicRef` reach what is within the document, embedded resources with their own $id
 * included; nothing is ever fetched. `format` and the content keywords annotate only. Regular
 * expressions are ECMA-262's as far as PCRE2 has them. Drafts 4 and 6 are read as draft 7, with
 * draft 4's `id` and its boolean exclusiveMinimum and exclusiveMaximum.
 *
 * Schemas and values are not trusted: size, depth, steps and regular expressions are bounded (the
 * limits are below), and what exceeds them is an error, not a verdict.
 * Thread: immutable after open, except that it belongs to one checking thread at a time.
 */
#ifndef PIPELINE_COMPARE_SCHEMA_H
#define PIPELINE_COMPARE_SCHEMA_H

#include <jansson.h>
#include <stdbool.h>

#include "schemas/base/error.h"

enum {
    SCHEMA_NODES_MAX = 20000,        // subschemas
    SCHEMA_NAMES_MAX = 1024,         // resources, and anchors
    SCHEMA_PATTERNS_MAX = 1024,      // regular expressions
    SCHEMA_DEPTH_MAX = 256,          // of subschemas in one another, also through references
    SCHEMA_STEPS_MAX = 10000000,     // of one check: keywords, members, items, comparisons
    SCHEMA_SEARCH_BYTES_MAX = 65536, // of a text that a regular expression is tried on
    SCHEMA_UNKNOWN_MAX = 16,         // keywords that are named
};

struct schema;

/* Keeps a reference to `document`, which must not change. Fails where it is no schema, has a
 * reference that leads nowhere, or is too large. */
MUST_CHECK bool schema_open(json_t *document, struct schema **schema_out, struct error *error);
void schema_close(struct schema *schema); // accepts NULL

/* Whether the schema allows the value. Where not, `reason` says where and why. False with *error
 * set where a limit was met, so that there is no verdict. */
MUST_CHECK bool schema_check(const struct schema *schema, json_t *value, bool *is_valid_out,
                             char *reason, size_t reason_size, struct error *error);

/* Keywords that were ignored because nothing here knows them, each once, in the order of their
 * appearance; NULL past the last. A $schema that is another draft is one of them. */
const char *schema_unknown(const struct schema *schema, size_t index);

#endif
