/* jinja_lexer: template text to tokens, with Jinja2's rules for white space around tags under
 * trim_blocks and lstrip_blocks. */
#ifndef PIPELINE_TEXT_JINJA_LEXER_H
#define PIPELINE_TEXT_JINJA_LEXER_H

#include "pipeline/text/jinja_value.h"
#include "schemas/base/error.h"

enum jinja_token_kind {
    TOKEN_DATA,
    TOKEN_BLOCK_BEGIN,
    TOKEN_BLOCK_END,
    TOKEN_VARIABLE_BEGIN,
    TOKEN_VARIABLE_END,
    TOKEN_NAME,
    TOKEN_STRING,
    TOKEN_INTEGER,
    TOKEN_FLOAT,
    TOKEN_OPERATOR,
    TOKEN_END,
};

struct jinja_token {
    enum jinja_token_kind kind;
    unsigned line;
    struct bytes text; // as in the source; of STRING: what it means
    int64_t integer;
    double real;
};

struct jinja_tokens {
    struct jinja_token *items; // ends with TOKEN_END
    size_t count;
    size_t capacity;
};

/* Tokens and their text live in the arena. */
bool jinja_lex(struct arena *arena, struct bytes source, struct jinja_tokens *out,
               struct error *error) MUST_CHECK;

#endif
