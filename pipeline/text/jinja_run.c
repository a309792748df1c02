/* jinja_run: limits, captures, scopes, iteration. */
#include "pipeline/text/jinja_run.h"

#include <stdarg.h>
#include <stdio.h>

#include "pipeline/text/jinja_string.h"
#include "schemas/base/check.h"

void jinja_set_error(struct jinja_run *run, const char *format, ...)
{
    char text[300];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    (void)error_set(run->error, ERROR_INVALID, "template_error", "messages",
                    "chat template, line %u: %s", run->line, text);
}

void jinja_set_memory_error(struct jinja_run *run)
{
    (void)error_set(run->error, ERROR_TOO_LARGE, "template_error", "messages",
                    "chat template, line %u: needs more than the %d bytes of memory of a render",
                    run->line, JINJA_MEMORY_BYTES_MAX);
}

void jinja_set_undefined_error(struct jinja_run *run, struct jinja_value value)
{
    int size = value.as.text.size > 200 ? 200 : (int)value.as.text.size;
    const char *text = value.as.text.data;
    switch (value.cause) {
    case JINJA_CAUSE_NAME:
        jinja_set_error(run, "'%.*s' is undefined", size, text);
        break;
    case JINJA_CAUSE_PARAMETER:
        jinja_set_error(run, "parameter '%.*s' was not provided", size, text);
        break;
    case JINJA_CAUSE_MEMBER:
        jinja_set_error(run, "%.*s", size, text);
        break;
    }
}

bool jinja_spend(struct jinja_run *run, size_t steps)
{
    if (steps > run->steps_left) {
        run->steps_left = 0;
        return jinja_fail(run, "takes more than the %d steps of a render", JINJA_STEPS_MAX);
    }
    run->steps_left -= steps;
    return true;
}

bool jinja_spend_search(struct jinja_run *run, size_t text_bytes, size_t part_bytes)
{
    size_t steps;
    if (__builtin_mul_overflow(text_bytes / JINJA_BYTES_PER_STEP,
                               1 + part_bytes / JINJA_BYTES_PER_STEP, &steps)) {
        steps = SIZE_MAX;
    }
    return jinja_spend(run, steps);
}

bool jinja_enter(struct jinja_run *run)
{
    if (run->depth == JINJA_DEPTH_MAX) {
        return jinja_fail(run, "nests deeper than %d levels", JINJA_DEPTH_MAX);
    }
    run->depth++;
    return true;
}

void jinja_leave(struct jinja_run *run)
{
    CHECK(run->depth > 0);
    run->depth--;
}

void *jinja_alloc(struct jinja_run *run, size_t count, size_t size)
{
    void *memory = arena_alloc_array(run->arena, count, size);
    if (memory == NULL) {
        jinja_set_memory_error(run);
    }
    return memory;
}

struct jinja_list *jinja_new_list(struct jinja_run *run, size_t capacity)
{
    struct jinja_list *list = jinja_list_open(run->arena, capacity);
    if (list == NULL) {
        jinja_set_memory_error(run);
    }
    return list;
}

struct jinja_dict *jinja_new_dict(struct jinja_run *run, size_t capacity)
{
    struct jinja_dict *dict = jinja_dict_open(run->arena, capacity);
    if (dict == NULL) {
        jinja_set_memory_error(run);
    }
    return dict;
}

bool jinja_append(struct jinja_run *run, struct jinja_list *list, struct jinja_value item)
{
    return jinja_list_add(run->arena, list, item) || jinja_fail_memory(run);
}

size_t jinja_capture_begin(const struct jinja_run *run)
{
    return run->out->size;
}

bool jinja_capture_end(struct jinja_run *run, size_t begin, struct bytes *out)
{
    if (buffer_failed(run->out)) {
        (void)error_set(run->error, ERROR_TOO_LARGE, "template_error", "messages",
                        "chat template, line %u: the text is longer than the %zu bytes of a prompt",
                        run->line, run->out->size_max);
        return false;
    }
    struct bytes all = buffer_bytes(run->out);
    *out = arena_copy(run->arena, jinja_part(all, begin, all.size));
    buffer_truncate(run->out, begin);
    if (out->data == NULL) {
        return jinja_fail_memory(run);
    }
    return jinja_spend_search(run, out->size, 0);
}

bool jinja_capture_string(struct jinja_run *run, size_t begin, struct jinja_value *out)
{
    struct bytes text;
    if (!jinja_capture_end(run, begin, &text)) {
        return false;
    }
    *out = jinja_string(text);
    return true;
}

struct jinja_scope *jinja_scope_open(struct jinja_run *run, struct jinja_scope *parent)
{
    struct jinja_scope *scope = jinja_alloc(run, 1, sizeof *scope);
    if (scope != NULL) {
        scope->parent = parent;
    }
    return scope;
}

bool jinja_scope_set(struct jinja_run *run, struct jinja_scope *scope, struct bytes name,
                     struct jinja_value value)
{
    size_t hops = 0;
    for (struct jinja_binding *at = scope->bindings; at != NULL; at = at->next) {
        hops++;
        if (bytes_equal(at->name, name)) {
            at->value = value;
            return jinja_spend(run, hops / JINJA_HOPS_PER_STEP);
        }
    }
    if (!jinja_spend(run, hops / JINJA_HOPS_PER_STEP)) {
        return false;
    }
    struct jinja_binding *binding = jinja_alloc(run, 1, sizeof *binding);
    if (binding == NULL) {
        return false;
    }
    *binding = (struct jinja_binding){scope->bindings, name, value};
    scope->bindings = binding;
    return true;
}

bool jinja_scope_find(struct jinja_run *run, struct bytes name, struct jinja_value *out)
{
    size_t hops = 0;
    *out = (struct jinja_value){.kind = JINJA_ABSENT};
    for (const struct jinja_scope *scope = run->scope; scope != NULL; scope = scope->parent) {
        for (const struct jinja_binding *at = scope->bindings; at != NULL; at = at->next) {
            hops++;
            if (bytes_equal(at->name, name)) {
                *out = at->value;
                return jinja_spend(run, hops / JINJA_HOPS_PER_STEP);
            }
        }
        hops++;
    }
    return jinja_spend(run, hops / JINJA_HOPS_PER_STEP);
}

static bool iterate_text(struct jinja_run *run, struct bytes text, struct jinja_list *list)
{
    for (size_t at = 0; at < text.size;) {
        size_t start = at;
        (void)jinja_utf8_take(text, &at);
        if (!jinja_append(run, list, jinja_string(jinja_part(text, start, at)))) {
            return false;
        }
    }
    return true;
}

static bool iterate_keys(struct jinja_run *run, const struct jinja_dict *dict,
                         struct jinja_list *list)
{
    for (size_t i = 0; i < dict->count; i++) {
        if (!jinja_append(run, list, dict->pairs[i].key)) {
            return false;
        }
    }
    return true;
}

/* What a generator still has; it has nothing afterwards. */
static void iterate_generator(struct jinja_list *generator, struct jinja_list *list)
{
    list->items = generator->items + generator->taken;
    list->count = generator->count - generator->taken;
    list->capacity = list->count;
    generator->taken = generator->count;
}

bool jinja_iterate(struct jinja_run *run, struct jinja_value value, const struct jinja_list **out)
{
    if (value.kind == JINJA_LIST || value.kind == JINJA_TUPLE || value.kind == JINJA_VIEW) {
        *out = value.as.list;
        return jinja_spend(run, value.as.list->count);
    }
    struct jinja_list *list = jinja_new_list(run, 0);
    if (list == NULL) {
        return false;
    }
    *out = list;
    bool has_items = true;
    if (value.kind == JINJA_GENERATOR) {
        iterate_generator(value.as.list, list);
    } else if (value.kind == JINJA_DICT) {
        has_items = iterate_keys(run, value.as.dict, list);
    } else if (value.kind == JINJA_STRING) {
        has_items = iterate_text(run, value.as.text, list);
    } else if (value.kind != JINJA_UNDEFINED) {
        return jinja_fail(run, "'%s' object is not iterable", jinja_type_name(value));
    }
    return has_items && jinja_spend(run, list->count);
}
