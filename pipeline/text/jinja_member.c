/* jinja_member: attribute, item and slice lookup. */
#include "pipeline/text/jinja_member.h"

#include <stdio.h>

#include "pipeline/text/jinja_exec.h"
#include "pipeline/text/jinja_native.h"
#include "pipeline/text/jinja_string.h"
#include "pipeline/text/jinja_text.h"
#include "schemas/base/check.h"

/* "'dict object' has no attribute 'x'", as Jinja2 calls what is not there. */
static bool miss(struct jinja_run *run, struct jinja_value subject, struct jinja_value name,
                 struct jinja_value *out)
{
    size_t begin = jinja_capture_begin(run);
    const char *type = jinja_type_name(subject);
    if (name.kind == JINJA_STRING) {
        if (subject.kind == JINJA_NONE) {
            buffer_append_text(run->out, "'None' has no attribute ");
        } else {
            buffer_printf(run->out, "'%s object' has no attribute ", type);
        }
    } else {
        buffer_printf(run->out, "%s object has no element ", type);
    }
    struct bytes text;
    if (!jinja_print_repr(run, name) || !jinja_capture_end(run, begin, &text)) {
        return false;
    }
    *out = jinja_undefined(JINJA_CAUSE_MEMBER, text);
    return true;
}

/* What the immutable sandbox keeps from templates. */
static bool is_unsafe(struct jinja_value subject, struct bytes name)
{
    static const char *const list_names[] = {"append", "clear",  "pop",    "reverse", "insert",
                                             "sort",   "extend", "remove", NULL};
    static const char *const dict_names[] = {"clear",      "pop",    "popitem",
                                             "setdefault", "update", NULL};
    static const char *const no_names[] = {NULL};
    if (name.size > 0 && name.data[0] == '_') {
        return true;
    }
    const char *const *names = subject.kind == JINJA_LIST   ? list_names
                               : subject.kind == JINJA_DICT ? dict_names
                                                            : no_names;
    for (; *names != NULL; names++) {
        if (bytes_equal_text(name, *names)) {
            return true;
        }
    }
    return false;
}

static bool refuse(struct jinja_run *run, struct jinja_value subject, struct bytes name,
                   struct jinja_value *out)
{
    size_t begin = jinja_capture_begin(run);
    buffer_append_text(run->out, "access to attribute ");
    if (!jinja_print_repr(run, jinja_string(name))) {
        return false;
    }
    buffer_printf(run->out, " of '%s' object is unsafe.", jinja_type_name(subject));
    struct bytes text;
    if (!jinja_capture_end(run, begin, &text)) {
        return false;
    }
    *out = jinja_undefined(JINJA_CAUSE_MEMBER, text);
    return true;
}

enum loop_attribute {
    LOOP_INDEX,
    LOOP_INDEX0,
    LOOP_FIRST,
    LOOP_DEPTH,
    LOOP_DEPTH0,
    LOOP_PREVIOUS,
    LOOP_NEXT, // from here on: needs to know the next item
    LOOP_LAST,
    LOOP_LENGTH, // from here on: needs to know all
    LOOP_REVINDEX,
    LOOP_REVINDEX0,
    LOOP_ATTRIBUTES,
};

static enum loop_attribute find_loop_attribute(struct bytes name)
{
    static const char *const names[] = {"index",  "index0",   "first",    "depth",
                                        "depth0", "previtem", "nextitem", "last",
                                        "length", "revindex", "revindex0"};
    enum loop_attribute attribute = LOOP_INDEX;
    while (attribute < LOOP_ATTRIBUTES && !bytes_equal_text(name, names[attribute])) {
        attribute++;
    }
    return attribute;
}

static struct jinja_value loop_value(const struct jinja_loop *loop, enum loop_attribute attribute)
{
    int64_t index0 = (int64_t)loop->index0;
    int64_t count = (int64_t)loop->items->count;
    const struct jinja_value *item = loop->items->items + loop->index0;
    switch (attribute) {
    case LOOP_INDEX:
        return jinja_integer(index0 + 1);
    case LOOP_INDEX0:
        return jinja_integer(index0);
    case LOOP_FIRST:
        return jinja_bool(index0 == 0);
    case LOOP_DEPTH:
        return jinja_integer(loop->depth0 + 1);
    case LOOP_DEPTH0:
        return jinja_integer(loop->depth0);
    case LOOP_PREVIOUS:
        return index0 > 0
                   ? item[-1]
                   : jinja_undefined(JINJA_CAUSE_MEMBER, bytes_of("there is no previous item"));
    case LOOP_NEXT:
        return index0 + 1 < count
                   ? item[1]
                   : jinja_undefined(JINJA_CAUSE_MEMBER, bytes_of("there is no next item"));
    case LOOP_LAST:
        return jinja_bool(index0 + 1 >= count);
    case LOOP_LENGTH:
        return jinja_integer(count);
    case LOOP_REVINDEX:
        return jinja_integer(count - index0);
    case LOOP_REVINDEX0:
        return jinja_integer(count - index0 - 1);
    case LOOP_ATTRIBUTES:
        break;
    }
    return (struct jinja_value){.kind = JINJA_ABSENT};
}

static bool get_loop_attribute(struct jinja_run *run, struct jinja_loop *loop, struct bytes name,
                               struct jinja_value *out)
{
    enum loop_attribute attribute = find_loop_attribute(name);
    size_t needed = attribute >= LOOP_LENGTH ? SIZE_MAX : loop->index0 + 2;
    if (attribute >= LOOP_NEXT && attribute < LOOP_ATTRIBUTES &&
        !jinja_loop_reach(run, loop, needed)) {
        return false;
    }
    *out = loop_value(loop, attribute);
    return true;
}

/* Python's getattr: methods and the attributes of our own objects. ABSENT: there is none. */
static bool find_attribute(struct jinja_run *run, struct jinja_value subject, struct bytes name,
                           struct jinja_value *out)
{
    *out = (struct jinja_value){.kind = JINJA_ABSENT};
    if (subject.kind == JINJA_UNDEFINED) {
        return jinja_fail_undefined(run, subject);
    }
    if (subject.kind == JINJA_NAMESPACE) {
        const struct jinja_value *value = jinja_dict_find(subject.as.dict, jinja_string(name));
        if (value != NULL) {
            *out = *value;
        }
        return true;
    }
    if (subject.kind == JINJA_LOOP) {
        if (!get_loop_attribute(run, subject.as.loop, name, out)) {
            return false;
        }
    } else if (subject.kind == JINJA_MACRO && bytes_equal_text(name, "name")) {
        *out = jinja_string(subject.as.macro->signature->name);
    }
    if (out->kind != JINJA_ABSENT) {
        return true;
    }
    if (is_unsafe(subject, name)) {
        return refuse(run, subject, name, out);
    }
    const struct jinja_native *native = jinja_method_find(subject, name);
    if (native == NULL) {
        return true;
    }
    struct jinja_method *method = jinja_alloc(run, 1, sizeof *method);
    if (method == NULL) {
        return false;
    }
    *method = (struct jinja_method){native, subject};
    *out = (struct jinja_value){.kind = JINJA_NATIVE, .as.method = method};
    return true;
}

static bool find_key(struct jinja_run *run, struct jinja_value subject, struct jinja_value key,
                     struct jinja_value *out)
{
    const struct jinja_value *value = jinja_dict_find(subject.as.dict, key);
    *out = value == NULL ? (struct jinja_value){.kind = JINJA_ABSENT} : *value;
    return jinja_spend(run, subject.as.dict->count / 16);
}

bool jinja_attribute(struct jinja_run *run, struct jinja_value subject, struct bytes name,
                     struct jinja_value *out)
{
    if (!find_attribute(run, subject, name, out)) {
        return false;
    }
    bool is_private = name.size > 0 && name.data[0] == '_';
    if (subject.kind == JINJA_DICT && (out->kind == JINJA_ABSENT || is_private)) {
        struct jinja_value found;
        if (!find_key(run, subject, jinja_string(name), &found)) {
            return false;
        }
        *out = found.kind == JINJA_ABSENT ? *out : found;
    }
    return out->kind != JINJA_ABSENT || miss(run, subject, jinja_string(name), out);
}

/* One code point of a string or one item of a list; ABSENT past its ends. */
static struct jinja_value find_position(struct jinja_value subject, int64_t index)
{
    bool is_text = subject.kind == JINJA_STRING;
    size_t count = is_text ? jinja_utf8_count(subject.as.text) : subject.as.list->count;
    index += index < 0 ? (int64_t)count : 0;
    if (index < 0 || (size_t)index >= count) {
        return (struct jinja_value){.kind = JINJA_ABSENT};
    }
    if (!is_text) {
        return subject.as.list->items[index];
    }
    size_t start = jinja_utf8_offset(subject.as.text, (size_t)index);
    size_t stop = start;
    (void)jinja_utf8_take(subject.as.text, &stop);
    struct jinja_value out = jinja_string(jinja_part(subject.as.text, start, stop));
    out.is_markup = subject.is_markup;
    return out;
}

static bool is_indexable(struct jinja_value subject)
{
    return subject.kind == JINJA_STRING || subject.kind == JINJA_LIST ||
           subject.kind == JINJA_TUPLE ||
           (subject.kind == JINJA_VIEW &&
            jinja_starts_with(subject.as.list->name, bytes_of("range")));
}

bool jinja_item(struct jinja_run *run, struct jinja_value subject, struct jinja_value index,
                struct jinja_value *out)
{
    *out = (struct jinja_value){.kind = JINJA_ABSENT};
    if (subject.kind == JINJA_UNDEFINED) {
        return jinja_fail_undefined(run, subject);
    }
    if (subject.kind == JINJA_DICT) {
        if (!find_key(run, subject, index, out)) {
            return false;
        }
    } else if (is_indexable(subject) && jinja_is_integer(index)) {
        bool is_text = subject.kind == JINJA_STRING;
        if (is_text && !jinja_spend_search(run, subject.as.text.size, 0)) {
            return false;
        }
        *out = find_position(subject, jinja_as_integer(index));
    }
    if (out->kind == JINJA_ABSENT && index.kind == JINJA_STRING &&
        !find_attribute(run, subject, index.as.text, out)) {
        return false;
    }
    return out->kind != JINJA_ABSENT || miss(run, subject, index, out);
}

/* A slice's part, or `fallback` where it was left out; negative ones count from the end. */
static bool slice_bound(struct jinja_run *run, struct jinja_value part, int64_t count,
                        int64_t fallback, int64_t *out)
{
    if (part.kind == JINJA_NONE) {
        *out = fallback;
        return true;
    }
    if (part.kind == JINJA_UNDEFINED || !jinja_is_integer(part)) {
        return jinja_fail(run, "slice indices must be integers or None, not %s",
                          jinja_type_name(part));
    }
    int64_t index = jinja_as_integer(part);
    *out = index < 0 ? (index < -count ? -1 : index + count) : index;
    return true;
}

static int64_t clamp(int64_t value, int64_t low, int64_t high)
{
    return value < low ? low : value > high ? high : value;
}

/* Appends what `from` has at start, start + step, ... before stop. */
static bool slice_list(struct jinja_run *run, const struct jinja_list *from, const int64_t part[3],
                       struct jinja_list *list)
{
    for (int64_t i = part[0]; part[2] > 0 ? i < part[1] : i > part[1]; i += part[2]) {
        if (!jinja_spend(run, 1) || !jinja_append(run, list, from->items[i])) {
            return false;
        }
    }
    return true;
}

static bool join_items(struct jinja_run *run, const struct jinja_list *list,
                       struct jinja_value *out)
{
    size_t begin = jinja_capture_begin(run);
    for (size_t i = 0; i < list->count; i++) {
        buffer_append_bytes(run->out, list->items[i].as.text);
    }
    return jinja_capture_string(run, begin, out);
}

/* start, stop, step in the limits of `count` items, so that a loop over them stays inside. */
static bool resolve_slice(struct jinja_run *run, struct jinja_slice slice, int64_t count,
                          int64_t part[3])
{
    part[2] = 1;
    if (slice.step.kind != JINJA_NONE) {
        if (!jinja_is_integer(slice.step)) {
            return jinja_fail(run, "slice indices must be integers or None, not %s",
                              jinja_type_name(slice.step));
        }
        part[2] = jinja_as_integer(slice.step);
    }
    if (part[2] == 0) {
        return jinja_fail(run, "slice step cannot be zero");
    }
    part[2] = clamp(part[2], -count - 1, count + 1); // the same items, and no overflow
    bool is_forward = part[2] > 0;
    if (!slice_bound(run, slice.start, count, is_forward ? 0 : count - 1, &part[0]) ||
        !slice_bound(run, slice.stop, count, is_forward ? count : -1, &part[1])) {
        return false;
    }
    part[0] = is_forward ? clamp(part[0], 0, count) : clamp(part[0], -1, count - 1);
    part[1] = is_forward ? clamp(part[1], 0, count) : clamp(part[1], -1, count - 1);
    return true;
}

bool jinja_slice(struct jinja_run *run, struct jinja_value subject, struct jinja_slice slice,
                 struct jinja_value *out)
{
    if (subject.kind == JINJA_UNDEFINED) {
        return jinja_fail_undefined(run, subject);
    }
    if (!is_indexable(subject)) {
        *out = jinja_undefined(JINJA_CAUSE_MEMBER, bytes_of("the object cannot be sliced"));
        return true;
    }
    bool is_text = subject.kind == JINJA_STRING;
    if (is_text && !jinja_spend_search(run, subject.as.text.size, 0)) {
        return false;
    }
    size_t count = is_text ? jinja_utf8_count(subject.as.text) : subject.as.list->count;
    int64_t part[3];
    if (!resolve_slice(run, slice, (int64_t)count, part)) {
        return false;
    }
    if (is_text && part[2] == 1) {
        size_t start = jinja_utf8_offset(subject.as.text, (size_t)part[0]);
        size_t stop = jinja_utf8_offset(subject.as.text, (size_t)part[1]);
        *out = jinja_string(jinja_part(subject.as.text, start, stop < start ? start : stop));
        out->is_markup = subject.is_markup;
        return true;
    }
    const struct jinja_list *from;
    struct jinja_list *list = jinja_new_list(run, 0);
    if (list == NULL || !jinja_iterate(run, subject, &from) || !slice_list(run, from, part, list)) {
        return false;
    }
    if (is_text) {
        bool joined = join_items(run, list, out);
        out->is_markup = subject.is_markup;
        return joined;
    }
    *out = jinja_sequence(subject.kind == JINJA_TUPLE ? JINJA_TUPLE : JINJA_LIST, list);
    return true;
}

/* One part of a path: a position where it has only digits, a key otherwise. */
static struct jinja_value path_part(struct bytes name)
{
    int64_t position = 0;
    for (size_t i = 0; i < name.size; i++) {
        if (name.data[i] < '0' || name.data[i] > '9' || name.size > 9) {
            return jinja_string(name);
        }
        position = position * 10 + (name.data[i] - '0');
    }
    return name.size == 0 ? jinja_string(name) : jinja_integer(position);
}

bool jinja_path(struct jinja_run *run, struct jinja_value item, struct jinja_value path,
                struct jinja_value fallback, struct jinja_value *out)
{
    *out = item;
    if (path.kind == JINJA_ABSENT || path.kind == JINJA_NONE) {
        return true;
    }
    if (path.kind != JINJA_STRING) {
        return jinja_item(run, item, path, out);
    }
    for (size_t at = 0; at <= path.as.text.size;) {
        size_t dot = jinja_find(path.as.text, bytes_of("."), at);
        dot = dot == SIZE_MAX ? path.as.text.size : dot;
        struct bytes name = jinja_part(path.as.text, at, dot);
        struct jinja_value index = path_part(name);
        if (!jinja_item(run, *out, index, out)) {
            return false;
        }
        if (out->kind == JINJA_UNDEFINED && fallback.kind != JINJA_ABSENT) {
            *out = fallback;
        }
        at = dot + 1;
    }
    return true;
}
