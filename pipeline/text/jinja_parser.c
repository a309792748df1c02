/* jinja_parser: statements. */
#include "pipeline/text/jinja_parser.h"

#include <stdarg.h>
#include <stdio.h>

#include "pipeline/text/jinja_parser_internal.h"
#include "schemas/base/check.h"

void *jinja_parser_fail(struct jinja_parser *parser, const char *format, ...)
{
    char text[200];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    (void)error_set(parser->error, ERROR_CONFIG, "invalid_template", NULL,
                    "chat template, line %u: %s", parser->token->line, text);
    return NULL;
}

void *jinja_parser_alloc(struct jinja_parser *parser, size_t size)
{
    void *memory = arena_alloc(parser->arena, size);
    return memory != NULL
               ? memory
               : jinja_parser_fail(parser, "the template needs more memory than a template may");
}

struct jinja_node *jinja_parser_node(struct jinja_parser *parser, enum jinja_node_kind kind)
{
    struct jinja_node *node = jinja_parser_alloc(parser, sizeof *node);
    if (node != NULL) {
        node->kind = kind;
        node->line = parser->token->line;
    }
    return node;
}

struct jinja_node *jinja_parser_binary(struct jinja_parser *parser, enum jinja_node_kind kind,
                                       enum jinja_operator op, struct jinja_node *left,
                                       struct jinja_node *right)
{
    struct jinja_node *node = jinja_parser_node(parser, kind);
    if (node == NULL || left == NULL) {
        return NULL;
    }
    node->as.binary.op = op;
    node->as.binary.left = left;
    node->as.binary.right = right;
    return node;
}

bool jinja_sees(const struct jinja_parser *parser, enum jinja_token_kind kind, const char *text)
{
    return parser->token->kind == kind && bytes_equal_text(parser->token->text, text);
}

bool jinja_skips(struct jinja_parser *parser, enum jinja_token_kind kind, const char *text)
{
    if (!jinja_sees(parser, kind, text)) {
        return false;
    }
    parser->token++;
    return true;
}

static bool fail_expected(struct jinja_parser *parser, const char *wanted)
{
    struct bytes seen = parser->token->text;
    int size = seen.size > 60 ? 60 : (int)seen.size;
    jinja_parser_fail(parser, "expected %s, found '%.*s'", wanted, size,
                      seen.data == NULL ? "" : seen.data);
    return false;
}

bool jinja_expect(struct jinja_parser *parser, enum jinja_token_kind kind, const char *text)
{
    return jinja_skips(parser, kind, text) || fail_expected(parser, text);
}

bool jinja_expect_name(struct jinja_parser *parser, struct bytes *out)
{
    if (parser->token->kind != TOKEN_NAME) {
        return fail_expected(parser, "a name");
    }
    *out = parser->token++->text;
    return true;
}

bool jinja_nest(struct jinja_parser *parser)
{
    if (parser->nesting == JINJA_NESTING_MAX) {
        jinja_parser_fail(parser, "nests deeper than %d levels", JINJA_NESTING_MAX);
        return false;
    }
    parser->nesting++;
    return true;
}

void jinja_unnest(struct jinja_parser *parser)
{
    CHECK(parser->nesting > 0);
    parser->nesting--;
}

static bool expect_block_end(struct jinja_parser *parser)
{
    if (parser->token->kind != TOKEN_BLOCK_END) {
        return fail_expected(parser, "the end of the tag");
    }
    parser->token++;
    return true;
}

static struct jinja_node *parse_statement(struct jinja_parser *parser);

static struct jinja_node *parse_output(struct jinja_parser *parser)
{
    struct jinja_node *node = jinja_parser_node(parser, NODE_OUTPUT);
    if (node == NULL) {
        return NULL;
    }
    node->as.items = jinja_parse_tuple(parser, true);
    if (node->as.items == NULL) {
        return NULL;
    }
    if (parser->token->kind != TOKEN_VARIABLE_END) {
        (void)fail_expected(parser, "'}}'");
        return NULL;
    }
    parser->token++;
    return node;
}

static struct jinja_node *parse_data(struct jinja_parser *parser)
{
    struct jinja_node *node = jinja_parser_node(parser, NODE_DATA);
    if (node != NULL) {
        node->as.text = parser->token++->text;
    }
    return node;
}

static bool sees_any(const struct jinja_parser *parser, const char *const *names)
{
    for (; *names != NULL; names++) {
        if (jinja_sees(parser, TOKEN_NAME, *names)) {
            return true;
        }
    }
    return false;
}

/* Statements up to a tag with one of the names in `ends`, which becomes the next token. Without
 * `ends`: to the end of the template. */
static bool parse_body(struct jinja_parser *parser, const char *const *ends,
                       struct jinja_node **out)
{
    *out = NULL;
    for (struct jinja_node **last = out;; last = &(*last)->next) {
        if (parser->token->kind == TOKEN_END) {
            return ends == NULL || fail_expected(parser, ends[0]);
        }
        if (parser->token->kind == TOKEN_DATA) {
            *last = parse_data(parser);
        } else if (parser->token->kind == TOKEN_VARIABLE_BEGIN) {
            parser->token++;
            *last = parse_output(parser);
        } else {
            CHECK(parser->token->kind == TOKEN_BLOCK_BEGIN);
            parser->token++;
            if (ends != NULL && sees_any(parser, ends)) {
                return true;
            }
            *last = parse_statement(parser);
        }
        if (*last == NULL) {
            return false;
        }
    }
}

/* The rest of a tag, a body, and its closing tag `end`. */
static bool parse_block(struct jinja_parser *parser, const char *end, struct jinja_node **out)
{
    const char *const ends[] = {end, NULL};
    if (!expect_block_end(parser) || !parse_body(parser, ends, out)) {
        return false;
    }
    parser->token++;
    return expect_block_end(parser);
}

static struct jinja_node *parse_if(struct jinja_parser *parser)
{
    static const char *const ends[] = {"endif", "elif", "else", NULL};
    struct jinja_node *first = NULL;
    struct jinja_node **slot = &first;
    do {
        struct jinja_node *node = jinja_parser_node(parser, NODE_IF);
        if (node == NULL) {
            return NULL;
        }
        *slot = node;
        slot = &node->as.choice.no;
        node->as.choice.test = jinja_parse_tuple(parser, false);
        if (node->as.choice.test == NULL || !expect_block_end(parser) ||
            !parse_body(parser, ends, &node->as.choice.yes)) {
            return NULL;
        }
    } while (jinja_skips(parser, TOKEN_NAME, "elif"));
    if (jinja_skips(parser, TOKEN_NAME, "else")) {
        return parse_block(parser, "endif", slot) ? first : NULL;
    }
    return jinja_expect(parser, TOKEN_NAME, "endif") && expect_block_end(parser) ? first : NULL;
}

static bool parse_for_body(struct jinja_parser *parser, struct jinja_node *node)
{
    static const char *const ends[] = {"endfor", "else", NULL};
    parser->loops++;
    bool parsed = expect_block_end(parser) && parse_body(parser, ends, &node->as.loop.body);
    parser->loops--;
    if (!parsed) {
        return false;
    }
    if (jinja_skips(parser, TOKEN_NAME, "else")) {
        return parse_block(parser, "endfor", &node->as.loop.otherwise);
    }
    return jinja_expect(parser, TOKEN_NAME, "endfor") && expect_block_end(parser);
}

static struct jinja_node *parse_for(struct jinja_parser *parser)
{
    struct jinja_node *node = jinja_parser_node(parser, NODE_FOR);
    if (node == NULL) {
        return NULL;
    }
    node->as.loop.target = jinja_parse_target(parser, false);
    if (node->as.loop.target == NULL || !jinja_expect(parser, TOKEN_NAME, "in")) {
        return NULL;
    }
    node->as.loop.iterable = jinja_parse_tuple(parser, false);
    if (node->as.loop.iterable == NULL) {
        return NULL;
    }
    if (jinja_skips(parser, TOKEN_NAME, "if")) {
        node->as.loop.test = jinja_parse_expression(parser);
        if (node->as.loop.test == NULL) {
            return NULL;
        }
    }
    node->as.loop.is_recursive = jinja_skips(parser, TOKEN_NAME, "recursive");
    return parse_for_body(parser, node) ? node : NULL;
}

static struct jinja_node *parse_set(struct jinja_parser *parser)
{
    struct jinja_node *node = jinja_parser_node(parser, NODE_SET);
    if (node == NULL) {
        return NULL;
    }
    node->as.set.target = jinja_parse_target(parser, true);
    if (node->as.set.target == NULL) {
        return NULL;
    }
    if (jinja_skips(parser, TOKEN_OPERATOR, "=")) {
        node->as.set.value = jinja_parse_tuple(parser, true);
        return node->as.set.value != NULL && expect_block_end(parser) ? node : NULL;
    }
    node->kind = NODE_SET_BLOCK;
    while (jinja_skips(parser, TOKEN_OPERATOR, "|")) {
        node->as.set.filter = jinja_parse_filter(parser, node->as.set.filter);
        if (node->as.set.filter == NULL) {
            return NULL;
        }
    }
    return parse_block(parser, "endset", &node->as.set.body) ? node : NULL;
}

static bool parse_parameters(struct jinja_parser *parser, struct jinja_signature *signature)
{
    struct jinja_parameter **last = &signature->parameters;
    while (!jinja_skips(parser, TOKEN_OPERATOR, ")")) {
        if (signature->parameters != NULL && !jinja_expect(parser, TOKEN_OPERATOR, ",")) {
            return false;
        }
        if (jinja_skips(parser, TOKEN_OPERATOR, ")")) {
            break;
        }
        struct jinja_parameter *parameter = jinja_parser_alloc(parser, sizeof *parameter);
        if (parameter == NULL || !jinja_expect_name(parser, &parameter->name)) {
            return false;
        }
        if (jinja_skips(parser, TOKEN_OPERATOR, "=")) {
            parameter->value = jinja_parse_expression(parser);
            if (parameter->value == NULL) {
                return false;
            }
        }
        *last = parameter;
        last = &parameter->next;
    }
    return true;
}

/* The body of a macro or call block: a world of its own for break, continue and implicit names. */
static bool parse_signature_body(struct jinja_parser *parser, struct jinja_signature *signature,
                                 const char *end)
{
    struct jinja_signature *outer = parser->signature;
    unsigned loops = parser->loops;
    parser->signature = signature;
    parser->loops = 0;
    bool parsed = parse_block(parser, end, &signature->body);
    parser->signature = outer;
    parser->loops = loops;
    if (outer != NULL) {
        outer->takes_varargs |= signature->takes_varargs;
        outer->takes_kwargs |= signature->takes_kwargs;
        outer->takes_caller |= signature->takes_caller;
    }
    return parsed;
}

static struct jinja_node *parse_macro(struct jinja_parser *parser)
{
    struct jinja_node *node = jinja_parser_node(parser, NODE_MACRO);
    if (node == NULL) {
        return NULL;
    }
    struct jinja_signature *signature = &node->as.macro.signature;
    bool parsed =
        jinja_expect_name(parser, &signature->name) && jinja_expect(parser, TOKEN_OPERATOR, "(") &&
        parse_parameters(parser, signature) && parse_signature_body(parser, signature, "endmacro");
    return parsed ? node : NULL;
}

static struct jinja_node *parse_call_block(struct jinja_parser *parser)
{
    struct jinja_node *node = jinja_parser_node(parser, NODE_CALL_BLOCK);
    if (node == NULL) {
        return NULL;
    }
    struct jinja_signature *signature = &node->as.macro.signature;
    if (jinja_skips(parser, TOKEN_OPERATOR, "(") && !parse_parameters(parser, signature)) {
        return NULL;
    }
    node->as.macro.call = jinja_parse_expression(parser);
    if (node->as.macro.call == NULL) {
        return NULL;
    }
    if (node->as.macro.call->kind != NODE_CALL) {
        return jinja_parser_fail(parser, "expected a call after 'call'");
    }
    return parse_signature_body(parser, signature, "endcall") ? node : NULL;
}

static struct jinja_node *parse_filter_block(struct jinja_parser *parser)
{
    struct jinja_node *node = jinja_parser_node(parser, NODE_FILTER_BLOCK);
    if (node == NULL) {
        return NULL;
    }
    do {
        node->as.set.filter = jinja_parse_filter(parser, node->as.set.filter);
        if (node->as.set.filter == NULL) {
            return NULL;
        }
    } while (jinja_skips(parser, TOKEN_OPERATOR, "|"));
    return parse_block(parser, "endfilter", &node->as.set.body) ? node : NULL;
}

static struct jinja_node *parse_with(struct jinja_parser *parser)
{
    struct jinja_node *node = jinja_parser_node(parser, NODE_WITH);
    if (node == NULL) {
        return NULL;
    }
    struct jinja_parameter **last = &node->as.with.assignments;
    while (parser->token->kind != TOKEN_BLOCK_END) {
        if (node->as.with.assignments != NULL && !jinja_expect(parser, TOKEN_OPERATOR, ",")) {
            return NULL;
        }
        struct jinja_parameter *assignment = jinja_parser_alloc(parser, sizeof *assignment);
        if (assignment == NULL) {
            return NULL;
        }
        assignment->target = jinja_parse_target(parser, false);
        if (assignment->target == NULL || !jinja_expect(parser, TOKEN_OPERATOR, "=")) {
            return NULL;
        }
        assignment->value = jinja_parse_expression(parser);
        if (assignment->value == NULL) {
            return NULL;
        }
        *last = assignment;
        last = &assignment->next;
    }
    return parse_block(parser, "endwith", &node->as.with.body) ? node : NULL;
}

/* Marks what the model wrote, for training; when rendering it is only a scope. */
static struct jinja_node *parse_generation(struct jinja_parser *parser)
{
    struct jinja_node *node = jinja_parser_node(parser, NODE_WITH);
    return node != NULL && parse_block(parser, "endgeneration", &node->as.with.body) ? node : NULL;
}

static struct jinja_node *parse_jump(struct jinja_parser *parser, enum jinja_node_kind kind)
{
    if (parser->loops == 0) {
        return jinja_parser_fail(parser, "break and continue belong inside a loop");
    }
    struct jinja_node *node = jinja_parser_node(parser, kind);
    return node != NULL && expect_block_end(parser) ? node : NULL;
}

static struct jinja_node *parse_break(struct jinja_parser *parser)
{
    return parse_jump(parser, NODE_BREAK);
}

static struct jinja_node *parse_continue(struct jinja_parser *parser)
{
    return parse_jump(parser, NODE_CONTINUE);
}

static struct jinja_node *parse_statement(struct jinja_parser *parser)
{
    static const struct {
        const char *name;
        struct jinja_node *(*parse)(struct jinja_parser *parser);
    } statements[] = {
        {"if", parse_if},           {"for", parse_for},
        {"set", parse_set},         {"macro", parse_macro},
        {"call", parse_call_block}, {"filter", parse_filter_block},
        {"with", parse_with},       {"generation", parse_generation},
        {"break", parse_break},     {"continue", parse_continue},
    };
    for (size_t i = 0; i < sizeof statements / sizeof *statements; i++) {
        if (jinja_skips(parser, TOKEN_NAME, statements[i].name)) {
            if (!jinja_nest(parser)) {
                return NULL;
            }
            struct jinja_node *node = statements[i].parse(parser);
            jinja_unnest(parser);
            return node;
        }
    }
    (void)fail_expected(parser, "a statement");
    return NULL;
}

static struct jinja_node *parse_one_target(struct jinja_parser *parser, bool has_attribute)
{
    if (jinja_skips(parser, TOKEN_OPERATOR, "(")) {
        struct jinja_node *node = NULL;
        if (jinja_nest(parser)) {
            node = jinja_parse_target(parser, has_attribute);
            jinja_unnest(parser);
        }
        return node != NULL && jinja_expect(parser, TOKEN_OPERATOR, ")") ? node : NULL;
    }
    struct jinja_node *node = jinja_parser_node(parser, NODE_NAME);
    struct bytes name;
    if (node == NULL || !jinja_expect_name(parser, &name)) {
        return NULL;
    }
    node->as.text = name;
    if (has_attribute && jinja_skips(parser, TOKEN_OPERATOR, ".")) {
        struct jinja_node *target = jinja_parser_node(parser, NODE_ATTRIBUTE_TARGET);
        if (target == NULL) {
            return NULL;
        }
        target->as.member.subject = node;
        return jinja_expect_name(parser, &target->as.member.name) ? target : NULL;
    }
    return node;
}

static bool starts_target(const struct jinja_parser *parser)
{
    return jinja_sees(parser, TOKEN_OPERATOR, "(") ||
           (parser->token->kind == TOKEN_NAME && !jinja_sees(parser, TOKEN_NAME, "in"));
}

struct jinja_node *jinja_parse_target(struct jinja_parser *parser, bool has_attribute)
{
    struct jinja_node *first = parse_one_target(parser, has_attribute);
    if (first == NULL || !jinja_sees(parser, TOKEN_OPERATOR, ",")) {
        return first;
    }
    struct jinja_node *node = jinja_parser_node(parser, NODE_TUPLE);
    if (node == NULL) {
        return NULL;
    }
    node->as.items = first;
    struct jinja_node **last = &first->next;
    while (jinja_skips(parser, TOKEN_OPERATOR, ",")) {
        if (!starts_target(parser)) {
            break; // the comma was at the end
        }
        *last = parse_one_target(parser, has_attribute);
        if (*last == NULL) {
            return NULL;
        }
        last = &(*last)->next;
    }
    return node;
}

bool jinja_parse(struct arena *arena, struct bytes source, struct jinja_node **out,
                 struct error *error)
{
    struct jinja_tokens tokens;
    if (!jinja_lex(arena, source, &tokens, error)) {
        return false;
    }
    struct jinja_parser parser = {.arena = arena, .token = tokens.items, .error = error};
    return parse_body(&parser, NULL, out);
}
