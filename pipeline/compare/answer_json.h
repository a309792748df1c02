/* answer_json: a model's text read as JSON. Thread: any, no state. */
#ifndef PIPELINE_COMPARE_ANSWER_JSON_H
#define PIPELINE_COMPARE_ANSWER_JSON_H

#include <jansson.h>
#include <stdbool.h>

#include "schemas/base/bytes.h"
#include "schemas/base/error.h"

/* The value that the whole text is; of members with one name the last counts. Integers that 64 bits
 * do not hold become reals. The caller's, for json_decref. */
MUST_CHECK bool answer_json_parse(struct bytes text, json_t **value_out, struct error *error);

#endif
