/* model_json: reading the JSON files of a model folder as untrusted input, with errors that name
 * file and field. Thread: any. */
#ifndef PIPELINE_MODEL_MODEL_JSON_H
#define PIPELINE_MODEL_MODEL_JSON_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "schemas/base/error.h"

/* Reads the object in `folder`/`name`, at most `bytes_max` long; the caller drops the reference. */
MUST_CHECK bool model_json_load(const char *folder, const char *name, size_t bytes_max,
                                json_t **object_out, struct error *error);
/* The same of an array. */
MUST_CHECK bool model_json_load_array(const char *folder, const char *name, size_t bytes_max,
                                      json_t **array_out, struct error *error);
bool model_json_exists(const char *folder, const char *name);

struct int_field {
    const char *file; // for the message
    const char *name;
    int least;
    int most;
};

/* A whole number in its bounds. Absent or null: *value_out stays as it is, if `is_needed` is not.
 */
MUST_CHECK bool model_json_int(const json_t *object, const struct int_field *field, bool is_needed,
                               int *value_out, struct error *error);

struct number_field {
    const char *file;
    const char *name;
    double least;
    double most;
};

MUST_CHECK bool model_json_number(const json_t *object, const struct number_field *field,
                                  bool is_needed, double *value_out, struct error *error);
MUST_CHECK bool model_json_bool(const json_t *object, const char *file, const char *name,
                                bool *value_out, struct error *error);

/* Refuses what the file asks for and is not done here: "FILE: WHAT VALUE is not supported". Returns
 * false. */
bool model_json_refuse(const char *file, const char *what, const char *value, struct error *error);

#endif
