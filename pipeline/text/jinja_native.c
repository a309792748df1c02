/* jinja_native: lookup by name and the binding of arguments. */
#include "pipeline/text/jinja_native.h"

#include <stdio.h>

const struct jinja_native *jinja_native_find(const struct jinja_native *table, size_t count,
                                             struct bytes name)
{
    for (size_t i = 0; i < count; i++) {
        if (bytes_equal_text(name, table[i].name)) {
            return &table[i];
        }
    }
    return NULL;
}

static size_t parameter_count(const struct jinja_native *native)
{
    size_t count = 0;
    while (count < JINJA_PARAMETERS_MAX && native->parameters[count] != NULL) {
        count++;
    }
    return count;
}

static bool bind_keyword(struct jinja_run *run, const struct jinja_native *native,
                         const struct jinja_keyword *keyword, struct jinja_value *bound)
{
    int size = keyword->name.size > 60 ? 60 : (int)keyword->name.size;
    for (size_t i = 0; i < parameter_count(native); i++) {
        if (!bytes_equal_text(keyword->name, native->parameters[i])) {
            continue;
        }
        if (bound[i].kind != JINJA_ABSENT) {
            return jinja_fail(run, "%s() got multiple values for argument '%.*s'", native->name,
                              size, keyword->name.data);
        }
        bound[i] = keyword->value;
        return true;
    }
    return jinja_fail(run, "%s() got an unexpected keyword argument '%.*s'", native->name, size,
                      keyword->name.data);
}

static bool bind(struct jinja_run *run, const struct jinja_native *native,
                 struct jinja_arguments *arguments)
{
    size_t count = parameter_count(native);
    if (arguments->count > count) {
        return jinja_fail(run, "%s() takes at most %zu arguments, %zu were given", native->name,
                          count, arguments->count);
    }
    for (size_t i = 0; i < JINJA_PARAMETERS_MAX; i++) {
        arguments->bound[i] = i < arguments->count ? arguments->positional[i]
                                                   : (struct jinja_value){.kind = JINJA_ABSENT};
    }
    for (size_t i = 0; i < arguments->keyword_count; i++) {
        if (!bind_keyword(run, native, &arguments->keywords[i], arguments->bound)) {
            return false;
        }
    }
    for (size_t i = 0; i < native->required; i++) {
        if (arguments->bound[i].kind == JINJA_ABSENT) {
            return jinja_fail(run, "%s() needs the argument '%s'", native->name,
                              native->parameters[i]);
        }
    }
    return true;
}

/* Marks a string, or the strings of a list that was just made, as markup. */
static void mark(struct jinja_value *value)
{
    if (value->kind == JINJA_STRING) {
        value->is_markup = true;
    } else if (value->kind == JINJA_LIST || value->kind == JINJA_TUPLE) {
        for (size_t i = 0; i < value->as.list->count; i++) {
            value->as.list->items[i].is_markup = true;
        }
    }
}

bool jinja_native_call(struct jinja_run *run, const struct jinja_native *native,
                       struct jinja_value subject, const struct jinja_arguments *arguments,
                       struct jinja_value *out)
{
    struct jinja_arguments own = *arguments;
    if (!native->is_variadic && !bind(run, native, &own)) {
        return false;
    }
    if (subject.kind == JINJA_STRING) {
        bool has_part = !native->is_variadic && own.bound[0].kind == JINJA_STRING;
        size_t part_bytes = has_part ? own.bound[0].as.text.size : 0;
        if (!jinja_spend_search(run, subject.as.text.size, part_bytes)) {
            return false;
        }
    }
    if (!native->run(run, subject, &own, out)) {
        return false;
    }
    if (native->keeps_markup && jinja_is_markup(subject)) {
        mark(out);
    }
    return true;
}

bool jinja_argument_integer(struct jinja_run *run, struct jinja_value argument, int64_t fallback,
                            int64_t *out)
{
    if (argument.kind == JINJA_ABSENT) {
        *out = fallback;
        return true;
    }
    if (argument.kind == JINJA_UNDEFINED) {
        return jinja_fail_undefined(run, argument);
    }
    if (!jinja_is_integer(argument)) {
        return jinja_fail(run, "'%s' object cannot be interpreted as an integer",
                          jinja_type_name(argument));
    }
    *out = jinja_as_integer(argument);
    return true;
}

bool jinja_argument_text(struct jinja_run *run, struct jinja_value argument, struct bytes *out)
{
    *out = (struct bytes){NULL, 0};
    if (argument.kind == JINJA_ABSENT || argument.kind == JINJA_NONE) {
        return true;
    }
    if (argument.kind == JINJA_UNDEFINED) {
        return jinja_fail_undefined(run, argument);
    }
    if (argument.kind != JINJA_STRING) {
        return jinja_fail(run, "an argument must be str, not %s", jinja_type_name(argument));
    }
    *out = argument.as.text;
    return true;
}
