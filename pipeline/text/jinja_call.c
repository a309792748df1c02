/* jinja_call: calls of natives, macros and recursive loops. */
#include "pipeline/text/jinja_eval.h"
#include "pipeline/text/jinja_exec.h"

/* Takes the argument for a macro's parameter: by position, by name, by default, or undefined. */
static bool bind_parameter(struct jinja_run *run, const struct jinja_parameter *parameter,
                           const struct jinja_arguments *arguments, size_t position,
                           bool *is_keyword_used)
{
    struct jinja_value value = {.kind = JINJA_ABSENT};
    if (position < arguments->count) {
        value = arguments->positional[position];
    }
    for (size_t i = 0; i < arguments->keyword_count; i++) {
        if (!bytes_equal(arguments->keywords[i].name, parameter->name)) {
            continue;
        }
        if (value.kind != JINJA_ABSENT) {
            return jinja_fail(run, "macro got multiple values for argument '%.*s'",
                              (int)parameter->name.size, parameter->name.data);
        }
        value = arguments->keywords[i].value;
        is_keyword_used[i] = true;
    }
    if (value.kind == JINJA_ABSENT && parameter->value != NULL) {
        if (!jinja_eval(run, parameter->value, &value)) {
            return false;
        }
    } else if (value.kind == JINJA_ABSENT) {
        value = jinja_undefined(JINJA_CAUSE_PARAMETER, parameter->name);
    }
    return jinja_scope_set(run, run->scope, parameter->name, value);
}

static bool bind_varargs(struct jinja_run *run, const struct jinja_macro *macro,
                         const struct jinja_arguments *arguments, size_t used)
{
    size_t count = arguments->count > used ? arguments->count - used : 0;
    if (!macro->signature->takes_varargs) {
        return count == 0 ||
               jinja_fail(run, "macro '%.*s' takes not more than %zu argument(s)",
                          (int)macro->signature->name.size,
                          macro->signature->name.size == 0 ? "" : macro->signature->name.data,
                          used);
    }
    struct jinja_list *list = jinja_new_list(run, count);
    if (list == NULL) {
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        list->items[list->count++] = arguments->positional[used + i];
    }
    return jinja_scope_set(run, run->scope, bytes_of("varargs"), jinja_sequence(JINJA_TUPLE, list));
}

/* What no parameter took: `caller`, and the rest as `kwargs`. */
static bool bind_keywords(struct jinja_run *run, const struct jinja_macro *macro,
                          const struct jinja_arguments *arguments, const bool *is_keyword_used)
{
    const struct jinja_signature *signature = macro->signature;
    struct jinja_value caller = jinja_undefined(JINJA_CAUSE_MEMBER, bytes_of("No caller defined"));
    struct jinja_dict *kwargs = jinja_new_dict(run, 0);
    if (kwargs == NULL) {
        return false;
    }
    for (size_t i = 0; i < arguments->keyword_count; i++) {
        struct jinja_keyword keyword = arguments->keywords[i];
        if (is_keyword_used[i]) {
            continue;
        }
        if (signature->takes_caller && bytes_equal_text(keyword.name, "caller")) {
            caller = keyword.value;
        } else if (!signature->takes_kwargs) {
            return jinja_fail(run, "macro takes no keyword argument '%.*s'",
                              keyword.name.size > 60 ? 60 : (int)keyword.name.size,
                              keyword.name.data);
        } else if (!jinja_dict_set(run->arena, kwargs, jinja_string(keyword.name), keyword.value)) {
            return jinja_fail_memory(run);
        }
    }
    return (!signature->takes_caller ||
            jinja_scope_set(run, run->scope, bytes_of("caller"), caller)) &&
           (!signature->takes_kwargs ||
            jinja_scope_set(run, run->scope, bytes_of("kwargs"), jinja_mapping(kwargs)));
}

/* Binds in run->scope, in which defaults see the parameters before them. */
static bool bind_arguments(struct jinja_run *run, const struct jinja_macro *macro,
                           const struct jinja_arguments *arguments)
{
    bool *is_keyword_used = jinja_alloc(run, arguments->keyword_count, sizeof *is_keyword_used);
    if (is_keyword_used == NULL) {
        return false;
    }
    size_t position = 0;
    for (const struct jinja_parameter *parameter = macro->signature->parameters; parameter != NULL;
         parameter = parameter->next) {
        if (!bind_parameter(run, parameter, arguments, position++, is_keyword_used)) {
            return false;
        }
    }
    return bind_varargs(run, macro, arguments, position) &&
           bind_keywords(run, macro, arguments, is_keyword_used);
}

static bool call_macro(struct jinja_run *run, const struct jinja_macro *macro,
                       const struct jinja_arguments *arguments, struct jinja_value *out)
{
    struct jinja_scope *outer = run->scope;
    struct jinja_scope *scope = jinja_scope_open(run, macro->scope);
    if (scope == NULL) {
        return false;
    }
    run->scope = scope;
    bool called = bind_arguments(run, macro, arguments) &&
                  jinja_exec_capture(run, macro->signature->body, scope, out);
    run->scope = outer;
    return called;
}

/* loop(items): the for around it once more, one level deeper. */
static bool call_loop(struct jinja_run *run, const struct jinja_loop *loop,
                      const struct jinja_arguments *arguments, struct jinja_value *out)
{
    if (!loop->node->as.loop.is_recursive) {
        return jinja_fail(run,
                          "the loop must have the 'recursive' marker to be called recursively");
    }
    if (arguments->count != 1) {
        return jinja_fail(run, "loop() takes one argument, %zu were given", arguments->count);
    }
    size_t begin = jinja_capture_begin(run);
    return jinja_exec_loop(run, loop->node, arguments->positional[0], loop->scope,
                           loop->depth0 + 1) &&
           jinja_capture_string(run, begin, out);
}

bool jinja_call(struct jinja_run *run, struct jinja_value callee,
                const struct jinja_arguments *arguments, struct jinja_value *out)
{
    if (callee.kind == JINJA_NATIVE) {
        return jinja_native_call(run, callee.as.method->native, callee.as.method->subject,
                                 arguments, out);
    }
    if (callee.kind == JINJA_MACRO) {
        return call_macro(run, callee.as.macro, arguments, out);
    }
    if (callee.kind == JINJA_LOOP) {
        return call_loop(run, callee.as.loop, arguments, out);
    }
    if (callee.kind == JINJA_UNDEFINED) {
        return jinja_fail_undefined(run, callee);
    }
    return jinja_fail(run, "'%s' object is not callable", jinja_type_name(callee));
}
