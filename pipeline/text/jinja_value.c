/* jinja_value: kinds, truth, lists and dicts. */
#include "pipeline/text/jinja_value.h"

#include "schemas/base/check.h"

bool jinja_is_integer(struct jinja_value value)
{
    return value.kind == JINJA_BOOL || value.kind == JINJA_INTEGER;
}

bool jinja_is_number(struct jinja_value value)
{
    return jinja_is_integer(value) || value.kind == JINJA_FLOAT;
}

bool jinja_is_sequence(struct jinja_value value)
{
    return value.kind >= JINJA_LIST && value.kind <= JINJA_GENERATOR;
}

int64_t jinja_as_integer(struct jinja_value value)
{
    CHECK(jinja_is_integer(value));
    return value.kind == JINJA_BOOL ? value.as.boolean : value.as.integer;
}

double jinja_as_float(struct jinja_value value)
{
    return value.kind == JINJA_FLOAT ? value.as.real : (double)jinja_as_integer(value);
}

bool jinja_truth(struct jinja_value value)
{
    switch (value.kind) {
    case JINJA_ABSENT:
    case JINJA_UNDEFINED:
    case JINJA_NONE:
        return false;
    case JINJA_BOOL:
        return value.as.boolean;
    case JINJA_INTEGER:
        return value.as.integer != 0;
    case JINJA_FLOAT:
        return value.as.real < 0 || value.as.real > 0 || value.as.real != value.as.real;
    case JINJA_STRING:
        return value.as.text.size > 0;
    case JINJA_LIST:
    case JINJA_TUPLE:
    case JINJA_VIEW:
        return value.as.list->count > 0;
    case JINJA_DICT:
        return value.as.dict->count > 0;
    case JINJA_GENERATOR:
    case JINJA_NAMESPACE:
    case JINJA_LOOP:
    case JINJA_MACRO:
    case JINJA_NATIVE:
        return true;
    }
    return false;
}

const char *jinja_type_name(struct jinja_value value)
{
    if (value.kind == JINJA_VIEW) { // a range's name is the text of the whole, "range(0, 3)"
        return value.as.list->name.data[0] == 'r' ? "range" : value.as.list->name.data;
    }
    static const char *const names[] = {
        [JINJA_ABSENT] = "Undefined",    [JINJA_UNDEFINED] = "Undefined",
        [JINJA_NONE] = "NoneType",       [JINJA_BOOL] = "bool",
        [JINJA_INTEGER] = "int",         [JINJA_FLOAT] = "float",
        [JINJA_STRING] = "str",          [JINJA_LIST] = "list",
        [JINJA_TUPLE] = "tuple",         [JINJA_VIEW] = "view",
        [JINJA_GENERATOR] = "generator", [JINJA_DICT] = "dict",
        [JINJA_NAMESPACE] = "Namespace", [JINJA_LOOP] = "LoopContext",
        [JINJA_MACRO] = "Macro",         [JINJA_NATIVE] = "builtin_function_or_method",
    };
    return names[value.kind];
}

struct jinja_list *jinja_list_open(struct arena *arena, size_t capacity)
{
    struct jinja_list *list = arena_alloc(arena, sizeof *list);
    if (list == NULL) {
        return NULL;
    }
    list->items = arena_alloc_array(arena, capacity, sizeof *list->items);
    list->capacity = capacity;
    return list->items == NULL ? NULL : list;
}

bool jinja_list_add(struct arena *arena, struct jinja_list *list, struct jinja_value item)
{
    if (list->count == list->capacity) {
        size_t capacity = list->capacity < 4 ? 8 : 2 * list->capacity;
        struct jinja_value *items = arena_alloc_array(arena, capacity, sizeof *items);
        if (items == NULL) {
            return false;
        }
        if (list->count > 0) {
            memcpy(items, list->items, list->count * sizeof *items);
        }
        list->items = items;
        list->capacity = capacity;
    }
    list->items[list->count++] = item;
    return true;
}

struct jinja_dict *jinja_dict_open(struct arena *arena, size_t capacity)
{
    struct jinja_dict *dict = arena_alloc(arena, sizeof *dict);
    if (dict == NULL) {
        return NULL;
    }
    dict->pairs = arena_alloc_array(arena, capacity, sizeof *dict->pairs);
    dict->capacity = capacity;
    return dict->pairs == NULL ? NULL : dict;
}

bool jinja_dict_add(struct arena *arena, struct jinja_dict *dict, struct jinja_value key,
                    struct jinja_value value)
{
    if (dict->count == dict->capacity) {
        size_t capacity = dict->capacity < 4 ? 8 : 2 * dict->capacity;
        struct jinja_pair *pairs = arena_alloc_array(arena, capacity, sizeof *pairs);
        if (pairs == NULL) {
            return false;
        }
        if (dict->count > 0) {
            memcpy(pairs, dict->pairs, dict->count * sizeof *pairs);
        }
        dict->pairs = pairs;
        dict->capacity = capacity;
    }
    dict->pairs[dict->count++] = (struct jinja_pair){key, value};
    return true;
}

bool jinja_dict_set(struct arena *arena, struct jinja_dict *dict, struct jinja_value key,
                    struct jinja_value value)
{
    struct jinja_value *found = jinja_dict_find(dict, key);
    if (found == NULL) {
        return jinja_dict_add(arena, dict, key, value);
    }
    *found = value;
    return true;
}

struct jinja_value *jinja_dict_find(const struct jinja_dict *dict, struct jinja_value key)
{
    for (size_t i = 0; i < dict->count; i++) {
        if (jinja_scalar_equal(dict->pairs[i].key, key)) {
            return &dict->pairs[i].value;
        }
    }
    return NULL;
}

struct jinja_value *jinja_dict_find_text(const struct jinja_dict *dict, const char *key)
{
    return jinja_dict_find(dict, jinja_string(bytes_of(key)));
}

bool jinja_scalar_equal(struct jinja_value a, struct jinja_value b)
{
    if (a.kind == JINJA_STRING || b.kind == JINJA_STRING) {
        return a.kind == b.kind && bytes_equal(a.as.text, b.as.text);
    }
    if (jinja_is_integer(a) && jinja_is_integer(b)) {
        return jinja_as_integer(a) == jinja_as_integer(b);
    }
    if (jinja_is_number(a) && jinja_is_number(b)) {
        double left = jinja_as_float(a);
        double right = jinja_as_float(b);
        return left <= right && left >= right;
    }
    return a.kind == b.kind && (a.kind == JINJA_NONE || a.kind == JINJA_UNDEFINED);
}
