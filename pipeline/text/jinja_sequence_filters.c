/* jinja_sequence_filters: filters over lists, dicts and whatever else can be walked. */
#include "pipeline/text/jinja_native.h"

#include "pipeline/text/jinja_member.h"
#include "pipeline/text/jinja_operators.h"
#include "pipeline/text/jinja_string.h"
#include "pipeline/text/jinja_text.h"

static struct jinja_value absent(void)
{
    return (struct jinja_value){.kind = JINJA_ABSENT};
}

static bool filter_length(struct jinja_run *run, struct jinja_value subject,
                          const struct jinja_arguments *arguments, struct jinja_value *out)
{
    (void)arguments;
    size_t count = 0;
    if (subject.kind == JINJA_STRING) {
        count = jinja_utf8_count(subject.as.text);
    } else if (subject.kind == JINJA_DICT) {
        count = subject.as.dict->count;
    } else if (jinja_is_sequence(subject) && subject.kind != JINJA_GENERATOR) {
        count = subject.as.list->count;
    } else if (subject.kind != JINJA_UNDEFINED) {
        return jinja_fail(run, "object of type '%s' has no len()", jinja_type_name(subject));
    }
    *out = jinja_integer((int64_t)count);
    return true;
}

static bool filter_join(struct jinja_run *run, struct jinja_value subject,
                        const struct jinja_arguments *arguments, struct jinja_value *out)
{
    const struct jinja_list *list;
    struct bytes separator = bytes_of("");
    if (!jinja_iterate(run, subject, &list) ||
        (arguments->bound[0].kind != JINJA_ABSENT &&
         !jinja_text_of(run, arguments->bound[0], &separator))) {
        return false;
    }
    size_t begin = jinja_capture_begin(run);
    for (size_t i = 0; i < list->count; i++) {
        struct jinja_value item;
        if (i > 0) {
            buffer_append_bytes(run->out, separator);
        }
        if (!jinja_path(run, list->items[i], arguments->bound[1], absent(), &item) ||
            !jinja_print(run, item)) {
            return false;
        }
    }
    return jinja_capture_string(run, begin, out);
}

static bool filter_first(struct jinja_run *run, struct jinja_value subject,
                         const struct jinja_arguments *arguments, struct jinja_value *out)
{
    (void)arguments;
    const struct jinja_list *list;
    if (subject.kind == JINJA_GENERATOR && subject.as.list->taken < subject.as.list->count) {
        *out = subject.as.list->items[subject.as.list->taken++]; // leaves the others
        return true;
    }
    if (!jinja_iterate(run, subject, &list)) {
        return false;
    }
    *out = list->count > 0 ? list->items[0]
                           : jinja_undefined(JINJA_CAUSE_MEMBER,
                                             bytes_of("No first item, sequence was empty."));
    return true;
}

static bool filter_last(struct jinja_run *run, struct jinja_value subject,
                        const struct jinja_arguments *arguments, struct jinja_value *out)
{
    (void)arguments;
    const struct jinja_list *list;
    if (subject.kind == JINJA_GENERATOR) {
        return jinja_fail(run, "'generator' object is not reversible");
    }
    if (!jinja_iterate(run, subject, &list)) {
        return false;
    }
    *out = list->count > 0
               ? list->items[list->count - 1]
               : jinja_undefined(JINJA_CAUSE_MEMBER, bytes_of("No last item, sequence was empty."));
    return true;
}

/* A list of its own with what `subject` yields. */
static struct jinja_list *copy_list(struct jinja_run *run, struct jinja_value subject)
{
    const struct jinja_list *from;
    if (!jinja_iterate(run, subject, &from)) {
        return NULL;
    }
    struct jinja_list *list = jinja_new_list(run, from->count);
    if (list != NULL && from->count > 0) {
        memcpy(list->items, from->items, from->count * sizeof *from->items);
        list->count = from->count;
    }
    return list;
}

static bool filter_list(struct jinja_run *run, struct jinja_value subject,
                        const struct jinja_arguments *arguments, struct jinja_value *out)
{
    (void)arguments;
    struct jinja_list *list = copy_list(run, subject);
    if (list == NULL) {
        return false;
    }
    *out = jinja_sequence(JINJA_LIST, list);
    return true;
}

static bool filter_reverse(struct jinja_run *run, struct jinja_value subject,
                           const struct jinja_arguments *arguments, struct jinja_value *out)
{
    (void)arguments;
    struct jinja_list *list = copy_list(run, subject);
    if (list == NULL) {
        return false;
    }
    for (size_t i = 0; i < list->count / 2; i++) {
        struct jinja_value item = list->items[i];
        list->items[i] = list->items[list->count - 1 - i];
        list->items[list->count - 1 - i] = item;
    }
    *out = jinja_sequence(JINJA_GENERATOR, list);
    if (subject.kind != JINJA_STRING) {
        return true;
    }
    struct jinja_arguments none = {.bound = {absent(), absent()}};
    return filter_join(run, *out, &none, out);
}

static bool add_pair(struct jinja_run *run, struct jinja_list *list, const struct jinja_pair *pair)
{
    struct jinja_list *tuple = jinja_new_list(run, 2);
    return tuple != NULL && jinja_append(run, tuple, pair->key) &&
           jinja_append(run, tuple, pair->value) &&
           jinja_append(run, list, jinja_sequence(JINJA_TUPLE, tuple));
}

static bool filter_items(struct jinja_run *run, struct jinja_value subject,
                         const struct jinja_arguments *arguments, struct jinja_value *out)
{
    (void)arguments;
    struct jinja_list *list = jinja_new_list(run, 0);
    if (list == NULL) {
        return false;
    }
    if (subject.kind == JINJA_DICT) {
        for (size_t i = 0; i < subject.as.dict->count; i++) {
            if (!jinja_spend(run, 1) || !add_pair(run, list, &subject.as.dict->pairs[i])) {
                return false;
            }
        }
    } else if (subject.kind != JINJA_UNDEFINED) {
        return jinja_fail(run, "Can only get item pairs from a mapping.");
    }
    *out = jinja_sequence(JINJA_GENERATOR, list);
    return true;
}

static bool filter_sum(struct jinja_run *run, struct jinja_value subject,
                       const struct jinja_arguments *arguments, struct jinja_value *out)
{
    const struct jinja_list *list;
    if (!jinja_iterate(run, subject, &list)) {
        return false;
    }
    struct jinja_value start = arguments->bound[1];
    *out = start.kind == JINJA_ABSENT ? jinja_integer(0) : start;
    for (size_t i = 0; i < list->count; i++) {
        struct jinja_value item;
        if (!jinja_path(run, list->items[i], arguments->bound[0], absent(), &item) ||
            !jinja_binary(run, OPERATOR_ADD, *out, item, out)) {
            return false;
        }
    }
    return true;
}

static bool filter_batch(struct jinja_run *run, struct jinja_value subject,
                         const struct jinja_arguments *arguments, struct jinja_value *out)
{
    int64_t size;
    const struct jinja_list *list;
    struct jinja_list *batches = jinja_new_list(run, 0);
    if (batches == NULL || !jinja_argument_integer(run, arguments->bound[0], 1, &size) ||
        !jinja_iterate(run, subject, &list)) {
        return false;
    }
    struct jinja_list *batch = NULL;
    for (size_t i = 0; i < list->count; i++) {
        if (batch == NULL || (size > 0 && (int64_t)batch->count >= size)) {
            batch = jinja_new_list(run, 0);
            if (batch == NULL || !jinja_append(run, batches, jinja_sequence(JINJA_LIST, batch))) {
                return false;
            }
        }
        if (!jinja_append(run, batch, list->items[i])) {
            return false;
        }
    }
    struct jinja_value filler = arguments->bound[1];
    bool fills = batch != NULL && filler.kind != JINJA_ABSENT && filler.kind != JINJA_NONE;
    while (fills && (int64_t)batch->count < size) {
        if (!jinja_spend(run, 1) || !jinja_append(run, batch, filler)) {
            return false;
        }
    }
    *out = jinja_sequence(JINJA_GENERATOR, batches);
    return true;
}

/* Jinja2's slice: columns of nearly equal size, the first ones longer by one. */
static bool filter_slice(struct jinja_run *run, struct jinja_value subject,
                         const struct jinja_arguments *arguments, struct jinja_value *out)
{
    int64_t columns;
    const struct jinja_list *list;
    struct jinja_value filler = arguments->bound[1];
    struct jinja_list *slices = jinja_new_list(run, 0);
    if (slices == NULL || !jinja_argument_integer(run, arguments->bound[0], 1, &columns) ||
        !jinja_iterate(run, subject, &list)) {
        return false;
    }
    if (columns <= 0) {
        return jinja_fail(run, "slice needs at least one column");
    }
    size_t size = list->count / (size_t)columns;
    size_t longer = list->count % (size_t)columns;
    size_t at = 0;
    for (size_t i = 0; i < (size_t)columns; i++) {
        struct jinja_list *slice = jinja_new_list(run, 0);
        if (slice == NULL || !jinja_spend(run, 1) ||
            !jinja_append(run, slices, jinja_sequence(JINJA_LIST, slice))) {
            return false;
        }
        for (size_t j = 0; j < size + (i < longer); j++) {
            if (!jinja_append(run, slice, list->items[at++])) {
                return false;
            }
        }
        bool fills = filler.kind != JINJA_ABSENT && filler.kind != JINJA_NONE && i >= longer;
        if (fills && !jinja_append(run, slice, filler)) {
            return false;
        }
    }
    *out = jinja_sequence(JINJA_GENERATOR, slices);
    return true;
}

/* The arguments from index `skip` on. */
static struct jinja_arguments rest_of(const struct jinja_arguments *arguments, size_t skip)
{
    struct jinja_arguments rest = *arguments;
    skip = rest.count < skip ? rest.count : skip;
    if (skip > 0) { // there may be no array
        rest.positional += skip;
        rest.count -= skip;
    }
    return rest;
}

static struct jinja_value keyword(const struct jinja_arguments *arguments, const char *name)
{
    for (size_t i = 0; i < arguments->keyword_count; i++) {
        if (bytes_equal_text(arguments->keywords[i].name, name)) {
            return arguments->keywords[i].value;
        }
    }
    return absent();
}

static bool map_by_filter(struct jinja_run *run, const struct jinja_list *list,
                          const struct jinja_arguments *arguments, struct jinja_list *mapped)
{
    struct bytes name;
    if (arguments->count == 0) {
        return jinja_fail(run, "map requires a filter argument");
    }
    if (!jinja_argument_text(run, arguments->positional[0], &name)) {
        return false;
    }
    const struct jinja_native *filter = jinja_filter_find(name);
    if (filter == NULL) {
        return jinja_fail(run, "No filter named '%.*s'.", name.size > 60 ? 60 : (int)name.size,
                          name.data == NULL ? "" : name.data);
    }
    struct jinja_arguments rest = rest_of(arguments, 1);
    for (size_t i = 0; i < list->count; i++) {
        struct jinja_value value;
        if (!jinja_native_call(run, filter, list->items[i], &rest, &value) ||
            !jinja_append(run, mapped, value)) {
            return false;
        }
    }
    return true;
}

/* map, select and their like ask a value that is false, be it none or 0, for nothing. */
static bool empty_generator(struct jinja_run *run, struct jinja_value *out)
{
    struct jinja_list *list = jinja_new_list(run, 0);
    *out = jinja_sequence(JINJA_GENERATOR, list);
    return list != NULL;
}

static bool filter_map(struct jinja_run *run, struct jinja_value subject,
                       const struct jinja_arguments *arguments, struct jinja_value *out)
{
    if (!jinja_truth(subject)) {
        return empty_generator(run, out);
    }
    const struct jinja_list *list;
    struct jinja_list *mapped = jinja_new_list(run, 0);
    if (mapped == NULL || !jinja_iterate(run, subject, &list) || !jinja_enter(run)) {
        return false;
    }
    bool is_mapped = true;
    struct jinja_value path = keyword(arguments, "attribute");
    if (arguments->count > 0 || path.kind == JINJA_ABSENT) {
        is_mapped = map_by_filter(run, list, arguments, mapped);
    } else {
        struct jinja_value fallback = keyword(arguments, "default");
        for (size_t i = 0; is_mapped && i < list->count; i++) {
            struct jinja_value value;
            is_mapped = jinja_path(run, list->items[i], path, fallback, &value) &&
                        jinja_append(run, mapped, value);
        }
    }
    jinja_leave(run);
    *out = jinja_sequence(JINJA_GENERATOR, mapped);
    return is_mapped;
}

/* What select and its like ask of an item. */
struct condition {
    struct jinja_value path;         // ABSENT: the item itself
    const struct jinja_native *test; // NULL: its truth
    struct jinja_arguments arguments;
};

static bool read_condition(struct jinja_run *run, const struct jinja_arguments *arguments,
                           bool by_attribute, struct condition *out)
{
    size_t used = by_attribute ? 1 : 0;
    *out = (struct condition){.path = absent()};
    if (by_attribute) {
        if (arguments->count == 0) {
            return jinja_fail(run, "Missing parameter for attribute name");
        }
        out->path = arguments->positional[0];
    }
    if (arguments->count > used) {
        struct bytes name;
        if (!jinja_argument_text(run, arguments->positional[used], &name)) {
            return false;
        }
        out->test = jinja_test_find(name);
        if (out->test == NULL) {
            return jinja_fail(run, "No test named '%.*s'.", name.size > 60 ? 60 : (int)name.size,
                              name.data == NULL ? "" : name.data);
        }
    }
    out->arguments = rest_of(arguments, used + 1);
    return true;
}

static bool meets(struct jinja_run *run, struct jinja_value item, const struct condition *condition,
                  bool *out)
{
    struct jinja_value value;
    if (!jinja_path(run, item, condition->path, absent(), &value) ||
        (condition->test != NULL &&
         !jinja_native_call(run, condition->test, value, &condition->arguments, &value))) {
        return false;
    }
    *out = jinja_truth(value);
    return true;
}

static bool pick(struct jinja_run *run, struct jinja_value subject,
                 const struct condition *condition, bool wanted, struct jinja_value *out)
{
    const struct jinja_list *list;
    struct jinja_list *picked = jinja_new_list(run, 0);
    if (picked == NULL || !jinja_iterate(run, subject, &list)) {
        return false;
    }
    for (size_t i = 0; i < list->count; i++) {
        bool is_met;
        if (!meets(run, list->items[i], condition, &is_met) ||
            (is_met == wanted && !jinja_append(run, picked, list->items[i]))) {
            return false;
        }
    }
    *out = jinja_sequence(JINJA_GENERATOR, picked);
    return true;
}

#define PICK_FILTER(name, by_attribute, wanted)                                                    \
    static bool name(struct jinja_run *run, struct jinja_value subject,                            \
                     const struct jinja_arguments *arguments, struct jinja_value *out)             \
    {                                                                                              \
        struct condition condition;                                                                \
        if (!jinja_truth(subject)) {                                                               \
            return empty_generator(run, out);                                                      \
        }                                                                                          \
        return read_condition(run, arguments, by_attribute, &condition) &&                         \
               pick(run, subject, &condition, wanted, out);                                        \
    }

PICK_FILTER(filter_select, false, true)
PICK_FILTER(filter_reject, false, false)
PICK_FILTER(filter_selectattr, true, true)
PICK_FILTER(filter_rejectattr, true, false)

static const struct jinja_native filters[] = {
    {.name = "batch", .run = filter_batch, .parameters = {"linecount", "fill_with"}, .required = 1},
    {.name = "count", .run = filter_length},
    {.name = "first", .run = filter_first},
    {.name = "items", .run = filter_items},
    {.name = "join", .run = filter_join, .parameters = {"d", "attribute"}},
    {.name = "last", .run = filter_last},
    {.name = "length", .run = filter_length},
    {.name = "list", .run = filter_list},
    {.name = "map", .run = filter_map, .is_variadic = true},
    {.name = "reject", .run = filter_reject, .is_variadic = true},
    {.name = "rejectattr", .run = filter_rejectattr, .is_variadic = true},
    {.name = "reverse", .run = filter_reverse},
    {.name = "select", .run = filter_select, .is_variadic = true},
    {.name = "selectattr", .run = filter_selectattr, .is_variadic = true},
    {.name = "slice", .run = filter_slice, .parameters = {"slices", "fill_with"}, .required = 1},
    {.name = "sum", .run = filter_sum, .parameters = {"attribute", "start"}},
};

const struct jinja_native *jinja_sequence_filter_find(struct bytes name)
{
    const struct jinja_native *found =
        jinja_native_find(filters, sizeof filters / sizeof *filters, name);
    return found != NULL ? found : jinja_order_filter_find(name);
}
