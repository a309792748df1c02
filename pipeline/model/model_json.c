/* model_json: bounded reading of small JSON files. */
#include "pipeline/model/model_json.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static bool join(const char *folder, const char *name, char *path_out)
{
    int length = snprintf(path_out, PATH_MAX, "%s/%s", folder, name);
    return length > 0 && length < PATH_MAX;
}

bool model_json_exists(const char *folder, const char *name)
{
    char path[PATH_MAX];
    struct stat status;
    return join(folder, name, path) && stat(path, &status) == 0;
}

static bool read_all(FILE *file, const char *name, size_t bytes_max, json_t **value_out,
                     struct error *error)
{
    struct stat status;
    if (fstat(fileno(file), &status) != 0 || !S_ISREG(status.st_mode)) {
        return error_set(error, ERROR_CONFIG, NULL, NULL, "%s is not a regular file", name);
    }
    if (status.st_size < 0 || (size_t)status.st_size > bytes_max) {
        return error_set(error, ERROR_CONFIG, NULL, NULL, "%s has %lld bytes, at most %zu", name,
                         (long long)status.st_size, bytes_max);
    }
    json_error_t problem;
    *value_out = json_loadf(file, JSON_REJECT_DUPLICATES, &problem);
    return *value_out != NULL ||
           error_set(error, ERROR_CONFIG, NULL, NULL, "%s is not JSON: line %d: %s", name,
                     problem.line, problem.text);
}

static bool load(const char *folder, const char *name, size_t bytes_max, json_t **value_out,
                 struct error *error)
{
    char path[PATH_MAX];
    if (!join(folder, name, path)) {
        return error_set(error, ERROR_CONFIG, NULL, NULL, "the path of %s is longer than %d", name,
                         PATH_MAX - 1);
    }
    // Not blocking, for what is no file: a pipe would wait for its other end.
    int descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    FILE *file = descriptor < 0 ? NULL : fdopen(descriptor, "rb");
    if (file == NULL) {
        return error_set(error, ERROR_CONFIG, NULL, NULL, "cannot open %s: %s", path,
                         strerror(errno));
    }
    bool is_ok = read_all(file, name, bytes_max, value_out, error);
    (void)fclose(file);
    return is_ok;
}

static bool load_type(const char *folder, const char *name, size_t bytes_max, json_type type,
                      json_t **value_out, struct error *error)
{
    json_t *value = NULL;
    if (!load(folder, name, bytes_max, &value, error)) {
        return false;
    }
    if (json_typeof(value) != type) {
        json_decref(value);
        return error_set(error, ERROR_CONFIG, NULL, NULL, "%s is not a JSON %s", name,
                         type == JSON_OBJECT ? "object" : "array");
    }
    *value_out = value;
    return true;
}

bool model_json_load(const char *folder, const char *name, size_t bytes_max, json_t **object_out,
                     struct error *error)
{
    return load_type(folder, name, bytes_max, JSON_OBJECT, object_out, error);
}

bool model_json_load_array(const char *folder, const char *name, size_t bytes_max,
                           json_t **array_out, struct error *error)
{
    return load_type(folder, name, bytes_max, JSON_ARRAY, array_out, error);
}

static const json_t *field_of(const json_t *object, const char *name)
{
    const json_t *value = json_object_get(object, name);
    return json_is_null(value) ? NULL : value;
}

bool model_json_int(const json_t *object, const struct int_field *field, bool is_needed,
                    int *value_out, struct error *error)
{
    const json_t *value = field_of(object, field->name);
    if (value == NULL && !is_needed) {
        return true;
    }
    if (!json_is_integer(value)) {
        return error_set(error, ERROR_CONFIG, NULL, NULL, "%s: %s is %s, must be a whole number",
                         field->file, field->name, value == NULL ? "missing" : "something else");
    }
    json_int_t number = json_integer_value(value);
    if (number < field->least || number > field->most) {
        return error_set(error, ERROR_CONFIG, NULL, NULL,
                         "%s: %s is %" JSON_INTEGER_FORMAT ", must be from %d to %d", field->file,
                         field->name, number, field->least, field->most);
    }
    *value_out = (int)number;
    return true;
}

bool model_json_number(const json_t *object, const struct number_field *field, bool is_needed,
                       double *value_out, struct error *error)
{
    const json_t *value = field_of(object, field->name);
    if (value == NULL && !is_needed) {
        return true;
    }
    if (!json_is_number(value)) {
        return error_set(error, ERROR_CONFIG, NULL, NULL, "%s: %s is %s, must be a number",
                         field->file, field->name, value == NULL ? "missing" : "something else");
    }
    double number = json_number_value(value);
    if (!(number >= field->least && number <= field->most)) {
        return error_set(error, ERROR_CONFIG, NULL, NULL, "%s: %s is %g, must be from %g to %g",
                         field->file, field->name, number, field->least, field->most);
    }
    *value_out = number;
    return true;
}

bool model_json_bool(const json_t *object, const char *file, const char *name, bool *value_out,
                     struct error *error)
{
    const json_t *value = field_of(object, name);
    if (value == NULL) {
        return true;
    }
    if (!json_is_boolean(value)) {
        return error_set(error, ERROR_CONFIG, NULL, NULL, "%s: %s must be true or false", file,
                         name);
    }
    *value_out = json_is_true(value);
    return true;
}

bool model_json_refuse(const char *file, const char *what, const char *value, struct error *error)
{
    return error_set(error, ERROR_CONFIG, "unsupported_model", NULL, "%s: %s %s is not supported",
                     file, what, value);
}
