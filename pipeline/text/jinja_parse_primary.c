/* jinja_parse_primary: literals, names, members, calls, filters, tests and signs. */
#include "pipeline/text/jinja_parser_internal.h"

#include "pipeline/text/jinja_native.h"

static struct jinja_node *constant(struct jinja_parser *parser, struct jinja_value value)
{
    struct jinja_node *node = jinja_parser_node(parser, NODE_CONSTANT);
    if (node != NULL) {
        node->as.constant = value;
    }
    return node;
}

static void note_name(struct jinja_parser *parser, struct bytes name)
{
    struct jinja_signature *signature = parser->signature;
    if (signature != NULL) {
        signature->takes_varargs |= bytes_equal_text(name, "varargs");
        signature->takes_kwargs |= bytes_equal_text(name, "kwargs");
        signature->takes_caller |= bytes_equal_text(name, "caller");
    }
}

static struct jinja_node *parse_name(struct jinja_parser *parser)
{
    struct bytes name = parser->token++->text;
    if (bytes_equal_text(name, "true") || bytes_equal_text(name, "True")) {
        return constant(parser, jinja_bool(true));
    }
    if (bytes_equal_text(name, "false") || bytes_equal_text(name, "False")) {
        return constant(parser, jinja_bool(false));
    }
    if (bytes_equal_text(name, "none") || bytes_equal_text(name, "None")) {
        return constant(parser, jinja_none());
    }
    note_name(parser, name);
    struct jinja_node *node = jinja_parser_node(parser, NODE_NAME);
    if (node != NULL) {
        node->as.text = name;
    }
    return node;
}

/* One string literal, or several in a row, which are one. */
static struct jinja_node *parse_strings(struct jinja_parser *parser)
{
    const struct jinja_token *first = parser->token;
    size_t size = 0;
    while (parser->token->kind == TOKEN_STRING) {
        size += parser->token++->text.size;
    }
    if (parser->token - first == 1) {
        return constant(parser, jinja_string(first->text));
    }
    char *text = jinja_parser_alloc(parser, size);
    if (text == NULL) {
        return NULL;
    }
    size_t at = 0;
    for (; first < parser->token; first++) {
        memcpy(text + at, first->text.data, first->text.size);
        at += first->text.size;
    }
    return constant(parser, jinja_string((struct bytes){text, size}));
}

static struct jinja_node *parse_list(struct jinja_parser *parser)
{
    struct jinja_node *node = jinja_parser_node(parser, NODE_LIST);
    if (node == NULL) {
        return NULL;
    }
    struct jinja_node **last = &node->as.items;
    while (!jinja_skips(parser, TOKEN_OPERATOR, "]")) {
        if (node->as.items != NULL && !jinja_expect(parser, TOKEN_OPERATOR, ",")) {
            return NULL;
        }
        if (jinja_skips(parser, TOKEN_OPERATOR, "]")) {
            break;
        }
        *last = jinja_parse_expression(parser);
        if (*last == NULL) {
            return NULL;
        }
        last = &(*last)->next;
    }
    return node;
}

static struct jinja_node *parse_dict(struct jinja_parser *parser)
{
    struct jinja_node *node = jinja_parser_node(parser, NODE_DICT);
    if (node == NULL) {
        return NULL;
    }
    struct jinja_node **key = &node->as.dict.keys;
    struct jinja_node **value = &node->as.dict.values;
    while (!jinja_skips(parser, TOKEN_OPERATOR, "}")) {
        if (node->as.dict.keys != NULL && !jinja_expect(parser, TOKEN_OPERATOR, ",")) {
            return NULL;
        }
        if (jinja_skips(parser, TOKEN_OPERATOR, "}")) {
            break;
        }
        *key = jinja_parse_expression(parser);
        if (*key == NULL || !jinja_expect(parser, TOKEN_OPERATOR, ":")) {
            return NULL;
        }
        *value = jinja_parse_expression(parser);
        if (*value == NULL) {
            return NULL;
        }
        key = &(*key)->next;
        value = &(*value)->next;
    }
    return node;
}

static struct jinja_node *parse_parenthesis(struct jinja_parser *parser)
{
    if (jinja_skips(parser, TOKEN_OPERATOR, ")")) {
        return jinja_parser_node(parser, NODE_TUPLE);
    }
    struct jinja_node *node = jinja_parse_tuple(parser, true);
    return node != NULL && jinja_expect(parser, TOKEN_OPERATOR, ")") ? node : NULL;
}

static struct jinja_node *parse_primary(struct jinja_parser *parser)
{
    const struct jinja_token *token = parser->token;
    if (token->kind == TOKEN_NAME) {
        return parse_name(parser);
    }
    if (token->kind == TOKEN_STRING) {
        return parse_strings(parser);
    }
    if (token->kind == TOKEN_INTEGER) {
        parser->token++;
        return constant(parser, jinja_integer(token->integer));
    }
    if (token->kind == TOKEN_FLOAT) {
        parser->token++;
        return constant(parser, jinja_float(token->real));
    }
    if (jinja_skips(parser, TOKEN_OPERATOR, "(")) {
        return parse_parenthesis(parser);
    }
    if (jinja_skips(parser, TOKEN_OPERATOR, "[")) {
        return parse_list(parser);
    }
    if (jinja_skips(parser, TOKEN_OPERATOR, "{")) {
        return parse_dict(parser);
    }
    return jinja_parser_fail(parser, "unexpected '%.*s'", (int)token->text.size, token->text.data);
}

static bool parse_argument(struct jinja_parser *parser, struct jinja_argument *argument)
{
    const struct jinja_token *token = parser->token;
    if (jinja_skips(parser, TOKEN_OPERATOR, "*")) {
        argument->kind = ARGUMENT_LIST;
    } else if (jinja_skips(parser, TOKEN_OPERATOR, "**")) {
        argument->kind = ARGUMENT_DICT;
    } else if (token->kind == TOKEN_NAME && token[1].kind == TOKEN_OPERATOR &&
               bytes_equal_text(token[1].text, "=")) {
        argument->kind = ARGUMENT_KEYWORD;
        argument->name = token->text;
        parser->token += 2;
    }
    argument->value = jinja_parse_expression(parser);
    return argument->value != NULL;
}

bool jinja_parse_arguments(struct jinja_parser *parser, struct jinja_argument **out)
{
    if (!jinja_expect(parser, TOKEN_OPERATOR, "(")) {
        return false;
    }
    struct jinja_argument **last = out;
    bool has_named = false;
    while (!jinja_skips(parser, TOKEN_OPERATOR, ")")) {
        if (last != out && !jinja_expect(parser, TOKEN_OPERATOR, ",")) {
            return false;
        }
        if (jinja_skips(parser, TOKEN_OPERATOR, ")")) {
            break;
        }
        struct jinja_argument *argument = jinja_parser_alloc(parser, sizeof *argument);
        if (argument == NULL || !parse_argument(parser, argument)) {
            return false;
        }
        if (argument->kind == ARGUMENT_POSITIONAL && has_named) {
            jinja_parser_fail(parser, "a positional argument follows a named one");
            return false;
        }
        has_named |= argument->kind != ARGUMENT_POSITIONAL;
        *last = argument;
        last = &argument->next;
    }
    return true;
}

static struct jinja_node *parse_call(struct jinja_parser *parser, struct jinja_node *subject)
{
    struct jinja_node *node = jinja_parser_node(parser, NODE_CALL);
    if (node == NULL) {
        return NULL;
    }
    node->as.call.subject = subject;
    return jinja_parse_arguments(parser, &node->as.call.arguments) ? node : NULL;
}

static struct jinja_node *parse_attribute(struct jinja_parser *parser, struct jinja_node *subject)
{
    if (parser->token->kind == TOKEN_INTEGER) { // list.0
        struct jinja_node *node = jinja_parser_node(parser, NODE_ITEM);
        if (node != NULL) {
            node->as.member.subject = subject;
            node->as.member.index = parse_primary(parser);
        }
        return node != NULL && node->as.member.index != NULL ? node : NULL;
    }
    struct jinja_node *node = jinja_parser_node(parser, NODE_ATTRIBUTE);
    if (node == NULL) {
        return NULL;
    }
    node->as.member.subject = subject;
    return jinja_expect_name(parser, &node->as.member.name) ? node : NULL;
}

static bool at_slice_part_end(const struct jinja_parser *parser)
{
    return jinja_sees(parser, TOKEN_OPERATOR, ":") || jinja_sees(parser, TOKEN_OPERATOR, "]");
}

static bool parse_slice_part(struct jinja_parser *parser, struct jinja_node **out)
{
    if (!at_slice_part_end(parser)) {
        *out = jinja_parse_expression(parser);
        return *out != NULL;
    }
    return true;
}

/* What follows a "[". */
static struct jinja_node *parse_subscript(struct jinja_parser *parser, struct jinja_node *subject)
{
    struct jinja_node *start = NULL;
    if (!at_slice_part_end(parser)) {
        start = jinja_parse_tuple(parser, true);
        if (start == NULL) {
            return NULL;
        }
    }
    bool is_slice = jinja_skips(parser, TOKEN_OPERATOR, ":");
    struct jinja_node *node = jinja_parser_node(parser, is_slice ? NODE_SLICE : NODE_ITEM);
    if (node == NULL) {
        return NULL;
    }
    if (!is_slice) {
        if (start == NULL) {
            return jinja_parser_fail(parser, "a subscript is empty");
        }
        node->as.member.subject = subject;
        node->as.member.index = start;
    } else {
        node->as.slice.subject = subject;
        node->as.slice.start = start;
        if (!parse_slice_part(parser, &node->as.slice.stop)) {
            return NULL;
        }
        if (jinja_skips(parser, TOKEN_OPERATOR, ":") &&
            !parse_slice_part(parser, &node->as.slice.step)) {
            return NULL;
        }
    }
    return jinja_expect(parser, TOKEN_OPERATOR, "]") ? node : NULL;
}

static struct jinja_node *parse_postfix(struct jinja_parser *parser, struct jinja_node *node)
{
    while (node != NULL) {
        if (jinja_skips(parser, TOKEN_OPERATOR, ".")) {
            node = parse_attribute(parser, node);
        } else if (jinja_skips(parser, TOKEN_OPERATOR, "[")) {
            node = parse_subscript(parser, node);
        } else if (jinja_sees(parser, TOKEN_OPERATOR, "(")) {
            node = parse_call(parser, node);
        } else {
            break;
        }
    }
    return node;
}

struct jinja_node *jinja_parse_filter(struct jinja_parser *parser, struct jinja_node *subject)
{
    struct jinja_node *node = jinja_parser_node(parser, NODE_FILTER);
    if (node == NULL || !jinja_expect_name(parser, &node->as.call.name)) {
        return NULL;
    }
    node->as.call.subject = subject;
    node->as.call.native = jinja_filter_find(node->as.call.name);
    if (jinja_sees(parser, TOKEN_OPERATOR, "(") &&
        !jinja_parse_arguments(parser, &node->as.call.arguments)) {
        return NULL;
    }
    return node;
}

/* A test's one argument without parentheses: `is divisibleby 3`. */
static bool starts_bare_argument(const struct jinja_parser *parser)
{
    switch (parser->token->kind) {
    case TOKEN_STRING:
    case TOKEN_INTEGER:
    case TOKEN_FLOAT:
        return true;
    case TOKEN_NAME:
        return !jinja_sees(parser, TOKEN_NAME, "else") && !jinja_sees(parser, TOKEN_NAME, "or") &&
               !jinja_sees(parser, TOKEN_NAME, "and");
    case TOKEN_OPERATOR:
        return jinja_sees(parser, TOKEN_OPERATOR, "[") || jinja_sees(parser, TOKEN_OPERATOR, "{");
    case TOKEN_DATA:
    case TOKEN_BLOCK_BEGIN:
    case TOKEN_BLOCK_END:
    case TOKEN_VARIABLE_BEGIN:
    case TOKEN_VARIABLE_END:
    case TOKEN_END:
        break;
    }
    return false;
}

static bool parse_test_arguments(struct jinja_parser *parser, struct jinja_node *node)
{
    if (jinja_sees(parser, TOKEN_OPERATOR, "(")) {
        return jinja_parse_arguments(parser, &node->as.call.arguments);
    }
    if (!starts_bare_argument(parser)) {
        return true;
    }
    if (jinja_sees(parser, TOKEN_NAME, "is")) {
        jinja_parser_fail(parser, "tests cannot be chained with 'is'");
        return false;
    }
    struct jinja_argument *argument = jinja_parser_alloc(parser, sizeof *argument);
    if (argument == NULL) {
        return false;
    }
    argument->value = parse_postfix(parser, parse_primary(parser));
    node->as.call.arguments = argument;
    return argument->value != NULL;
}

/* What follows an "is". */
static struct jinja_node *parse_test(struct jinja_parser *parser, struct jinja_node *subject)
{
    bool is_negated = jinja_skips(parser, TOKEN_NAME, "not");
    struct jinja_node *node = jinja_parser_node(parser, NODE_TEST);
    if (node == NULL || !jinja_expect_name(parser, &node->as.call.name)) {
        return NULL;
    }
    node->as.call.subject = subject;
    node->as.call.native = jinja_test_find(node->as.call.name);
    if (!parse_test_arguments(parser, node)) {
        return NULL;
    }
    return is_negated ? jinja_parser_binary(parser, NODE_UNARY, OPERATOR_NOT, node, NULL) : node;
}

static struct jinja_node *parse_filters(struct jinja_parser *parser, struct jinja_node *node)
{
    while (node != NULL) {
        if (jinja_skips(parser, TOKEN_OPERATOR, "|")) {
            node = jinja_parse_filter(parser, node);
        } else if (jinja_skips(parser, TOKEN_NAME, "is")) {
            node = parse_test(parser, node);
        } else if (jinja_sees(parser, TOKEN_OPERATOR, "(")) {
            node = parse_call(parser, node);
        } else {
            break;
        }
    }
    return node;
}

static struct jinja_node *parse_sign(struct jinja_parser *parser, enum jinja_operator op)
{
    if (!jinja_nest(parser)) {
        return NULL;
    }
    struct jinja_node *operand = jinja_parse_unary(parser, false);
    jinja_unnest(parser);
    return jinja_parser_binary(parser, NODE_UNARY, op, operand, NULL);
}

struct jinja_node *jinja_parse_unary(struct jinja_parser *parser, bool has_filter)
{
    struct jinja_node *node;
    if (jinja_skips(parser, TOKEN_OPERATOR, "-")) {
        node = parse_sign(parser, OPERATOR_NEGATE);
    } else if (jinja_skips(parser, TOKEN_OPERATOR, "+")) {
        node = parse_sign(parser, OPERATOR_POSITIVE);
    } else {
        node = parse_primary(parser);
    }
    node = parse_postfix(parser, node);
    return has_filter ? parse_filters(parser, node) : node;
}
