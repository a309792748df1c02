/* jinja_value: a value of the template language, as Python would hold it.
 *
 * Values are small and passed by copy; what they point to lives in the arena of one render
 * (constants: in the template's) and is never freed alone. Lists and dicts are built once and then
 * only read, as in Jinja2's immutable sandbox; a namespace is the one thing that templates can
 * change. Thread: the one that renders.
 */
#ifndef PIPELINE_TEXT_JINJA_VALUE_H
#define PIPELINE_TEXT_JINJA_VALUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "schemas/base/arena.h"
#include "schemas/base/bytes.h"

enum jinja_kind {
    JINJA_ABSENT, // no value at all: a name that is not bound, an argument that was not given
    JINJA_UNDEFINED,
    JINJA_NONE,
    JINJA_BOOL,
    JINJA_INTEGER,
    JINJA_FLOAT,
    JINJA_STRING,
    JINJA_LIST,
    JINJA_TUPLE,
    JINJA_VIEW,      // range, dict.items() and its like: iterable, not a list
    JINJA_GENERATOR, // what map, select and reject give: can be walked once
    JINJA_DICT,
    JINJA_NAMESPACE,
    JINJA_LOOP,
    JINJA_MACRO,
    JINJA_NATIVE, // a function or a method bound to its subject
};

/* Why a value is undefined; decides the message of an operation on it. */
enum jinja_cause {
    JINJA_CAUSE_NAME,      // `text` is a variable
    JINJA_CAUSE_MEMBER,    // `text` is a complete sentence
    JINJA_CAUSE_PARAMETER, // `text` is a macro's parameter
};

struct jinja_value {
    enum jinja_kind kind;
    union {
        enum jinja_cause cause; // of UNDEFINED
        bool is_markup;         // of STRING: marked as safe; what is added to it is escaped
    };
    union {
        bool boolean;
        int64_t integer;
        double real;
        struct bytes text; // STRING (UTF-8), UNDEFINED
        struct jinja_list *list;
        struct jinja_dict *dict;           // DICT, NAMESPACE
        struct jinja_loop *loop;           // jinja_exec.c
        const struct jinja_macro *macro;   // jinja_call.h
        const struct jinja_method *method; // jinja_call.h
    } as;
};

struct jinja_list {
    struct jinja_value *items;
    size_t count;
    size_t capacity;
    size_t taken;      // GENERATOR: items that were walked already
    struct bytes name; // VIEW: "dict_items" (static text), or the whole text of a range
};

struct jinja_pair {
    struct jinja_value key;
    struct jinja_value value;
};

/* In insertion order. */
struct jinja_dict {
    struct jinja_pair *pairs;
    size_t count;
    size_t capacity;
};

static inline struct jinja_value jinja_none(void)
{
    return (struct jinja_value){.kind = JINJA_NONE};
}

static inline struct jinja_value jinja_bool(bool boolean)
{
    return (struct jinja_value){.kind = JINJA_BOOL, .as.boolean = boolean};
}

static inline struct jinja_value jinja_integer(int64_t integer)
{
    return (struct jinja_value){.kind = JINJA_INTEGER, .as.integer = integer};
}

static inline struct jinja_value jinja_float(double real)
{
    return (struct jinja_value){.kind = JINJA_FLOAT, .as.real = real};
}

static inline struct jinja_value jinja_string(struct bytes text)
{
    return (struct jinja_value){.kind = JINJA_STRING, .as.text = text};
}

static inline struct jinja_value jinja_markup(struct bytes text)
{
    return (struct jinja_value){.kind = JINJA_STRING, .is_markup = true, .as.text = text};
}

static inline bool jinja_is_markup(struct jinja_value value)
{
    return value.kind == JINJA_STRING && value.is_markup;
}

static inline struct jinja_value jinja_undefined(enum jinja_cause cause, struct bytes text)
{
    return (struct jinja_value){.kind = JINJA_UNDEFINED, .cause = cause, .as.text = text};
}

/* `kind` is one of LIST, TUPLE, VIEW, GENERATOR. */
static inline struct jinja_value jinja_sequence(enum jinja_kind kind, struct jinja_list *list)
{
    return (struct jinja_value){.kind = kind, .as.list = list};
}

static inline struct jinja_value jinja_mapping(struct jinja_dict *dict)
{
    return (struct jinja_value){.kind = JINJA_DICT, .as.dict = dict};
}

/* BOOL and INTEGER: Python's int. */
bool jinja_is_integer(struct jinja_value value);
/* The above and FLOAT. */
bool jinja_is_number(struct jinja_value value);
/* LIST, TUPLE, VIEW, GENERATOR: `as.list` is set. */
bool jinja_is_sequence(struct jinja_value value);

/* Requires jinja_is_integer, jinja_is_number. */
int64_t jinja_as_integer(struct jinja_value value);
double jinja_as_float(struct jinja_value value);

/* Python's bool(value). */
bool jinja_truth(struct jinja_value value);
/* Python's type(value).__name__ */
const char *jinja_type_name(struct jinja_value value);

/* NULL and false: the arena is full. */
struct jinja_list *jinja_list_open(struct arena *arena, size_t capacity);
bool jinja_list_add(struct arena *arena, struct jinja_list *list, struct jinja_value item);
struct jinja_dict *jinja_dict_open(struct arena *arena, size_t capacity);
/* Adds without a look for an equal key. */
bool jinja_dict_add(struct arena *arena, struct jinja_dict *dict, struct jinja_value key,
                    struct jinja_value value);
/* Replaces the value of an equal key. */
bool jinja_dict_set(struct arena *arena, struct jinja_dict *dict, struct jinja_value key,
                    struct jinja_value value);
/* NULL where no key is equal. Borrowed until the dict changes. */
struct jinja_value *jinja_dict_find(const struct jinja_dict *dict, struct jinja_value key);
struct jinja_value *jinja_dict_find_text(const struct jinja_dict *dict, const char *key);

/* Equality of scalars (Python: 1 == 1.0 == True); false where either is a container. */
bool jinja_scalar_equal(struct jinja_value a, struct jinja_value b);

#endif
