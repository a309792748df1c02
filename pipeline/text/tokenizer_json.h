/* tokenizer_json: members of a tokenizer.json, each with one clear error when it is missing or has
 * the wrong type. Results are borrowed from the JSON value. */
#ifndef PIPELINE_TEXT_TOKENIZER_JSON_H
#define PIPELINE_TEXT_TOKENIZER_JSON_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "pipeline/text/pattern.h"
#include "schemas/base/bytes.h"
#include "schemas/base/error.h"

/* No sequence of steps in use is longer than 6. */
enum { STEPS_MAX = 16 };

MUST_CHECK bool member_text(const json_t *object, const char *key, struct bytes *text_out,
                            struct error *error);
/* Absent and null mean `fallback`. */
MUST_CHECK bool member_bool(const json_t *object, const char *key, bool fallback, bool *value_out,
                            struct error *error);
MUST_CHECK bool member_array(const json_t *object, const char *key, const json_t **array_out,
                             struct error *error);
/* An integer from `low` to `high`. */
MUST_CHECK bool member_integer(const json_t *object, const char *key, long long low, long long high,
                               long long *value_out, struct error *error);
/* {"String": ...} or {"Regex": ...} under "pattern". */
MUST_CHECK bool member_pattern(const json_t *object, struct pattern **pattern_out,
                               struct error *error);

/* "normalizer Lowercase is not supported" */
bool refuse_type(const char *what, struct bytes type, struct error *error);

#endif
