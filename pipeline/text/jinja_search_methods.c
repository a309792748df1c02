/* jinja_search_methods: the methods of Python's str that look for something and take it apart. */
#include "pipeline/text/jinja_native.h"

#include "pipeline/text/jinja_string.h"

#define METHOD(name)                                                                               \
    static bool name(struct jinja_run *run, struct jinja_value subject,                            \
                     const struct jinja_arguments *arguments, struct jinja_value *out)

static bool add_part(struct jinja_run *run, struct jinja_list *list, struct bytes part)
{
    return jinja_spend(run, 1) && jinja_append(run, list, jinja_string(part));
}

static bool split_space(struct jinja_run *run, struct bytes text, int64_t limit,
                        struct jinja_list *list)
{
    static const struct bytes space = {NULL, 0};
    text = jinja_strip(text, space, JINJA_SIDE_LEFT);
    while (text.size > 0) {
        if (limit-- == 0) {
            return add_part(run, list, text);
        }
        size_t stop = 0;
        for (size_t at = 0; at < text.size; stop = at) {
            if (jinja_is_space(jinja_utf8_take(text, &at))) {
                break;
            }
        }
        if (!add_part(run, list, jinja_part(text, 0, stop))) {
            return false;
        }
        text = jinja_strip(jinja_part(text, stop, text.size), space, JINJA_SIDE_LEFT);
    }
    return true;
}

static bool split_by(struct jinja_run *run, struct bytes text, struct bytes separator,
                     int64_t limit, struct jinja_list *list)
{
    size_t at = 0;
    while (limit-- != 0) {
        size_t found = jinja_find(text, separator, at);
        if (found == SIZE_MAX) {
            break;
        }
        if (!add_part(run, list, jinja_part(text, at, found))) {
            return false;
        }
        at = found + separator.size;
    }
    return add_part(run, list, jinja_part(text, at, text.size));
}

/* The last place at which `part` starts before `end` - part.size; SIZE_MAX: none. */
static size_t find_last(struct bytes text, struct bytes part, size_t end)
{
    for (size_t at = end < part.size ? 0 : end - part.size + 1; at > 0; at--) {
        if (memcmp(text.data + at - 1, part.data, part.size) == 0) {
            return at - 1;
        }
    }
    return SIZE_MAX;
}

static void reverse(struct jinja_list *list)
{
    for (size_t i = 0; i < list->count / 2; i++) {
        struct jinja_value item = list->items[i];
        list->items[i] = list->items[list->count - 1 - i];
        list->items[list->count - 1 - i] = item;
    }
}

static bool split_right(struct jinja_run *run, struct bytes text, struct bytes separator,
                        int64_t limit, struct jinja_list *list)
{
    while (limit-- != 0) {
        size_t found = find_last(text, separator, text.size);
        if (found == SIZE_MAX) {
            break;
        }
        if (!add_part(run, list, jinja_part(text, found + separator.size, text.size))) {
            return false;
        }
        text.size = found;
    }
    if (!add_part(run, list, text)) {
        return false;
    }
    reverse(list);
    return true;
}

static bool split_space_right(struct jinja_run *run, struct bytes text, int64_t limit,
                              struct jinja_list *list)
{
    static const struct bytes space = {NULL, 0};
    text = jinja_strip(text, space, JINJA_SIDE_RIGHT);
    while (text.size > 0 && limit-- != 0) {
        size_t start = 0;
        for (size_t at = 0; at < text.size;) {
            if (jinja_is_space(jinja_utf8_take(text, &at))) {
                start = at;
            }
        }
        if (!jinja_spend(run, text.size / 64) ||
            !add_part(run, list, jinja_part(text, start, text.size))) {
            return false;
        }
        text = jinja_strip(jinja_part(text, 0, start), space, JINJA_SIDE_RIGHT);
    }
    if (text.size > 0 && !add_part(run, list, text)) {
        return false;
    }
    reverse(list);
    return true;
}

static bool split(struct jinja_run *run, struct jinja_value subject,
                  const struct jinja_arguments *arguments, bool from_right, struct jinja_value *out)
{
    struct bytes separator;
    int64_t limit;
    struct jinja_list *list = jinja_new_list(run, 0);
    if (list == NULL || !jinja_argument_text(run, arguments->bound[0], &separator) ||
        !jinja_argument_integer(run, arguments->bound[1], -1, &limit)) {
        return false;
    }
    if (separator.data != NULL && separator.size == 0) {
        return jinja_fail(run, "empty separator");
    }
    *out = jinja_sequence(JINJA_LIST, list);
    struct bytes text = subject.as.text;
    if (separator.data == NULL) {
        return from_right && limit >= 0 ? split_space_right(run, text, limit, list)
                                        : split_space(run, text, limit, list);
    }
    return from_right ? split_right(run, text, separator, limit, list)
                      : split_by(run, text, separator, limit, list);
}

METHOD(text_split)
{
    return split(run, subject, arguments, false, out);
}

METHOD(text_rsplit)
{
    return split(run, subject, arguments, true, out);
}

METHOD(text_splitlines)
{
    struct bytes text = subject.as.text;
    bool keeps_ends = jinja_truth(arguments->bound[0]);
    struct jinja_list *list = jinja_new_list(run, 0);
    for (size_t at = 0; list != NULL && at < text.size;) {
        bool has_end;
        size_t start = at;
        struct bytes line = jinja_take_line(text, &at, &has_end);
        if (!add_part(run, list, keeps_ends ? jinja_part(text, start, at) : line)) {
            return false;
        }
    }
    *out = jinja_sequence(JINJA_LIST, list);
    return list != NULL;
}

static bool partition(struct jinja_run *run, struct jinja_value subject,
                      const struct jinja_arguments *arguments, bool from_right,
                      struct jinja_value *out)
{
    struct bytes text = subject.as.text;
    struct bytes separator;
    struct jinja_list *list = jinja_new_list(run, 3);
    if (list == NULL || !jinja_argument_text(run, arguments->bound[0], &separator)) {
        return false;
    }
    if (separator.size == 0) {
        return jinja_fail(run, "empty separator");
    }
    size_t found =
        from_right ? find_last(text, separator, text.size) : jinja_find(text, separator, 0);
    *out = jinja_sequence(JINJA_TUPLE, list);
    if (found == SIZE_MAX) {
        struct bytes empty = bytes_of("");
        return add_part(run, list, from_right ? empty : text) && add_part(run, list, empty) &&
               add_part(run, list, from_right ? text : empty);
    }
    return add_part(run, list, jinja_part(text, 0, found)) && add_part(run, list, separator) &&
           add_part(run, list, jinja_part(text, found + separator.size, text.size));
}

METHOD(text_partition)
{
    return partition(run, subject, arguments, false, out);
}

METHOD(text_rpartition)
{
    return partition(run, subject, arguments, true, out);
}

static bool find(struct jinja_run *run, struct jinja_value subject,
                 const struct jinja_arguments *arguments, bool from_right, int64_t *out)
{
    struct bytes part;
    struct bytes text = subject.as.text;
    if (!jinja_argument_text(run, arguments->bound[0], &part)) {
        return false;
    }
    if (part.data == NULL) {
        return jinja_fail(run, "must be str, not NoneType");
    }
    size_t found = from_right ? find_last(text, part, text.size) : jinja_find(text, part, 0);
    *out = found == SIZE_MAX ? -1 : (int64_t)jinja_utf8_count(jinja_part(text, 0, found));
    return true;
}

METHOD(text_find)
{
    int64_t position;
    if (!find(run, subject, arguments, false, &position)) {
        return false;
    }
    *out = jinja_integer(position);
    return true;
}

METHOD(text_rfind)
{
    int64_t position;
    if (!find(run, subject, arguments, true, &position)) {
        return false;
    }
    *out = jinja_integer(position);
    return true;
}

METHOD(text_index)
{
    return text_find(run, subject, arguments, out) &&
           (out->as.integer >= 0 || jinja_fail(run, "substring not found"));
}

METHOD(text_count)
{
    struct bytes part;
    struct bytes text = subject.as.text;
    if (!jinja_argument_text(run, arguments->bound[0], &part)) {
        return false;
    }
    int64_t count = part.size == 0 ? (int64_t)jinja_utf8_count(text) + 1 : 0;
    for (size_t at = 0; part.size > 0; at += part.size) {
        at = jinja_find(text, part, at);
        if (at == SIZE_MAX) {
            break;
        }
        count++;
    }
    *out = jinja_integer(count);
    return true;
}

static const struct jinja_native methods[] = {
    {.name = "count", .run = text_count, .parameters = {"sub"}, .required = 1},
    {.name = "find", .run = text_find, .parameters = {"sub"}, .required = 1},
    {.name = "index", .run = text_index, .parameters = {"sub"}, .required = 1},
    {.name = "partition",
     .run = text_partition,
     .keeps_markup = true,
     .parameters = {"sep"},
     .required = 1},
    {.name = "rfind", .run = text_rfind, .parameters = {"sub"}, .required = 1},
    {.name = "rpartition",
     .run = text_rpartition,
     .keeps_markup = true,
     .parameters = {"sep"},
     .required = 1},
    {.name = "rsplit", .run = text_rsplit, .keeps_markup = true, .parameters = {"sep", "maxsplit"}},
    {.name = "split", .run = text_split, .keeps_markup = true, .parameters = {"sep", "maxsplit"}},
    {.name = "splitlines",
     .run = text_splitlines,
     .keeps_markup = true,
     .parameters = {"keepends"}},
};

const struct jinja_native *jinja_search_method_find(struct bytes name)
{
    return jinja_native_find(methods, sizeof methods / sizeof *methods, name);
}
