/* jinja_methods: methods of dicts, lists, loops and of strings that answer without new text. The
 * methods that make text are in jinja_string_methods.c. */
#include "pipeline/text/jinja_native.h"
#include "pipeline/text/jinja_operators.h"
#include "pipeline/text/jinja_string.h"

#define METHOD(name)                                                                               \
    static bool name(struct jinja_run *run, struct jinja_value subject,                            \
                     const struct jinja_arguments *arguments, struct jinja_value *out)

METHOD(dict_get)
{
    const struct jinja_value *found = jinja_dict_find(subject.as.dict, arguments->bound[0]);
    struct jinja_value fallback = arguments->bound[1];
    *out = found != NULL ? *found : fallback.kind == JINJA_ABSENT ? jinja_none() : fallback;
    return jinja_spend(run, subject.as.dict->count / 16);
}

/* keys, values or items of a dict as a view of that name. */
static bool dict_view(struct jinja_run *run, const struct jinja_dict *dict, const char *name,
                      struct jinja_value *out)
{
    bool has_keys = strcmp(name, "dict_values") != 0;
    bool has_values = strcmp(name, "dict_keys") != 0;
    struct jinja_list *list = jinja_new_list(run, dict->count);
    if (list == NULL || !jinja_spend(run, dict->count)) {
        return false;
    }
    list->name = bytes_of(name);
    for (size_t i = 0; i < dict->count; i++) {
        struct jinja_value item = has_keys ? dict->pairs[i].key : dict->pairs[i].value;
        if (has_keys && has_values) {
            struct jinja_list *pair = jinja_new_list(run, 2);
            if (pair == NULL) {
                return false;
            }
            pair->items[pair->count++] = dict->pairs[i].key;
            pair->items[pair->count++] = dict->pairs[i].value;
            item = jinja_sequence(JINJA_TUPLE, pair);
        }
        list->items[list->count++] = item;
    }
    *out = jinja_sequence(JINJA_VIEW, list);
    return true;
}

METHOD(dict_items)
{
    (void)arguments;
    return dict_view(run, subject.as.dict, "dict_items", out);
}

METHOD(dict_keys)
{
    (void)arguments;
    return dict_view(run, subject.as.dict, "dict_keys", out);
}

METHOD(dict_values)
{
    (void)arguments;
    return dict_view(run, subject.as.dict, "dict_values", out);
}

/* Values are never changed, so a copy is the thing itself. */
METHOD(copy)
{
    (void)run;
    (void)arguments;
    *out = subject;
    return true;
}

static bool count_or_find(struct jinja_run *run, struct jinja_value subject,
                          struct jinja_value wanted, int64_t *count, int64_t *first)
{
    const struct jinja_list *list = subject.as.list;
    *count = 0;
    *first = -1;
    for (size_t i = 0; i < list->count; i++) {
        bool is_equal;
        if (!jinja_spend(run, 1) || !jinja_equal(run, list->items[i], wanted, &is_equal)) {
            return false;
        }
        *first = is_equal && *count == 0 ? (int64_t)i : *first;
        *count += is_equal;
    }
    return true;
}

METHOD(list_count)
{
    int64_t count;
    int64_t first;
    if (!count_or_find(run, subject, arguments->bound[0], &count, &first)) {
        return false;
    }
    *out = jinja_integer(count);
    return true;
}

METHOD(list_index)
{
    int64_t count;
    int64_t first;
    if (!count_or_find(run, subject, arguments->bound[0], &count, &first)) {
        return false;
    }
    *out = jinja_integer(first);
    return count > 0 || jinja_fail(run, "the value is not in the list");
}

METHOD(loop_cycle)
{
    if (arguments->count == 0) {
        return jinja_fail(run, "no items for cycling given");
    }
    *out = arguments->positional[subject.as.loop->index0 % arguments->count];
    return true;
}

METHOD(loop_changed)
{
    struct jinja_loop *loop = subject.as.loop;
    struct jinja_list *seen = jinja_new_list(run, arguments->count);
    struct jinja_value *value = jinja_alloc(run, 1, sizeof *value);
    if (seen == NULL || value == NULL) {
        return false;
    }
    for (size_t i = 0; i < arguments->count; i++) {
        seen->items[seen->count++] = arguments->positional[i];
    }
    *value = jinja_sequence(JINJA_TUPLE, seen);
    bool is_equal = false;
    if (loop->changed != NULL && !jinja_equal(run, *loop->changed, *value, &is_equal)) {
        return false;
    }
    loop->changed = value;
    *out = jinja_bool(!is_equal);
    return true;
}

static const struct jinja_native dict_methods[] = {
    {.name = "copy", .run = copy},
    {.name = "get", .run = dict_get, .parameters = {"key", "default"}, .required = 1},
    {.name = "items", .run = dict_items},
    {.name = "keys", .run = dict_keys},
    {.name = "values", .run = dict_values},
};

static const struct jinja_native list_methods[] = {
    {.name = "copy", .run = copy},
    {.name = "count", .run = list_count, .parameters = {"value"}, .required = 1},
    {.name = "index", .run = list_index, .parameters = {"value"}, .required = 1},
};

static const struct jinja_native loop_methods[] = {
    {.name = "changed", .run = loop_changed, .is_variadic = true},
    {.name = "cycle", .run = loop_cycle, .is_variadic = true},
};

const struct jinja_native *jinja_method_find(struct jinja_value subject, struct bytes name)
{
    switch (subject.kind) {
    case JINJA_STRING:
        return jinja_string_method_find(name);
    case JINJA_DICT:
        return jinja_native_find(dict_methods, sizeof dict_methods / sizeof *dict_methods, name);
    case JINJA_LIST:
    case JINJA_TUPLE:
        return jinja_native_find(list_methods, sizeof list_methods / sizeof *list_methods, name);
    case JINJA_LOOP:
        return jinja_native_find(loop_methods, sizeof loop_methods / sizeof *loop_methods, name);
    case JINJA_ABSENT:
    case JINJA_UNDEFINED:
    case JINJA_NONE:
    case JINJA_BOOL:
    case JINJA_INTEGER:
    case JINJA_FLOAT:
    case JINJA_VIEW:
    case JINJA_GENERATOR:
    case JINJA_NAMESPACE:
    case JINJA_MACRO:
    case JINJA_NATIVE:
        break;
    }
    return NULL;
}
