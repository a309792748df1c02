/* schema_keywords: the table. */
#include "pipeline/compare/schema.h"

#include "pipeline/compare/schema_internal.h"

#define BOTH DIALECT_BOTH
#define NEW DIALECT_2020
#define OLD DIALECT_DRAFT7

const struct schema_keyword schema_keywords[] = {
    // Names and places.
    {"$schema", BOTH, SHAPE_VALUE, NULL},
    {"$id", BOTH, SHAPE_VALUE, NULL},
    {"id", OLD, SHAPE_VALUE, NULL}, // draft 4
    {"$anchor", NEW, SHAPE_VALUE, NULL},
    {"$dynamicAnchor", NEW, SHAPE_VALUE, NULL},
    {"$vocabulary", NEW, SHAPE_VALUE, NULL},
    {"$defs", BOTH, SHAPE_MAP, NULL},
    {"definitions", BOTH, SHAPE_MAP, NULL},
    // Annotations.
    {"$comment", BOTH, SHAPE_VALUE, NULL},
    {"title", BOTH, SHAPE_VALUE, NULL},
    {"description", BOTH, SHAPE_VALUE, NULL},
    {"default", BOTH, SHAPE_VALUE, NULL},
    {"deprecated", BOTH, SHAPE_VALUE, NULL},
    {"readOnly", BOTH, SHAPE_VALUE, NULL},
    {"writeOnly", BOTH, SHAPE_VALUE, NULL},
    {"examples", BOTH, SHAPE_VALUE, NULL},
    {"format", BOTH, SHAPE_VALUE, NULL},
    {"contentEncoding", BOTH, SHAPE_VALUE, NULL},
    {"contentMediaType", BOTH, SHAPE_VALUE, NULL},
    {"contentSchema", NEW, SHAPE_ONE, NULL},
    // Assertions.
    {"type", BOTH, SHAPE_VALUE, schema_check_type},
    {"enum", BOTH, SHAPE_VALUE, schema_check_enum},
    {"const", BOTH, SHAPE_VALUE, schema_check_const},
    {"multipleOf", BOTH, SHAPE_VALUE, schema_check_multiple_of},
    {"maximum", BOTH, SHAPE_VALUE, schema_check_maximum},
    {"exclusiveMaximum", BOTH, SHAPE_VALUE, schema_check_exclusive_maximum},
    {"minimum", BOTH, SHAPE_VALUE, schema_check_minimum},
    {"exclusiveMinimum", BOTH, SHAPE_VALUE, schema_check_exclusive_minimum},
    {"maxLength", BOTH, SHAPE_VALUE, schema_check_max_length},
    {"minLength", BOTH, SHAPE_VALUE, schema_check_min_length},
    {"pattern", BOTH, SHAPE_PATTERN, schema_check_pattern},
    {"maxItems", BOTH, SHAPE_VALUE, schema_check_max_items},
    {"minItems", BOTH, SHAPE_VALUE, schema_check_min_items},
    {"uniqueItems", BOTH, SHAPE_VALUE, schema_check_unique_items},
    {"maxProperties", BOTH, SHAPE_VALUE, schema_check_max_properties},
    {"minProperties", BOTH, SHAPE_VALUE, schema_check_min_properties},
    {"required", BOTH, SHAPE_VALUE, schema_check_required},
    {"dependentRequired", NEW, SHAPE_VALUE, schema_check_dependent_required},
    // Other schemas for the same value.
    {"$ref", BOTH, SHAPE_REFERENCE, schema_check_ref},
    {"$dynamicRef", NEW, SHAPE_REFERENCE, schema_check_dynamic_ref},
    {"allOf", BOTH, SHAPE_LIST, schema_check_all_of},
    {"anyOf", BOTH, SHAPE_LIST, schema_check_any_of},
    {"oneOf", BOTH, SHAPE_LIST, schema_check_one_of},
    {"not", BOTH, SHAPE_ONE, schema_check_not},
    {"if", BOTH, SHAPE_ONE, schema_check_if},
    {"then", BOTH, SHAPE_ONE, NULL},
    {"else", BOTH, SHAPE_ONE, NULL},
    {"dependentSchemas", NEW, SHAPE_MAP, schema_check_dependencies},
    {"dependencies", BOTH, SHAPE_DEPENDENCIES, schema_check_dependencies},
    // Other schemas for what is inside.
    {"properties", BOTH, SHAPE_MAP, schema_check_properties},
    {"patternProperties", BOTH, SHAPE_PATTERNS, schema_check_pattern_properties},
    {"additionalProperties", BOTH, SHAPE_ONE, schema_check_additional_properties},
    {"propertyNames", BOTH, SHAPE_ONE, schema_check_property_names},
    {"prefixItems", NEW, SHAPE_LIST, schema_check_prefix_items},
    {"items", BOTH, SHAPE_ONE_OR_LIST, schema_check_items},
    {"additionalItems", BOTH, SHAPE_ONE, schema_check_additional_items},
    {"contains", BOTH, SHAPE_ONE, schema_check_contains},
    {"minContains", NEW, SHAPE_VALUE, NULL},
    {"maxContains", NEW, SHAPE_VALUE, NULL},
    {"unevaluatedProperties", NEW, SHAPE_ONE, schema_check_unevaluated_properties},
    {"unevaluatedItems", NEW, SHAPE_ONE, schema_check_unevaluated_items},
};

const size_t schema_keywords_count = sizeof schema_keywords / sizeof schema_keywords[0];
