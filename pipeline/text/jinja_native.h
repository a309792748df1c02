/* jinja_native: filters, tests, methods and functions that are written in C, and how they are
 * called.
 *
 * Each is a row: name, function, parameters. A call binds positional and keyword arguments to the
 * parameters; what was not given is ABSENT. `subject` is what is filtered or tested, or the object
 * of a method; ABSENT for functions.
 */
#ifndef PIPELINE_TEXT_JINJA_NATIVE_H
#define PIPELINE_TEXT_JINJA_NATIVE_H

#include "pipeline/text/jinja_run.h"

enum { JINJA_PARAMETERS_MAX = 4 };

struct jinja_keyword {
    struct bytes name;
    struct jinja_value value;
};

struct jinja_arguments {
    const struct jinja_value *positional;
    size_t count;
    const struct jinja_keyword *keywords;
    size_t keyword_count;
    struct jinja_value bound[JINJA_PARAMETERS_MAX]; // by parameter
};

struct jinja_native {
    const char *name;
    bool (*run)(struct jinja_run *run, struct jinja_value subject,
                const struct jinja_arguments *arguments, struct jinja_value *out);
    const char *parameters[JINJA_PARAMETERS_MAX];
    unsigned required; // how many of them have no default
    bool is_variadic;  // takes anything; nothing is bound
    bool keeps_markup; // makes markup of markup
};

bool jinja_native_call(struct jinja_run *run, const struct jinja_native *native,
                       struct jinja_value subject, const struct jinja_arguments *arguments,
                       struct jinja_value *out) MUST_CHECK;

/* NULL where there is none of that name. */
const struct jinja_native *jinja_native_find(const struct jinja_native *table, size_t count,
                                             struct bytes name);
const struct jinja_native *jinja_filter_find(struct bytes name);
const struct jinja_native *jinja_test_find(struct bytes name);
const struct jinja_native *jinja_method_find(struct jinja_value subject, struct bytes name);
const struct jinja_native *jinja_function_find(struct bytes name);

/* Filters and methods are spread over files; the functions above ask these. */
const struct jinja_native *jinja_sequence_filter_find(struct bytes name);
const struct jinja_native *jinja_order_filter_find(struct bytes name);
const struct jinja_native *jinja_string_method_find(struct bytes name);
const struct jinja_native *jinja_search_method_find(struct bytes name);

/* An argument as what a function needs; `fallback` where it was not given. */
bool jinja_argument_integer(struct jinja_run *run, struct jinja_value argument, int64_t fallback,
                            int64_t *out) MUST_CHECK;
/* Data NULL where it was not given or is none. */
bool jinja_argument_text(struct jinja_run *run, struct jinja_value argument,
                         struct bytes *out) MUST_CHECK;

#endif
