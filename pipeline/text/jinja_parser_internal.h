/* jinja_parser_internal: what the statement half and the expression half of the parser share.
 *
 * A recursive-descent parser with Jinja2's grammar. A function that fails has set the error and
 * returns NULL (or false). Nesting is bounded, so is the recursion.
 */
#ifndef PIPELINE_TEXT_JINJA_PARSER_INTERNAL_H
#define PIPELINE_TEXT_JINJA_PARSER_INTERNAL_H

#include "pipeline/text/jinja_lexer.h"
#include "pipeline/text/jinja_node.h"

enum { JINJA_NESTING_MAX = 200 };

struct jinja_parser {
    struct arena *arena;
    const struct jinja_token *token; // the next one; the last is TOKEN_END
    unsigned nesting;
    unsigned loops;                    // for bodies around, for break and continue
    struct jinja_signature *signature; // of the innermost macro, or NULL
    struct error *error;
};

void *jinja_parser_fail(struct jinja_parser *parser, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void *jinja_parser_alloc(struct jinja_parser *parser, size_t size);
struct jinja_node *jinja_parser_node(struct jinja_parser *parser, enum jinja_node_kind kind);

/* A UNARY (without `right`), BINARY, AND or OR node; NULL where `left` is. */
struct jinja_node *jinja_parser_binary(struct jinja_parser *parser, enum jinja_node_kind kind,
                                       enum jinja_operator op, struct jinja_node *left,
                                       struct jinja_node *right);

/* Whether the next token is this operator or name. */
bool jinja_sees(const struct jinja_parser *parser, enum jinja_token_kind kind, const char *text);
/* The same, and moves past it. */
bool jinja_skips(struct jinja_parser *parser, enum jinja_token_kind kind, const char *text);
bool jinja_expect(struct jinja_parser *parser, enum jinja_token_kind kind,
                  const char *text) MUST_CHECK;
bool jinja_expect_name(struct jinja_parser *parser, struct bytes *out) MUST_CHECK;

bool jinja_nest(struct jinja_parser *parser) MUST_CHECK;
void jinja_unnest(struct jinja_parser *parser);

/* a if b else c, and all that binds closer. */
struct jinja_node *jinja_parse_expression(struct jinja_parser *parser);
/* One expression, or several with commas as a tuple; `has_choice` allows a bare `if`. */
struct jinja_node *jinja_parse_tuple(struct jinja_parser *parser, bool has_choice);
/* What can be assigned to: names, tuples of them; namespace.name with `has_attribute`. */
struct jinja_node *jinja_parse_target(struct jinja_parser *parser, bool has_attribute);
/* The arguments after a "(" that is the next token. */
bool jinja_parse_arguments(struct jinja_parser *parser, struct jinja_argument **out) MUST_CHECK;
/* `| name(...)` and so on; `subject` NULL stands for the text of a block. */
struct jinja_node *jinja_parse_filter(struct jinja_parser *parser, struct jinja_node *subject);
/* A postfix expression with its filters, as after {% call %}. */
struct jinja_node *jinja_parse_unary(struct jinja_parser *parser, bool has_filter);

#endif
