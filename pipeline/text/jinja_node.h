/* jinja_node: the syntax tree of a template. Built by the parser in the template's arena, read-only
 * and shared by all renders afterwards. */
#ifndef PIPELINE_TEXT_JINJA_NODE_H
#define PIPELINE_TEXT_JINJA_NODE_H

#include "pipeline/text/jinja_value.h"

struct jinja_native;

enum jinja_node_kind {
    // expressions
    NODE_CONSTANT,
    NODE_NAME,
    NODE_LIST,
    NODE_TUPLE,
    NODE_DICT,
    NODE_ATTRIBUTE, // subject.name
    NODE_ITEM,      // subject[index]
    NODE_SLICE,     // subject[start:stop:step]
    NODE_CALL,
    NODE_FILTER,
    NODE_TEST,
    NODE_UNARY,
    NODE_BINARY,
    NODE_AND,
    NODE_OR,
    NODE_COMPARE, // a < b <= c
    NODE_CONCAT,  // a ~ b ~ c
    NODE_CHOICE,  // a if b else c
    // statements
    NODE_DATA,
    NODE_OUTPUT,
    NODE_IF,
    NODE_FOR,
    NODE_SET,
    NODE_SET_BLOCK,
    NODE_MACRO,
    NODE_CALL_BLOCK,
    NODE_FILTER_BLOCK,
    NODE_WITH,
    NODE_BREAK,
    NODE_CONTINUE,
    NODE_ATTRIBUTE_TARGET, // set namespace.name
};

enum jinja_operator {
    OPERATOR_ADD,
    OPERATOR_SUBTRACT,
    OPERATOR_MULTIPLY,
    OPERATOR_DIVIDE,
    OPERATOR_FLOOR_DIVIDE,
    OPERATOR_MODULO,
    OPERATOR_POWER,
    OPERATOR_NOT,
    OPERATOR_NEGATE,
    OPERATOR_POSITIVE,
    OPERATOR_EQUAL,
    OPERATOR_NOT_EQUAL,
    OPERATOR_LESS,
    OPERATOR_LESS_EQUAL,
    OPERATOR_GREATER,
    OPERATOR_GREATER_EQUAL,
    OPERATOR_IN,
    OPERATOR_NOT_IN,
};

enum jinja_argument_kind { ARGUMENT_POSITIONAL, ARGUMENT_KEYWORD, ARGUMENT_LIST, ARGUMENT_DICT };

struct jinja_argument {
    struct jinja_argument *next;
    enum jinja_argument_kind kind;
    struct bytes name; // of KEYWORD
    struct jinja_node *value;
};

/* A macro's parameter, or one assignment of a `with`. */
struct jinja_parameter {
    struct jinja_parameter *next;
    struct jinja_node *target; // `with` only
    struct bytes name;
    struct jinja_node *value; // default, or NULL
};

/* One comparison of a chain: `operator` and what stands to its right. */
struct jinja_operand {
    struct jinja_operand *next;
    enum jinja_operator op;
    struct jinja_node *value;
};

/* Parameters and body of a macro or a call block. */
struct jinja_signature {
    struct bytes name; // empty for a call block's caller
    struct jinja_parameter *parameters;
    struct jinja_node *body;
    bool takes_varargs; // the body names `varargs`, `kwargs`, `caller`
    bool takes_kwargs;
    bool takes_caller;
};

struct jinja_node {
    enum jinja_node_kind kind;
    unsigned line;
    struct jinja_node *next; // in a list of items or statements
    union {
        struct jinja_value constant;
        struct bytes text;        // NAME, DATA
        struct jinja_node *items; // LIST, TUPLE, CONCAT; OUTPUT has one item
        struct {
            struct jinja_node *keys; // parallel lists
            struct jinja_node *values;
        } dict;
        struct {
            struct jinja_node *subject;
            struct bytes name;
            struct jinja_node *index;
        } member; // ATTRIBUTE, ITEM, ATTRIBUTE_TARGET
        struct {
            struct jinja_node *subject;
            struct jinja_node *start; // each may be NULL
            struct jinja_node *stop;
            struct jinja_node *step;
        } slice;
        struct {
            struct jinja_node *subject; // callee, or what is filtered or tested (NULL: the block)
            struct bytes name;          // of FILTER, TEST
            const struct jinja_native *native; // NULL where no filter or test has the name
            struct jinja_argument *arguments;
        } call;
        struct {
            enum jinja_operator op;
            struct jinja_node *left; // the operand of UNARY
            struct jinja_node *right;
        } binary; // UNARY, BINARY, AND, OR
        struct {
            struct jinja_node *first;
            struct jinja_operand *rest;
        } compare;
        struct {
            struct jinja_node *test;
            struct jinja_node *yes;
            struct jinja_node *no; // may be NULL. Of an IF: what follows elif is another IF
        } choice;                  // CHOICE, IF
        struct {
            struct jinja_node *target;
            struct jinja_node *iterable;
            struct jinja_node *test; // may be NULL
            struct jinja_node *body;
            struct jinja_node *otherwise; // may be NULL
            bool is_recursive;
        } loop;
        struct {
            struct jinja_node *target;
            struct jinja_node *value;  // SET
            struct jinja_node *filter; // SET_BLOCK, FILTER_BLOCK; may be NULL
            struct jinja_node *body;
        } set; // SET, SET_BLOCK, FILTER_BLOCK
        struct {
            struct jinja_signature signature;
            struct jinja_node *call; // CALL_BLOCK
        } macro;                     // MACRO, CALL_BLOCK
        struct {
            struct jinja_parameter *assignments;
            struct jinja_node *body;
        } with;
    } as;
};

#endif
