/* jinja_eval: the tree walk over expressions. */
#include "pipeline/text/jinja_eval.h"

#include "pipeline/text/jinja_member.h"
#include "pipeline/text/jinja_operators.h"
#include "pipeline/text/jinja_text.h"
#include "schemas/base/check.h"

static bool eval_name(struct jinja_run *run, struct bytes name, struct jinja_value *out)
{
    if (!jinja_scope_find(run, name, out)) {
        return false;
    }
    if (out->kind != JINJA_ABSENT) {
        return true;
    }
    const struct jinja_native *function = jinja_function_find(name);
    if (function == NULL) {
        *out = jinja_undefined(JINJA_CAUSE_NAME, name);
        return true;
    }
    struct jinja_method *method = jinja_alloc(run, 1, sizeof *method);
    if (method == NULL) {
        return false;
    }
    method->native = function;
    *out = (struct jinja_value){.kind = JINJA_NATIVE, .as.method = method};
    return true;
}

static bool eval_items(struct jinja_run *run, const struct jinja_node *items, enum jinja_kind kind,
                       struct jinja_value *out)
{
    struct jinja_list *list = jinja_new_list(run, 0);
    if (list == NULL) {
        return false;
    }
    for (const struct jinja_node *item = items; item != NULL; item = item->next) {
        struct jinja_value value;
        if (!jinja_eval(run, item, &value) || !jinja_append(run, list, value)) {
            return false;
        }
    }
    *out = jinja_sequence(kind, list);
    return true;
}

static bool eval_dict(struct jinja_run *run, const struct jinja_node *node, struct jinja_value *out)
{
    struct jinja_dict *dict = jinja_new_dict(run, 0);
    const struct jinja_node *value_node = node->as.dict.values;
    for (const struct jinja_node *key_node = node->as.dict.keys; dict != NULL && key_node != NULL;
         key_node = key_node->next, value_node = value_node->next) {
        struct jinja_value key;
        struct jinja_value value;
        if (!jinja_eval(run, key_node, &key) || !jinja_eval(run, value_node, &value) ||
            !jinja_spend(run, dict->count / 16)) {
            return false;
        }
        if (key.kind == JINJA_LIST || key.kind == JINJA_DICT) {
            return jinja_fail(run, "unhashable type: '%s'", jinja_type_name(key));
        }
        if (!jinja_dict_set(run->arena, dict, key, value)) {
            return jinja_fail_memory(run);
        }
    }
    *out = jinja_mapping(dict);
    return dict != NULL;
}

static bool eval_attribute(struct jinja_run *run, const struct jinja_node *node,
                           struct jinja_value *out)
{
    struct jinja_value subject;
    return jinja_eval(run, node->as.member.subject, &subject) &&
           jinja_attribute(run, subject, node->as.member.name, out);
}

static bool eval_item(struct jinja_run *run, const struct jinja_node *node, struct jinja_value *out)
{
    struct jinja_value subject;
    struct jinja_value index;
    return jinja_eval(run, node->as.member.subject, &subject) &&
           jinja_eval(run, node->as.member.index, &index) && jinja_item(run, subject, index, out);
}

static bool eval_optional(struct jinja_run *run, const struct jinja_node *node,
                          struct jinja_value *out)
{
    *out = jinja_none();
    return node == NULL || jinja_eval(run, node, out);
}

static bool eval_slice(struct jinja_run *run, const struct jinja_node *node,
                       struct jinja_value *out)
{
    struct jinja_value subject;
    struct jinja_slice slice;
    return jinja_eval(run, node->as.slice.subject, &subject) &&
           eval_optional(run, node->as.slice.start, &slice.start) &&
           eval_optional(run, node->as.slice.stop, &slice.stop) &&
           eval_optional(run, node->as.slice.step, &slice.step) &&
           jinja_slice(run, subject, slice, out);
}

static bool add_list_argument(struct jinja_run *run, struct jinja_value value,
                              struct jinja_list *positional)
{
    const struct jinja_list *list;
    if (!jinja_iterate(run, value, &list)) {
        return false;
    }
    for (size_t i = 0; i < list->count; i++) {
        if (!jinja_append(run, positional, list->items[i])) {
            return false;
        }
    }
    return true;
}

static bool add_dict_argument(struct jinja_run *run, struct jinja_value value,
                              struct jinja_dict *named)
{
    if (value.kind != JINJA_DICT) {
        return jinja_fail(run, "argument after ** must be a mapping, not %s",
                          jinja_type_name(value));
    }
    for (size_t i = 0; i < value.as.dict->count; i++) {
        const struct jinja_pair *pair = &value.as.dict->pairs[i];
        if (pair->key.kind != JINJA_STRING) {
            return jinja_fail(run, "keywords must be strings");
        }
        if (!jinja_dict_add(run->arena, named, pair->key, pair->value)) {
            return jinja_fail_memory(run);
        }
    }
    return true;
}

static bool add_argument(struct jinja_run *run, const struct jinja_argument *argument,
                         struct jinja_list *positional, struct jinja_dict *named)
{
    struct jinja_value value;
    if (!jinja_eval(run, argument->value, &value)) {
        return false;
    }
    switch (argument->kind) {
    case ARGUMENT_POSITIONAL:
        return jinja_append(run, positional, value);
    case ARGUMENT_KEYWORD:
        return jinja_dict_add(run->arena, named, jinja_string(argument->name), value) ||
               jinja_fail_memory(run);
    case ARGUMENT_LIST:
        return add_list_argument(run, value, positional);
    case ARGUMENT_DICT:
        return add_dict_argument(run, value, named);
    }
    return false;
}

static bool eval_arguments(struct jinja_run *run, const struct jinja_argument *arguments,
                           struct jinja_value caller, struct jinja_arguments *out)
{
    *out = (struct jinja_arguments){.count = 0};
    if (arguments == NULL && caller.kind == JINJA_ABSENT) {
        return true;
    }
    struct jinja_list *positional = jinja_new_list(run, 0);
    struct jinja_dict *named = jinja_new_dict(run, 0);
    if (positional == NULL || named == NULL) {
        return false;
    }
    for (; arguments != NULL; arguments = arguments->next) {
        if (!add_argument(run, arguments, positional, named)) {
            return false;
        }
    }
    if (caller.kind != JINJA_ABSENT &&
        !jinja_dict_add(run->arena, named, jinja_string(bytes_of("caller")), caller)) {
        return jinja_fail_memory(run);
    }
    struct jinja_keyword *keywords = jinja_alloc(run, named->count, sizeof *keywords);
    if (keywords == NULL) {
        return false;
    }
    for (size_t i = 0; i < named->count; i++) {
        keywords[i] = (struct jinja_keyword){named->pairs[i].key.as.text, named->pairs[i].value};
    }
    out->positional = positional->items;
    out->count = positional->count;
    out->keywords = keywords;
    out->keyword_count = named->count;
    return true;
}

bool jinja_eval_call(struct jinja_run *run, const struct jinja_node *node,
                     struct jinja_value caller, struct jinja_value *out)
{
    CHECK(node->kind == NODE_CALL);
    struct jinja_value callee;
    struct jinja_arguments arguments;
    if (!jinja_eval(run, node->as.call.subject, &callee) ||
        !eval_arguments(run, node->as.call.arguments, caller, &arguments)) {
        return false;
    }
    run->line = node->line;
    return jinja_call(run, callee, &arguments, out);
}

/* Applies a filter or test to a value. */
static bool apply(struct jinja_run *run, const struct jinja_node *node, struct jinja_value subject,
                  struct jinja_value *out)
{
    struct jinja_arguments arguments;
    struct jinja_value no_caller = {.kind = JINJA_ABSENT};
    if (node->as.call.native == NULL) {
        int size = node->as.call.name.size > 60 ? 60 : (int)node->as.call.name.size;
        return jinja_fail(run, "No %s named '%.*s' found.",
                          node->kind == NODE_FILTER ? "filter" : "test", size,
                          node->as.call.name.data);
    }
    return eval_arguments(run, node->as.call.arguments, no_caller, &arguments) &&
           jinja_native_call(run, node->as.call.native, subject, &arguments, out);
}

static bool eval_applied(struct jinja_run *run, const struct jinja_node *node,
                         struct jinja_value *out)
{
    struct jinja_value subject;
    return jinja_eval(run, node->as.call.subject, &subject) && apply(run, node, subject, out);
}

bool jinja_eval_filter(struct jinja_run *run, const struct jinja_node *node,
                       struct jinja_value text, struct jinja_value *out)
{
    CHECK(node->kind == NODE_FILTER);
    if (node->as.call.subject != NULL) {
        if (!jinja_enter(run)) {
            return false;
        }
        bool filtered = jinja_eval_filter(run, node->as.call.subject, text, &text);
        jinja_leave(run);
        if (!filtered) {
            return false;
        }
    }
    return apply(run, node, text, out);
}

static bool eval_unary(struct jinja_run *run, const struct jinja_node *node,
                       struct jinja_value *out)
{
    struct jinja_value operand;
    if (!jinja_eval(run, node->as.binary.left, &operand)) {
        return false;
    }
    if (node->as.binary.op == OPERATOR_NOT) {
        *out = jinja_bool(!jinja_truth(operand));
        return true;
    }
    return jinja_sign(run, node->as.binary.op, operand, out);
}

static bool eval_binary(struct jinja_run *run, const struct jinja_node *node,
                        struct jinja_value *out)
{
    struct jinja_value left;
    struct jinja_value right;
    return jinja_eval(run, node->as.binary.left, &left) &&
           jinja_eval(run, node->as.binary.right, &right) &&
           jinja_binary(run, node->as.binary.op, left, right, out);
}

/* `and`, `or`: the value that decides. */
static bool eval_logic(struct jinja_run *run, const struct jinja_node *node,
                       struct jinja_value *out)
{
    if (!jinja_eval(run, node->as.binary.left, out)) {
        return false;
    }
    bool is_decided = jinja_truth(*out) == (node->kind == NODE_OR);
    return is_decided || jinja_eval(run, node->as.binary.right, out);
}

static bool eval_compare(struct jinja_run *run, const struct jinja_node *node,
                         struct jinja_value *out)
{
    struct jinja_value left;
    bool is_met = true;
    if (!jinja_eval(run, node->as.compare.first, &left)) {
        return false;
    }
    for (const struct jinja_operand *operand = node->as.compare.rest; operand != NULL && is_met;
         operand = operand->next) {
        struct jinja_value right;
        if (!jinja_eval(run, operand->value, &right) ||
            !jinja_compare(run, operand->op, left, right, &is_met)) {
            return false;
        }
        left = right;
    }
    *out = jinja_bool(is_met);
    return true;
}

static bool eval_concat(struct jinja_run *run, const struct jinja_node *node,
                        struct jinja_value *out)
{
    struct jinja_value parts;
    if (!eval_items(run, node->as.items, JINJA_LIST, &parts)) {
        return false;
    }
    size_t begin = jinja_capture_begin(run);
    for (size_t i = 0; i < parts.as.list->count; i++) {
        if (!jinja_print(run, parts.as.list->items[i])) {
            return false;
        }
    }
    return jinja_capture_string(run, begin, out);
}

static bool eval_choice(struct jinja_run *run, const struct jinja_node *node,
                        struct jinja_value *out)
{
    struct jinja_value test;
    if (!jinja_eval(run, node->as.choice.test, &test)) {
        return false;
    }
    const struct jinja_node *chosen = jinja_truth(test) ? node->as.choice.yes : node->as.choice.no;
    if (chosen == NULL) {
        *out = jinja_undefined(
            JINJA_CAUSE_MEMBER,
            bytes_of(
                "the inline if-expression evaluated to false and no else section was defined."));
        return true;
    }
    return jinja_eval(run, chosen, out);
}

static bool eval_node(struct jinja_run *run, const struct jinja_node *node, struct jinja_value *out)
{
    switch (node->kind) {
    case NODE_CONSTANT:
        *out = node->as.constant;
        return true;
    case NODE_NAME:
        return eval_name(run, node->as.text, out);
    case NODE_LIST:
        return eval_items(run, node->as.items, JINJA_LIST, out);
    case NODE_TUPLE:
        return eval_items(run, node->as.items, JINJA_TUPLE, out);
    case NODE_DICT:
        return eval_dict(run, node, out);
    case NODE_ATTRIBUTE:
        return eval_attribute(run, node, out);
    case NODE_ITEM:
        return eval_item(run, node, out);
    case NODE_SLICE:
        return eval_slice(run, node, out);
    case NODE_CALL:
        return jinja_eval_call(run, node, (struct jinja_value){.kind = JINJA_ABSENT}, out);
    case NODE_FILTER:
    case NODE_TEST:
        return eval_applied(run, node, out);
    case NODE_UNARY:
        return eval_unary(run, node, out);
    case NODE_BINARY:
        return eval_binary(run, node, out);
    case NODE_AND:
    case NODE_OR:
        return eval_logic(run, node, out);
    case NODE_COMPARE:
        return eval_compare(run, node, out);
    case NODE_CONCAT:
        return eval_concat(run, node, out);
    case NODE_CHOICE:
        return eval_choice(run, node, out);
    case NODE_DATA:
    case NODE_OUTPUT:
    case NODE_IF:
    case NODE_FOR:
    case NODE_SET:
    case NODE_SET_BLOCK:
    case NODE_MACRO:
    case NODE_CALL_BLOCK:
    case NODE_FILTER_BLOCK:
    case NODE_WITH:
    case NODE_BREAK:
    case NODE_CONTINUE:
    case NODE_ATTRIBUTE_TARGET:
        break;
    }
    CHECK(false && "the parser puts expressions where values are");
    return false;
}

bool jinja_eval(struct jinja_run *run, const struct jinja_node *node, struct jinja_value *out)
{
    if (!jinja_spend(run, 1) || !jinja_enter(run)) {
        return false;
    }
    run->line = node->line;
    bool evaluated = eval_node(run, node, out);
    jinja_leave(run);
    return evaluated;
}
