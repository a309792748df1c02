/* jinja_parse_expression: operators, loosest binding first: if-else, or, and, not, comparison, +
 * and -, ~, * and its like, **. What binds closer is in jinja_parse_primary.c. */
#include "pipeline/text/jinja_parser_internal.h"

struct operator_word {
    const char *text;
    enum jinja_operator op;
};

static bool match(struct jinja_parser *parser, const struct operator_word *words, size_t count,
                  enum jinja_operator *out)
{
    for (size_t i = 0; i < count; i++) {
        if (jinja_skips(parser, TOKEN_OPERATOR, words[i].text)) {
            *out = words[i].op;
            return true;
        }
    }
    return false;
}

static struct jinja_node *parse_power(struct jinja_parser *parser)
{
    struct jinja_node *node = jinja_parse_unary(parser, true);
    while (node != NULL && jinja_skips(parser, TOKEN_OPERATOR, "**")) {
        struct jinja_node *right = jinja_parse_unary(parser, true);
        node = right == NULL
                   ? NULL
                   : jinja_parser_binary(parser, NODE_BINARY, OPERATOR_POWER, node, right);
    }
    return node;
}

static struct jinja_node *parse_product(struct jinja_parser *parser)
{
    static const struct operator_word words[] = {
        {"*", OPERATOR_MULTIPLY},
        {"/", OPERATOR_DIVIDE},
        {"//", OPERATOR_FLOOR_DIVIDE},
        {"%", OPERATOR_MODULO},
    };
    struct jinja_node *node = parse_power(parser);
    enum jinja_operator op;
    while (node != NULL && match(parser, words, sizeof words / sizeof *words, &op)) {
        struct jinja_node *right = parse_power(parser);
        node = right == NULL ? NULL : jinja_parser_binary(parser, NODE_BINARY, op, node, right);
    }
    return node;
}

static struct jinja_node *parse_concat(struct jinja_parser *parser)
{
    struct jinja_node *first = parse_product(parser);
    if (first == NULL || !jinja_sees(parser, TOKEN_OPERATOR, "~")) {
        return first;
    }
    struct jinja_node *node = jinja_parser_node(parser, NODE_CONCAT);
    if (node == NULL) {
        return NULL;
    }
    node->as.items = first;
    struct jinja_node **last = &first->next;
    while (jinja_skips(parser, TOKEN_OPERATOR, "~")) {
        *last = parse_product(parser);
        if (*last == NULL) {
            return NULL;
        }
        last = &(*last)->next;
    }
    return node;
}

static struct jinja_node *parse_sum(struct jinja_parser *parser)
{
    static const struct operator_word words[] = {{"+", OPERATOR_ADD}, {"-", OPERATOR_SUBTRACT}};
    struct jinja_node *node = parse_concat(parser);
    enum jinja_operator op;
    while (node != NULL && match(parser, words, sizeof words / sizeof *words, &op)) {
        struct jinja_node *right = parse_concat(parser);
        node = right == NULL ? NULL : jinja_parser_binary(parser, NODE_BINARY, op, node, right);
    }
    return node;
}

static bool match_comparison(struct jinja_parser *parser, enum jinja_operator *out)
{
    static const struct operator_word words[] = {
        {"==", OPERATOR_EQUAL},      {"!=", OPERATOR_NOT_EQUAL}, {"<", OPERATOR_LESS},
        {"<=", OPERATOR_LESS_EQUAL}, {">", OPERATOR_GREATER},    {">=", OPERATOR_GREATER_EQUAL},
    };
    if (match(parser, words, sizeof words / sizeof *words, out)) {
        return true;
    }
    if (jinja_skips(parser, TOKEN_NAME, "in")) {
        *out = OPERATOR_IN;
        return true;
    }
    if (jinja_sees(parser, TOKEN_NAME, "not") && parser->token[1].kind == TOKEN_NAME &&
        bytes_equal_text(parser->token[1].text, "in")) {
        parser->token += 2;
        *out = OPERATOR_NOT_IN;
        return true;
    }
    return false;
}

static struct jinja_node *parse_comparison(struct jinja_parser *parser)
{
    struct jinja_node *first = parse_sum(parser);
    struct jinja_node *node = NULL;
    struct jinja_operand **last = NULL;
    enum jinja_operator op;
    while (first != NULL && match_comparison(parser, &op)) {
        if (node == NULL) {
            node = jinja_parser_node(parser, NODE_COMPARE);
            if (node == NULL) {
                return NULL;
            }
            node->as.compare.first = first;
            last = &node->as.compare.rest;
        }
        struct jinja_operand *operand = jinja_parser_alloc(parser, sizeof *operand);
        if (operand == NULL) {
            return NULL;
        }
        operand->op = op;
        operand->value = parse_sum(parser);
        if (operand->value == NULL) {
            return NULL;
        }
        *last = operand;
        last = &operand->next;
    }
    return node == NULL ? first : node;
}

static struct jinja_node *parse_not(struct jinja_parser *parser)
{
    if (!jinja_skips(parser, TOKEN_NAME, "not")) {
        return parse_comparison(parser);
    }
    if (!jinja_nest(parser)) {
        return NULL;
    }
    struct jinja_node *operand = parse_not(parser);
    jinja_unnest(parser);
    return jinja_parser_binary(parser, NODE_UNARY, OPERATOR_NOT, operand, NULL);
}

static struct jinja_node *parse_and(struct jinja_parser *parser)
{
    struct jinja_node *node = parse_not(parser);
    while (node != NULL && jinja_skips(parser, TOKEN_NAME, "and")) {
        struct jinja_node *right = parse_not(parser);
        node =
            right == NULL ? NULL : jinja_parser_binary(parser, NODE_AND, OPERATOR_NOT, node, right);
    }
    return node;
}

static struct jinja_node *parse_or(struct jinja_parser *parser)
{
    struct jinja_node *node = parse_and(parser);
    while (node != NULL && jinja_skips(parser, TOKEN_NAME, "or")) {
        struct jinja_node *right = parse_and(parser);
        node =
            right == NULL ? NULL : jinja_parser_binary(parser, NODE_OR, OPERATOR_NOT, node, right);
    }
    return node;
}

static struct jinja_node *parse_choice(struct jinja_parser *parser)
{
    struct jinja_node *value = parse_or(parser);
    while (value != NULL && jinja_skips(parser, TOKEN_NAME, "if")) {
        struct jinja_node *node = jinja_parser_node(parser, NODE_CHOICE);
        if (node == NULL) {
            return NULL;
        }
        node->as.choice.yes = value;
        node->as.choice.test = parse_or(parser);
        if (node->as.choice.test == NULL) {
            return NULL;
        }
        if (jinja_skips(parser, TOKEN_NAME, "else")) {
            node->as.choice.no = jinja_parse_expression(parser);
            if (node->as.choice.no == NULL) {
                return NULL;
            }
        }
        value = node;
    }
    return value;
}

static struct jinja_node *parse_nested(struct jinja_parser *parser, bool has_choice)
{
    if (!jinja_nest(parser)) {
        return NULL;
    }
    struct jinja_node *node = has_choice ? parse_choice(parser) : parse_or(parser);
    jinja_unnest(parser);
    return node;
}

struct jinja_node *jinja_parse_expression(struct jinja_parser *parser)
{
    return parse_nested(parser, true);
}

/* Where a tuple without parentheses ends. */
static bool at_tuple_end(const struct jinja_parser *parser)
{
    enum jinja_token_kind kind = parser->token->kind;
    return kind == TOKEN_BLOCK_END || kind == TOKEN_VARIABLE_END || kind == TOKEN_END ||
           jinja_sees(parser, TOKEN_OPERATOR, ")") || jinja_sees(parser, TOKEN_OPERATOR, "]") ||
           jinja_sees(parser, TOKEN_OPERATOR, ":") || jinja_sees(parser, TOKEN_NAME, "recursive");
}

struct jinja_node *jinja_parse_tuple(struct jinja_parser *parser, bool has_choice)
{
    struct jinja_node *first = parse_nested(parser, has_choice);
    if (first == NULL || !jinja_sees(parser, TOKEN_OPERATOR, ",")) {
        return first;
    }
    struct jinja_node *node = jinja_parser_node(parser, NODE_TUPLE);
    if (node == NULL) {
        return NULL;
    }
    node->as.items = first;
    struct jinja_node **last = &first->next;
    while (jinja_skips(parser, TOKEN_OPERATOR, ",") && !at_tuple_end(parser)) {
        *last = parse_nested(parser, has_choice);
        if (*last == NULL) {
            return NULL;
        }
        last = &(*last)->next;
    }
    return node;
}
