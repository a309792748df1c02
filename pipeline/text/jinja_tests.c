/* jinja_tests: what can follow `is`. */
#include "pipeline/text/jinja_native.h"
#include "pipeline/text/jinja_operators.h"
#include "pipeline/text/jinja_string.h"
#include "pipeline/text/jinja_text.h"

#define TEST(name)                                                                                 \
    static bool test_##name(struct jinja_run *run, struct jinja_value subject,                     \
                            const struct jinja_arguments *arguments, struct jinja_value *out)

/* A test that looks at the subject alone. */
#define SIMPLE_TEST(name, condition)                                                               \
    TEST(name)                                                                                     \
    {                                                                                              \
        (void)run;                                                                                 \
        (void)subject;                                                                             \
        (void)arguments;                                                                           \
        *out = jinja_bool(condition);                                                              \
        return true;                                                                               \
    }

SIMPLE_TEST(defined, subject.kind != JINJA_UNDEFINED)
SIMPLE_TEST(undefined, subject.kind == JINJA_UNDEFINED)
SIMPLE_TEST(none, subject.kind == JINJA_NONE)
SIMPLE_TEST(boolean, subject.kind == JINJA_BOOL)
SIMPLE_TEST(yes, subject.kind == JINJA_BOOL && subject.as.boolean)
SIMPLE_TEST(no, subject.kind == JINJA_BOOL && !subject.as.boolean)
SIMPLE_TEST(integer, subject.kind == JINJA_INTEGER)
SIMPLE_TEST(float, subject.kind == JINJA_FLOAT)
SIMPLE_TEST(number, jinja_is_number(subject))
SIMPLE_TEST(string, subject.kind == JINJA_STRING)
SIMPLE_TEST(mapping, subject.kind == JINJA_DICT)
SIMPLE_TEST(iterable, jinja_is_sequence(subject) || subject.kind == JINJA_STRING ||
                          subject.kind == JINJA_DICT || subject.kind == JINJA_LOOP ||
                          subject.kind == JINJA_UNDEFINED)
SIMPLE_TEST(callable, subject.kind == JINJA_NATIVE || subject.kind == JINJA_MACRO ||
                          subject.kind == JINJA_LOOP || subject.kind == JINJA_UNDEFINED)
SIMPLE_TEST(escaped, jinja_is_markup(subject))

/* Python: has a length and can be indexed, which an undefined value pretends to. */
SIMPLE_TEST(sequence, subject.kind == JINJA_LIST || subject.kind == JINJA_TUPLE ||
                          subject.kind == JINJA_STRING || subject.kind == JINJA_DICT ||
                          subject.kind == JINJA_UNDEFINED ||
                          (subject.kind == JINJA_VIEW &&
                           jinja_starts_with(subject.as.list->name, bytes_of("range"))))

static bool remainder_is(struct jinja_run *run, struct jinja_value subject, int64_t divisor,
                         int64_t wanted, struct jinja_value *out)
{
    struct jinja_value remainder;
    if (!jinja_binary(run, OPERATOR_MODULO, subject, jinja_integer(divisor), &remainder)) {
        return false;
    }
    *out = jinja_bool(jinja_scalar_equal(remainder, jinja_integer(wanted)));
    return true;
}

TEST(odd)
{
    (void)arguments;
    return remainder_is(run, subject, 2, 1, out);
}

TEST(even)
{
    (void)arguments;
    return remainder_is(run, subject, 2, 0, out);
}

TEST(divisibleby)
{
    int64_t divisor;
    return jinja_argument_integer(run, arguments->bound[0], 0, &divisor) &&
           remainder_is(run, subject, divisor, 0, out);
}

static bool compare(struct jinja_run *run, enum jinja_operator op, struct jinja_value subject,
                    const struct jinja_arguments *arguments, struct jinja_value *out)
{
    bool is_met;
    if (!jinja_compare(run, op, subject, arguments->bound[0], &is_met)) {
        return false;
    }
    *out = jinja_bool(is_met);
    return true;
}

#define COMPARE_TEST(name, op)                                                                     \
    TEST(name)                                                                                     \
    {                                                                                              \
        return compare(run, op, subject, arguments, out);                                          \
    }

COMPARE_TEST(eq, OPERATOR_EQUAL)
COMPARE_TEST(ne, OPERATOR_NOT_EQUAL)
COMPARE_TEST(lt, OPERATOR_LESS)
COMPARE_TEST(le, OPERATOR_LESS_EQUAL)
COMPARE_TEST(gt, OPERATOR_GREATER)
COMPARE_TEST(ge, OPERATOR_GREATER_EQUAL)
COMPARE_TEST(in, OPERATOR_IN)

/* Identity. Strings and numbers have none here: equal ones of one kind are the same. */
TEST(sameas)
{
    bool is_same = false;
    if (subject.kind == arguments->bound[0].kind) {
        if (jinja_is_sequence(subject)) {
            is_same = subject.as.list == arguments->bound[0].as.list;
        } else if (subject.kind == JINJA_DICT) {
            is_same = subject.as.dict == arguments->bound[0].as.dict;
        } else if (!jinja_equal(run, subject, arguments->bound[0], &is_same)) {
            return false;
        }
    }
    *out = jinja_bool(is_same);
    return true;
}

/* Python's isupper or islower: some letters, and none of the other case. */
static bool has_only_case(struct jinja_run *run, struct jinja_value subject, const char *method,
                          struct jinja_value *out)
{
    struct bytes text;
    if (!jinja_text_of(run, subject, &text)) {
        return false;
    }
    struct jinja_arguments none = {.count = 0};
    return jinja_native_call(run, jinja_method_find(jinja_string(text), bytes_of(method)),
                             jinja_string(text), &none, out);
}

TEST(lower)
{
    (void)arguments;
    return has_only_case(run, subject, "islower", out);
}

TEST(upper)
{
    (void)arguments;
    return has_only_case(run, subject, "isupper", out);
}

TEST(filter)
{
    (void)run;
    (void)arguments;
    *out = jinja_bool(subject.kind == JINJA_STRING && jinja_filter_find(subject.as.text) != NULL);
    return true;
}

TEST(test)
{
    (void)run;
    (void)arguments;
    *out = jinja_bool(subject.kind == JINJA_STRING && jinja_test_find(subject.as.text) != NULL);
    return true;
}

static const struct jinja_native tests[] = {
    {.name = "boolean", .run = test_boolean},
    {.name = "callable", .run = test_callable},
    {.name = "defined", .run = test_defined},
    {.name = "escaped", .run = test_escaped},
    {.name = "even", .run = test_even},
    {.name = "false", .run = test_no},
    {.name = "filter", .run = test_filter},
    {.name = "float", .run = test_float},
    {.name = "integer", .run = test_integer},
    {.name = "iterable", .run = test_iterable},
    {.name = "lower", .run = test_lower},
    {.name = "mapping", .run = test_mapping},
    {.name = "none", .run = test_none},
    {.name = "number", .run = test_number},
    {.name = "odd", .run = test_odd},
    {.name = "sequence", .run = test_sequence},
    {.name = "string", .run = test_string},
    {.name = "test", .run = test_test},
    {.name = "true", .run = test_yes},
    {.name = "undefined", .run = test_undefined},
    {.name = "upper", .run = test_upper},
    {.name = "!=", .run = test_ne, .parameters = {"other"}, .required = 1},
    {.name = "<", .run = test_lt, .parameters = {"other"}, .required = 1},
    {.name = "<=", .run = test_le, .parameters = {"other"}, .required = 1},
    {.name = "==", .run = test_eq, .parameters = {"other"}, .required = 1},
    {.name = ">", .run = test_gt, .parameters = {"other"}, .required = 1},
    {.name = ">=", .run = test_ge, .parameters = {"other"}, .required = 1},
    {.name = "divisibleby", .run = test_divisibleby, .parameters = {"other"}, .required = 1},
    {.name = "eq", .run = test_eq, .parameters = {"other"}, .required = 1},
    {.name = "equalto", .run = test_eq, .parameters = {"other"}, .required = 1},
    {.name = "ge", .run = test_ge, .parameters = {"other"}, .required = 1},
    {.name = "greaterthan", .run = test_gt, .parameters = {"other"}, .required = 1},
    {.name = "gt", .run = test_gt, .parameters = {"other"}, .required = 1},
    {.name = "in", .run = test_in, .parameters = {"other"}, .required = 1},
    {.name = "le", .run = test_le, .parameters = {"other"}, .required = 1},
    {.name = "lessthan", .run = test_lt, .parameters = {"other"}, .required = 1},
    {.name = "lt", .run = test_lt, .parameters = {"other"}, .required = 1},
    {.name = "ne", .run = test_ne, .parameters = {"other"}, .required = 1},
    {.name = "sameas", .run = test_sameas, .parameters = {"other"}, .required = 1},
};

const struct jinja_native *jinja_test_find(struct bytes name)
{
    return jinja_native_find(tests, sizeof tests / sizeof *tests, name);
}
