/* jinja_order_filters: filters that compare items with each other. */
#include "pipeline/text/jinja_native.h"

#include "pipeline/text/jinja_member.h"
#include "pipeline/text/jinja_operators.h"
#include "pipeline/text/jinja_sort.h"
#include "pipeline/text/jinja_string.h"

/* What an item is compared by: an attribute, in lower case unless case matters. */
static bool comparison_key(struct jinja_run *run, struct jinja_value item, struct jinja_value path,
                           bool is_case_sensitive, struct jinja_value *out)
{
    struct jinja_value no_fallback = {.kind = JINJA_ABSENT};
    if (!jinja_path(run, item, path, no_fallback, out)) {
        return false;
    }
    if (out->kind != JINJA_STRING || is_case_sensitive) {
        return true;
    }
    size_t begin = jinja_capture_begin(run);
    jinja_put_case(run->out, out->as.text, JINJA_CASE_LOWER);
    return jinja_capture_string(run, begin, out);
}

/* A path with commas names several attributes: the keys are tuples of them. */
static bool add_key(struct jinja_run *run, struct jinja_value item, struct bytes path,
                    bool is_case_sensitive, struct jinja_list *keys)
{
    struct jinja_value key;
    return comparison_key(run, item, jinja_string(path), is_case_sensitive, &key) &&
           jinja_append(run, keys, key);
}

static bool sort_key(struct jinja_run *run, struct jinja_value item, struct jinja_value path,
                     bool is_case_sensitive, struct jinja_value *out)
{
    size_t comma = SIZE_MAX;
    if (path.kind == JINJA_STRING) {
        comma = jinja_find(path.as.text, bytes_of(","), 0);
    }
    if (comma == SIZE_MAX) {
        return comparison_key(run, item, path, is_case_sensitive, out);
    }
    struct jinja_list *keys = jinja_new_list(run, 2);
    size_t at = 0;
    while (keys != NULL && comma != SIZE_MAX) {
        if (!add_key(run, item, jinja_part(path.as.text, at, comma), is_case_sensitive, keys)) {
            return false;
        }
        at = comma + 1;
        comma = jinja_find(path.as.text, bytes_of(","), at);
    }
    if (keys == NULL || !add_key(run, item, jinja_part(path.as.text, at, path.as.text.size),
                                 is_case_sensitive, keys)) {
        return false;
    }
    *out = jinja_sequence(JINJA_TUPLE, keys);
    return true;
}

struct key_finder {
    bool (*get_key)(struct jinja_run *run, struct jinja_value item, struct jinja_value path,
                    bool is_case_sensitive, struct jinja_value *out);
    struct jinja_value path;
    bool is_case_sensitive;
};

/* Items with their keys. */
static struct jinja_pair *keyed_items(struct jinja_run *run, const struct jinja_list *list,
                                      const struct key_finder *finder)
{
    struct jinja_pair *pairs = jinja_alloc(run, list->count, sizeof *pairs);
    for (size_t i = 0; pairs != NULL && i < list->count; i++) {
        pairs[i].value = list->items[i];
        if (!finder->get_key(run, list->items[i], finder->path, finder->is_case_sensitive,
                             &pairs[i].key)) {
            return NULL;
        }
    }
    return pairs;
}

static bool sorted_list(struct jinja_run *run, struct jinja_pair *pairs, size_t count,
                        bool is_reversed, struct jinja_value *out)
{
    struct jinja_list *sorted = jinja_new_list(run, count);
    if (sorted == NULL || !jinja_sort(run, pairs, count, is_reversed)) {
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        sorted->items[sorted->count++] = pairs[i].value;
    }
    *out = jinja_sequence(JINJA_LIST, sorted);
    return true;
}

static bool filter_sort(struct jinja_run *run, struct jinja_value subject,
                        const struct jinja_arguments *arguments, struct jinja_value *out)
{
    const struct jinja_list *list;
    if (!jinja_iterate(run, subject, &list)) {
        return false;
    }
    struct key_finder finder = {sort_key, arguments->bound[2], jinja_truth(arguments->bound[1])};
    struct jinja_pair *pairs = keyed_items(run, list, &finder);
    return pairs != NULL &&
           sorted_list(run, pairs, list->count, jinja_truth(arguments->bound[0]), out);
}

static bool filter_dictsort(struct jinja_run *run, struct jinja_value subject,
                            const struct jinja_arguments *arguments, struct jinja_value *out)
{
    struct jinja_value items;
    struct jinja_value by = arguments->bound[1];
    bool by_value = by.kind == JINJA_STRING && bytes_equal_text(by.as.text, "value");
    if (subject.kind == JINJA_UNDEFINED) {
        return jinja_fail_undefined(run, subject);
    }
    struct jinja_arguments none = {.count = 0};
    if (!jinja_native_call(run, jinja_filter_find(bytes_of("items")), subject, &none, &items)) {
        return false;
    }
    const struct jinja_list *list = items.as.list;
    struct key_finder finder = {comparison_key, jinja_integer(by_value ? 1 : 0),
                                jinja_truth(arguments->bound[0])};
    struct jinja_pair *pairs = keyed_items(run, list, &finder);
    return pairs != NULL &&
           sorted_list(run, pairs, list->count, jinja_truth(arguments->bound[2]), out);
}

static bool filter_unique(struct jinja_run *run, struct jinja_value subject,
                          const struct jinja_arguments *arguments, struct jinja_value *out)
{
    const struct jinja_list *list;
    struct jinja_list *unique = jinja_new_list(run, 0);
    if (unique == NULL || !jinja_iterate(run, subject, &list)) {
        return false;
    }
    struct key_finder finder = {comparison_key, arguments->bound[1],
                                jinja_truth(arguments->bound[0])};
    const struct jinja_pair *pairs = keyed_items(run, list, &finder);
    for (size_t i = 0; pairs != NULL && i < list->count; i++) {
        bool is_known = false;
        for (size_t j = 0; j < i && !is_known; j++) {
            if (!jinja_equal(run, pairs[i].key, pairs[j].key, &is_known)) {
                return false;
            }
        }
        if (!jinja_spend(run, i / 16) ||
            (!is_known && !jinja_append(run, unique, pairs[i].value))) {
            return false;
        }
    }
    *out = jinja_sequence(JINJA_GENERATOR, unique);
    return pairs != NULL;
}

static bool pick_extreme(struct jinja_run *run, struct jinja_value subject,
                         const struct jinja_arguments *arguments, enum jinja_operator op,
                         struct jinja_value *out)
{
    const struct jinja_list *list;
    if (!jinja_iterate(run, subject, &list)) {
        return false;
    }
    struct key_finder finder = {comparison_key, arguments->bound[1],
                                jinja_truth(arguments->bound[0])};
    const struct jinja_pair *pairs = keyed_items(run, list, &finder);
    if (pairs == NULL) {
        return false;
    }
    *out = jinja_undefined(JINJA_CAUSE_MEMBER, bytes_of("No aggregated item, sequence was empty."));
    size_t best = 0;
    for (size_t i = 0; i < list->count; i++) {
        bool is_better = false;
        if (i > 0 && !jinja_compare(run, op, pairs[i].key, pairs[best].key, &is_better)) {
            return false;
        }
        best = is_better ? i : best;
        *out = pairs[best].value;
    }
    return true;
}

static bool filter_min(struct jinja_run *run, struct jinja_value subject,
                       const struct jinja_arguments *arguments, struct jinja_value *out)
{
    return pick_extreme(run, subject, arguments, OPERATOR_LESS, out);
}

static bool filter_max(struct jinja_run *run, struct jinja_value subject,
                       const struct jinja_arguments *arguments, struct jinja_value *out)
{
    return pick_extreme(run, subject, arguments, OPERATOR_GREATER, out);
}

/* Groups of items with equal keys as (key, items) tuples, in the order of the keys. A group shows
 * the key of its first item as it is written there. */
static bool filter_groupby(struct jinja_run *run, struct jinja_value subject,
                           const struct jinja_arguments *arguments, struct jinja_value *out)
{
    struct jinja_value path = arguments->bound[0];
    const struct jinja_list *list;
    struct jinja_list *groups = jinja_new_list(run, 0);
    if (groups == NULL || !jinja_iterate(run, subject, &list)) {
        return false;
    }
    struct key_finder finder = {comparison_key, path, jinja_truth(arguments->bound[2])};
    struct jinja_pair *pairs = keyed_items(run, list, &finder);
    if (pairs == NULL || !jinja_sort(run, pairs, list->count, false)) {
        return false;
    }
    struct jinja_list *group = NULL;
    for (size_t i = 0; i < list->count; i++) {
        bool is_same = false;
        if (i > 0 && !jinja_equal(run, pairs[i - 1].key, pairs[i].key, &is_same)) {
            return false;
        }
        if (!is_same) {
            struct jinja_value shown;
            struct jinja_list *tuple = jinja_new_list(run, 2);
            group = jinja_new_list(run, 0);
            if (tuple == NULL || group == NULL ||
                !jinja_path(run, pairs[i].value, path, arguments->bound[1], &shown) ||
                !jinja_append(run, tuple, shown) ||
                !jinja_append(run, tuple, jinja_sequence(JINJA_LIST, group)) ||
                !jinja_append(run, groups, jinja_sequence(JINJA_TUPLE, tuple))) {
                return false;
            }
        }
        if (!jinja_append(run, group, pairs[i].value)) {
            return false;
        }
    }
    *out = jinja_sequence(JINJA_LIST, groups);
    return true;
}

static const struct jinja_native filters[] = {
    {.name = "groupby",
     .run = filter_groupby,
     .parameters = {"attribute", "default", "case_sensitive"},
     .required = 1},
    {.name = "dictsort", .run = filter_dictsort, .parameters = {"case_sensitive", "by", "reverse"}},
    {.name = "max", .run = filter_max, .parameters = {"case_sensitive", "attribute"}},
    {.name = "min", .run = filter_min, .parameters = {"case_sensitive", "attribute"}},
    {.name = "sort", .run = filter_sort, .parameters = {"reverse", "case_sensitive", "attribute"}},
    {.name = "unique", .run = filter_unique, .parameters = {"case_sensitive", "attribute"}},
};

const struct jinja_native *jinja_order_filter_find(struct bytes name)
{
    return jinja_native_find(filters, sizeof filters / sizeof *filters, name);
}
