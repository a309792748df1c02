/* jinja_exec: the tree walk over statements. */
#include "pipeline/text/jinja_exec.h"

#include "pipeline/text/jinja_eval.h"
#include "pipeline/text/jinja_text.h"
#include "schemas/base/check.h"

static bool assign(struct jinja_run *run, const struct jinja_node *target,
                   struct jinja_value value);

static bool assign_tuple(struct jinja_run *run, const struct jinja_node *targets,
                         struct jinja_value value)
{
    const struct jinja_list *list;
    size_t count = 0;
    for (const struct jinja_node *target = targets; target != NULL; target = target->next) {
        count++;
    }
    if (!jinja_iterate(run, value, &list)) {
        return false;
    }
    if (list->count != count) {
        return list->count > count
                   ? jinja_fail(run, "too many values to unpack (expected %zu)", count)
                   : jinja_fail(run, "not enough values to unpack (expected %zu, got %zu)", count,
                                list->count);
    }
    const struct jinja_value *item = list->items;
    for (const struct jinja_node *target = targets; target != NULL; target = target->next) {
        if (!assign(run, target, *item++)) {
            return false;
        }
    }
    return true;
}

static bool assign_attribute(struct jinja_run *run, const struct jinja_node *target,
                             struct jinja_value value)
{
    struct jinja_value subject;
    if (!jinja_eval(run, target->as.member.subject, &subject)) {
        return false;
    }
    if (subject.kind != JINJA_NAMESPACE) {
        return jinja_fail(run, "cannot assign attribute on non-namespace object");
    }
    return jinja_dict_set(run->arena, subject.as.dict, jinja_string(target->as.member.name),
                          value) ||
           jinja_fail_memory(run);
}

static bool assign(struct jinja_run *run, const struct jinja_node *target, struct jinja_value value)
{
    if (target->kind == NODE_TUPLE) {
        return assign_tuple(run, target->as.items, value);
    }
    if (target->kind == NODE_ATTRIBUTE_TARGET) {
        return assign_attribute(run, target, value);
    }
    CHECK(target->kind == NODE_NAME);
    return jinja_scope_set(run, run->scope, target->as.text, value);
}

static bool exec_output(struct jinja_run *run, const struct jinja_node *node)
{
    struct jinja_value value;
    return jinja_eval(run, node->as.items, &value) && jinja_print(run, value);
}

static bool exec_if(struct jinja_run *run, const struct jinja_node *node)
{
    for (;;) {
        struct jinja_value test;
        if (!jinja_eval(run, node->as.choice.test, &test)) {
            return false;
        }
        if (jinja_truth(test)) {
            return jinja_exec(run, node->as.choice.yes);
        }
        const struct jinja_node *no = node->as.choice.no;
        bool is_elif = no != NULL && no->kind == NODE_IF && no->next == NULL;
        if (!is_elif) {
            return jinja_exec(run, no);
        }
        node = no; // a chain may be longer than nesting may be deep
    }
}

/* Runs a list of statements in a new scope inside `parent`. */
static bool exec_scoped(struct jinja_run *run, const struct jinja_node *body,
                        struct jinja_scope *parent)
{
    struct jinja_scope *outer = run->scope;
    struct jinja_scope *scope = jinja_scope_open(run, parent);
    if (scope == NULL) {
        return false;
    }
    run->scope = scope;
    bool executed = jinja_exec(run, body);
    run->scope = outer;
    return executed;
}

bool jinja_exec_capture(struct jinja_run *run, const struct jinja_node *body,
                        struct jinja_scope *scope, struct jinja_value *out)
{
    struct jinja_scope *outer = run->scope;
    size_t begin = jinja_capture_begin(run);
    run->scope = scope;
    bool executed = jinja_exec(run, body);
    run->scope = outer;
    return executed && jinja_capture_string(run, begin, out);
}

/* Whether an item passes the loop's own `if`, seen under the loop's target. */
static bool passes(struct jinja_run *run, const struct jinja_loop *loop, struct jinja_value item,
                   bool *out)
{
    struct jinja_scope *outer = run->scope;
    struct jinja_scope *scope = jinja_scope_open(run, loop->scope);
    if (scope == NULL) {
        return false;
    }
    struct jinja_value test;
    run->scope = scope;
    bool asked = assign(run, loop->node->as.loop.target, item) &&
                 jinja_eval(run, loop->node->as.loop.test, &test);
    run->scope = outer;
    *out = asked && jinja_truth(test);
    return asked;
}

bool jinja_loop_reach(struct jinja_run *run, struct jinja_loop *loop, size_t count)
{
    while (loop->items->count < count && loop->asked < loop->source->count) {
        struct jinja_value item = loop->source->items[loop->asked++];
        bool is_wanted = true;
        if (loop->node->as.loop.test != NULL && !passes(run, loop, item, &is_wanted)) {
            return false;
        }
        if (is_wanted && !jinja_append(run, loop->items, item)) {
            return false;
        }
    }
    return true;
}

/* One round of the loop, in a scope of its own inside the one that knows `loop`. */
static bool exec_round(struct jinja_run *run, struct jinja_loop *loop, struct jinja_scope *outer)
{
    struct jinja_scope *scope = jinja_scope_open(run, outer);
    if (scope == NULL) {
        return false;
    }
    run->scope = scope;
    return assign(run, loop->node->as.loop.target, loop->items->items[loop->index0]) &&
           jinja_exec(run, loop->node->as.loop.body);
}

static bool exec_rounds(struct jinja_run *run, struct jinja_loop *loop)
{
    struct jinja_scope *outer = run->scope;
    struct jinja_scope *scope = jinja_scope_open(run, loop->scope);
    struct jinja_value value = {.kind = JINJA_LOOP, .as.loop = loop};
    if (scope == NULL || !jinja_scope_set(run, scope, bytes_of("loop"), value)) {
        return false;
    }
    for (;; loop->index0++) {
        if (!jinja_loop_reach(run, loop, loop->index0 + 1)) {
            return false;
        }
        if (loop->index0 == loop->items->count) {
            return true;
        }
        bool executed = exec_round(run, loop, scope);
        bool is_broken = run->signal == JINJA_SIGNAL_BREAK;
        loop->has_finished_round |= run->signal == JINJA_SIGNAL_NONE;
        run->signal = JINJA_SIGNAL_NONE;
        run->scope = outer;
        if (!executed || is_broken) {
            return executed;
        }
    }
}

bool jinja_exec_loop(struct jinja_run *run, const struct jinja_node *node,
                     struct jinja_value iterable, struct jinja_scope *scope, int64_t depth0)
{
    struct jinja_loop *loop = jinja_alloc(run, 1, sizeof *loop);
    if (loop == NULL) {
        return false;
    }
    *loop = (struct jinja_loop){.node = node, .depth0 = depth0, .scope = scope};
    loop->items = jinja_new_list(run, 0);
    if (loop->items == NULL || !jinja_iterate(run, iterable, &loop->source) ||
        !exec_rounds(run, loop)) {
        return false;
    }
    return loop->has_finished_round || exec_scoped(run, node->as.loop.otherwise, scope);
}

static bool exec_for(struct jinja_run *run, const struct jinja_node *node)
{
    struct jinja_value iterable;
    return jinja_eval(run, node->as.loop.iterable, &iterable) &&
           jinja_exec_loop(run, node, iterable, run->scope, 0);
}

static bool exec_set(struct jinja_run *run, const struct jinja_node *node)
{
    struct jinja_value value;
    return jinja_eval(run, node->as.set.value, &value) && assign(run, node->as.set.target, value);
}

/* The text of a block, through its filters. */
static bool filtered_block(struct jinja_run *run, const struct jinja_node *node,
                           struct jinja_value *out)
{
    struct jinja_scope *scope = jinja_scope_open(run, run->scope);
    if (scope == NULL || !jinja_exec_capture(run, node->as.set.body, scope, out)) {
        return false;
    }
    return node->as.set.filter == NULL || jinja_eval_filter(run, node->as.set.filter, *out, out);
}

static bool exec_set_block(struct jinja_run *run, const struct jinja_node *node)
{
    struct jinja_value value;
    return filtered_block(run, node, &value) && assign(run, node->as.set.target, value);
}

static bool exec_filter_block(struct jinja_run *run, const struct jinja_node *node)
{
    struct jinja_value value;
    return filtered_block(run, node, &value) && jinja_print(run, value);
}

static bool make_macro(struct jinja_run *run, const struct jinja_node *node,
                       struct jinja_value *out)
{
    struct jinja_macro *macro = jinja_alloc(run, 1, sizeof *macro);
    if (macro == NULL) {
        return false;
    }
    *macro = (struct jinja_macro){&node->as.macro.signature, run->scope};
    *out = (struct jinja_value){.kind = JINJA_MACRO, .as.macro = macro};
    return true;
}

static bool exec_macro(struct jinja_run *run, const struct jinja_node *node)
{
    struct jinja_value macro;
    return make_macro(run, node, &macro) &&
           jinja_scope_set(run, run->scope, node->as.macro.signature.name, macro);
}

static bool exec_call_block(struct jinja_run *run, const struct jinja_node *node)
{
    struct jinja_value caller;
    struct jinja_value value;
    return make_macro(run, node, &caller) &&
           jinja_eval_call(run, node->as.macro.call, caller, &value) && jinja_print(run, value);
}

/* All values are computed outside, before the first of them is bound inside. */
static bool exec_with(struct jinja_run *run, const struct jinja_node *node)
{
    struct jinja_scope *outer = run->scope;
    struct jinja_scope *scope = jinja_scope_open(run, outer);
    bool bound = scope != NULL;
    for (const struct jinja_parameter *assignment = node->as.with.assignments;
         bound && assignment != NULL; assignment = assignment->next) {
        struct jinja_value value;
        run->scope = outer;
        bound = jinja_eval(run, assignment->value, &value);
        run->scope = scope;
        bound = bound && assign(run, assignment->target, value);
    }
    run->scope = scope;
    bool executed = bound && jinja_exec(run, node->as.with.body);
    run->scope = outer;
    return executed;
}

static bool exec_node(struct jinja_run *run, const struct jinja_node *node)
{
    switch (node->kind) {
    case NODE_DATA:
        buffer_append_bytes(run->out, node->as.text);
        return true;
    case NODE_OUTPUT:
        return exec_output(run, node);
    case NODE_IF:
        return exec_if(run, node);
    case NODE_FOR:
        return exec_for(run, node);
    case NODE_SET:
        return exec_set(run, node);
    case NODE_SET_BLOCK:
        return exec_set_block(run, node);
    case NODE_MACRO:
        return exec_macro(run, node);
    case NODE_CALL_BLOCK:
        return exec_call_block(run, node);
    case NODE_FILTER_BLOCK:
        return exec_filter_block(run, node);
    case NODE_WITH:
        return exec_with(run, node);
    case NODE_BREAK:
        run->signal = JINJA_SIGNAL_BREAK;
        return true;
    case NODE_CONTINUE:
        run->signal = JINJA_SIGNAL_CONTINUE;
        return true;
    case NODE_CONSTANT:
    case NODE_NAME:
    case NODE_LIST:
    case NODE_TUPLE:
    case NODE_DICT:
    case NODE_ATTRIBUTE:
    case NODE_ITEM:
    case NODE_SLICE:
    case NODE_CALL:
    case NODE_FILTER:
    case NODE_TEST:
    case NODE_UNARY:
    case NODE_BINARY:
    case NODE_AND:
    case NODE_OR:
    case NODE_COMPARE:
    case NODE_CONCAT:
    case NODE_CHOICE:
    case NODE_ATTRIBUTE_TARGET:
        break;
    }
    CHECK(false && "the parser puts statements where statements are");
    return false;
}

bool jinja_exec(struct jinja_run *run, const struct jinja_node *body)
{
    if (!jinja_enter(run)) {
        return false;
    }
    bool executed = true;
    for (const struct jinja_node *node = body;
         executed && node != NULL && run->signal == JINJA_SIGNAL_NONE; node = node->next) {
        run->line = node->line;
        executed = jinja_spend(run, 1) && exec_node(run, node);
        if (executed && buffer_failed(run->out)) {
            struct bytes unused;
            executed = jinja_capture_end(run, 0, &unused); // says what the limit is
        }
    }
    jinja_leave(run);
    return executed;
}
