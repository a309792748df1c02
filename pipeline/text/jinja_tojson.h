/* jinja_tojson: values as JSON, and JSON as values. */
#ifndef PIPELINE_TEXT_JINJA_TOJSON_H
#define PIPELINE_TEXT_JINJA_TOJSON_H

#include <jansson.h>

#include "pipeline/text/jinja_run.h"

/* json.dumps's parameters. */
struct jinja_json_style {
    bool is_ascii;
    bool sorts_keys;
    struct bytes indent; // data NULL: everything on one line
    struct bytes item_separator;
    struct bytes key_separator;
};

/* Appends the value to the output as Python's json.dumps writes it. */
bool jinja_print_json(struct jinja_run *run, struct jinja_value value,
                      const struct jinja_json_style *style) MUST_CHECK;
/* Strings are borrowed from `json`. */
bool jinja_from_json(struct jinja_run *run, const json_t *json, struct jinja_value *out) MUST_CHECK;

#endif
