/* jinja_functions: the global functions of chat templates. */
#include "pipeline/text/jinja_native.h"

#include <inttypes.h>
#include <time.h>

#include "pipeline/text/jinja_string.h"
#include "pipeline/text/jinja_text.h"

#define FUNCTION(name)                                                                             \
    static bool name(struct jinja_run *run, struct jinja_value subject,                            \
                     const struct jinja_arguments *arguments, struct jinja_value *out)

/* The template refuses the messages: its own words are the answer. */
FUNCTION(raise_exception)
{
    (void)subject;
    (void)out;
    struct bytes text;
    if (!jinja_text_of(run, arguments->bound[0], &text)) {
        return false;
    }
    return error_set(run->error, ERROR_INVALID, "template_error", "messages", "%.*s",
                     text.size > 390 ? 390 : (int)text.size, text.data);
}

FUNCTION(strftime_now)
{
    (void)subject;
    struct bytes format;
    struct tm now;
    char wanted[202];
    char text[1000];
    if (!jinja_argument_text(run, arguments->bound[0], &format)) {
        return false;
    }
    if (format.data == NULL || format.size > 200 || memchr(format.data, 0, format.size) != NULL ||
        gmtime_r(&run->now, &now) == NULL) {
        return jinja_fail(run, "strftime_now needs a format of at most 200 bytes");
    }
    // A space in front tells an empty text from one that is too long.
    wanted[0] = ' ';
    memcpy(wanted + 1, format.data, format.size);
    wanted[format.size + 1] = '\0';
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral" // bounded by `text` whatever it says
    size_t size = strftime(text, sizeof text, wanted, &now);
#pragma GCC diagnostic pop
    if (size == 0) {
        return jinja_fail(run, "strftime_now makes more than 1000 bytes");
    }
    size_t begin = jinja_capture_begin(run);
    buffer_append(run->out, text + 1, size - 1);
    return jinja_capture_string(run, begin, out);
}

/* How many numbers lie from start before stop; what a range may have at most, and one, if more. */
static size_t range_count(int64_t start, int64_t stop, int64_t step)
{
    uint64_t distance = 0;
    uint64_t stride = step < 0 ? 0 - (uint64_t)step : (uint64_t)step;
    if (step > 0 && start < stop) {
        distance = (uint64_t)stop - (uint64_t)start;
    } else if (step < 0 && start > stop) {
        distance = (uint64_t)start - (uint64_t)stop;
    }
    uint64_t count = distance / stride + (distance % stride != 0);
    return count > JINJA_RANGE_MAX ? JINJA_RANGE_MAX + 1 : (size_t)count;
}

static bool range_name(struct jinja_run *run, const int64_t part[3], struct bytes *out)
{
    size_t begin = jinja_capture_begin(run);
    buffer_printf(run->out, "range(%" PRId64 ", %" PRId64, part[0], part[1]);
    if (part[2] != 1) {
        buffer_printf(run->out, ", %" PRId64, part[2]);
    }
    buffer_append_char(run->out, ')');
    return jinja_capture_end(run, begin, out);
}

FUNCTION(range)
{
    (void)subject;
    int64_t part[3] = {0, 0, 1}; // start, stop, step
    if (arguments->bound[1].kind == JINJA_ABSENT) {
        if (!jinja_argument_integer(run, arguments->bound[0], 0, &part[1])) {
            return false;
        }
    } else if (!jinja_argument_integer(run, arguments->bound[0], 0, &part[0]) ||
               !jinja_argument_integer(run, arguments->bound[1], 0, &part[1]) ||
               !jinja_argument_integer(run, arguments->bound[2], 1, &part[2])) {
        return false;
    }
    if (part[2] == 0) {
        return jinja_fail(run, "range() arg 3 must not be zero");
    }
    size_t count = range_count(part[0], part[1], part[2]);
    if (count > JINJA_RANGE_MAX) {
        return jinja_fail(run, "Range too big. The sandbox blocks ranges larger than %d.",
                          JINJA_RANGE_MAX);
    }
    struct jinja_list *list = jinja_new_list(run, count);
    if (list == NULL || !jinja_spend(run, count) || !range_name(run, part, &list->name)) {
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        // unsigned, as the product may pass 64 bits on its way to a sum that fits
        uint64_t item = (uint64_t)part[0] + i * (uint64_t)part[2];
        list->items[list->count++] = jinja_integer((int64_t)item);
    }
    *out = jinja_sequence(JINJA_VIEW, list);
    return true;
}

/* The pairs of a mapping, or of a sequence of sequences of two. */
static bool add_pairs(struct jinja_run *run, struct jinja_value from, struct jinja_dict *dict)
{
    const struct jinja_list *list = NULL;
    bool is_dict = from.kind == JINJA_DICT;
    if (!is_dict && !jinja_iterate(run, from, &list)) {
        return false;
    }
    size_t count = is_dict ? from.as.dict->count : list->count;
    for (size_t i = 0; i < count; i++) {
        struct jinja_pair pair;
        const struct jinja_list *items;
        if (is_dict) {
            pair = from.as.dict->pairs[i];
        } else if (!jinja_iterate(run, list->items[i], &items)) {
            return false;
        } else if (items->count != 2) {
            return jinja_fail(run, "a dict needs pairs, element %zu has %zu items", i,
                              items->count);
        } else {
            pair = (struct jinja_pair){items->items[0], items->items[1]};
        }
        if (!jinja_spend(run, 1 + dict->count / 16)) {
            return false;
        }
        if (!jinja_dict_set(run->arena, dict, pair.key, pair.value)) {
            return jinja_fail_memory(run);
        }
    }
    return true;
}

/* dict(...) and namespace(...): a mapping or pairs, and keywords. */
static bool build_dict(struct jinja_run *run, const struct jinja_arguments *arguments,
                       struct jinja_dict **out)
{
    struct jinja_dict *dict = jinja_new_dict(run, arguments->keyword_count);
    if (dict == NULL) {
        return false;
    }
    *out = dict;
    if (arguments->count > 1) {
        return jinja_fail(run, "expected at most one argument, %zu were given", arguments->count);
    }
    if (arguments->count == 1 && !add_pairs(run, arguments->positional[0], dict)) {
        return false;
    }
    for (size_t i = 0; i < arguments->keyword_count; i++) {
        if (!jinja_dict_set(run->arena, dict, jinja_string(arguments->keywords[i].name),
                            arguments->keywords[i].value)) {
            return jinja_fail_memory(run);
        }
    }
    return true;
}

FUNCTION(make_dict)
{
    (void)subject;
    struct jinja_dict *dict;
    if (!build_dict(run, arguments, &dict)) {
        return false;
    }
    *out = jinja_mapping(dict);
    return true;
}

FUNCTION(make_namespace)
{
    (void)subject;
    struct jinja_dict *dict;
    if (!build_dict(run, arguments, &dict)) {
        return false;
    }
    *out = (struct jinja_value){.kind = JINJA_NAMESPACE, .as.dict = dict};
    return true;
}

static const struct jinja_native functions[] = {
    {.name = "dict", .run = make_dict, .is_variadic = true},
    {.name = "namespace", .run = make_namespace, .is_variadic = true},
    {.name = "raise_exception", .run = raise_exception, .parameters = {"message"}, .required = 1},
    {.name = "range", .run = range, .parameters = {"start", "stop", "step"}, .required = 1},
    {.name = "strftime_now", .run = strftime_now, .parameters = {"format"}, .required = 1},
};

const struct jinja_native *jinja_function_find(struct bytes name)
{
    return jinja_native_find(functions, sizeof functions / sizeof *functions, name);
}
