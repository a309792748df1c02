/* jinja_operators: what Python's operators do with the values of a template. */
#include "pipeline/text/jinja_operators.h"

#include <math.h>

#include "pipeline/text/jinja_string.h"
#include "pipeline/text/jinja_text.h"
#include "schemas/base/check.h"

static const char *symbol(enum jinja_operator op)
{
    static const char *const symbols[] = {
        [OPERATOR_ADD] = "+",
        [OPERATOR_SUBTRACT] = "-",
        [OPERATOR_MULTIPLY] = "*",
        [OPERATOR_DIVIDE] = "/",
        [OPERATOR_FLOOR_DIVIDE] = "//",
        [OPERATOR_MODULO] = "%",
        [OPERATOR_POWER] = "** or pow()",
        [OPERATOR_NOT] = "not",
        [OPERATOR_NEGATE] = "-",
        [OPERATOR_POSITIVE] = "+",
        [OPERATOR_EQUAL] = "==",
        [OPERATOR_NOT_EQUAL] = "!=",
        [OPERATOR_LESS] = "<",
        [OPERATOR_LESS_EQUAL] = "<=",
        [OPERATOR_GREATER] = ">",
        [OPERATOR_GREATER_EQUAL] = ">=",
        [OPERATOR_IN] = "in",
        [OPERATOR_NOT_IN] = "not in",
    };
    return symbols[op];
}

static bool fail_operands(struct jinja_run *run, enum jinja_operator op, struct jinja_value left,
                          struct jinja_value right)
{
    if (left.kind == JINJA_UNDEFINED || right.kind == JINJA_UNDEFINED) {
        return jinja_fail_undefined(run, left.kind == JINJA_UNDEFINED ? left : right);
    }
    if (op == OPERATOR_ADD && left.kind == JINJA_STRING) {
        return jinja_fail(run, "can only concatenate str (not \"%s\") to str",
                          jinja_type_name(right));
    }
    if (op == OPERATOR_ADD && (left.kind == JINJA_LIST || left.kind == JINJA_TUPLE)) {
        return jinja_fail(run, "can only concatenate %s (not \"%s\") to %s", jinja_type_name(left),
                          jinja_type_name(right), jinja_type_name(left));
    }
    return jinja_fail(run, "unsupported operand type(s) for %s: '%s' and '%s'", symbol(op),
                      jinja_type_name(left), jinja_type_name(right));
}

static bool fail_integer(struct jinja_run *run)
{
    return jinja_fail(run, "an integer exceeds 64 bits");
}

static bool integer_power(struct jinja_run *run, int64_t base, int64_t exponent, int64_t *out)
{
    int64_t power = 1;
    while (exponent > 0) {
        if ((exponent & 1) != 0 && __builtin_mul_overflow(power, base, &power)) {
            return fail_integer(run);
        }
        exponent >>= 1;
        if (exponent > 0 && __builtin_mul_overflow(base, base, &base)) {
            return fail_integer(run);
        }
    }
    *out = power;
    return true;
}

/* Rounds towards minus infinity; the remainder has the sign of the divisor. */
static bool integer_divide(struct jinja_run *run, int64_t left, int64_t right, int64_t *quotient,
                           int64_t *remainder)
{
    if (right == 0) {
        return jinja_fail(run, "integer division or modulo by zero");
    }
    if (left == INT64_MIN && right == -1) {
        return fail_integer(run);
    }
    *quotient = left / right;
    *remainder = left % right;
    if (*remainder != 0 && (*remainder < 0) != (right < 0)) {
        *quotient -= 1;
        *remainder += right;
    }
    return true;
}

static bool float_arithmetic(struct jinja_run *run, enum jinja_operator op, double left,
                             double right, struct jinja_value *out)
{
    bool divides = op == OPERATOR_DIVIDE || op == OPERATOR_FLOOR_DIVIDE || op == OPERATOR_MODULO;
    if (divides && fpclassify(right) == FP_ZERO) {
        return jinja_fail(run, "division by zero");
    }
    double result = 0;
    if (op == OPERATOR_ADD) {
        result = left + right;
    } else if (op == OPERATOR_SUBTRACT) {
        result = left - right;
    } else if (op == OPERATOR_MULTIPLY) {
        result = left * right;
    } else if (op == OPERATOR_DIVIDE) {
        result = left / right;
    } else if (op == OPERATOR_FLOOR_DIVIDE) {
        result = floor(left / right);
    } else if (op == OPERATOR_MODULO) {
        result = fmod(left, right);
        if (fpclassify(result) != FP_ZERO && (result < 0) != (right < 0)) {
            result += right;
        }
    } else {
        result = pow(left, right);
    }
    *out = jinja_float(result);
    return true;
}

static bool integer_arithmetic(struct jinja_run *run, enum jinja_operator op, int64_t left,
                               int64_t right, struct jinja_value *out)
{
    int64_t result = 0;
    int64_t unused = 0;
    bool fits = true;
    if (op == OPERATOR_ADD) {
        fits = !__builtin_add_overflow(left, right, &result);
    } else if (op == OPERATOR_SUBTRACT) {
        fits = !__builtin_sub_overflow(left, right, &result);
    } else if (op == OPERATOR_MULTIPLY) {
        fits = !__builtin_mul_overflow(left, right, &result);
    } else if (op == OPERATOR_FLOOR_DIVIDE) {
        if (!integer_divide(run, left, right, &result, &unused)) {
            return false;
        }
    } else if (op == OPERATOR_MODULO) {
        if (!integer_divide(run, left, right, &unused, &result)) {
            return false;
        }
    } else {
        CHECK(op == OPERATOR_POWER && right >= 0);
        if (!integer_power(run, left, right, &result)) {
            return false;
        }
    }
    *out = jinja_integer(result);
    return fits || fail_integer(run);
}

static bool add_sequences(struct jinja_run *run, struct jinja_value left, struct jinja_value right,
                          struct jinja_value *out)
{
    const struct jinja_list *a = left.as.list;
    const struct jinja_list *b = right.as.list;
    struct jinja_list *list = jinja_new_list(run, a->count + b->count);
    if (list == NULL || !jinja_spend(run, a->count + b->count)) {
        return false;
    }
    if (a->count > 0) {
        memcpy(list->items, a->items, a->count * sizeof *a->items);
    }
    if (b->count > 0) {
        memcpy(list->items + a->count, b->items, b->count * sizeof *b->items);
    }
    list->count = a->count + b->count;
    *out = jinja_sequence(left.kind, list);
    return true;
}

static bool add_strings(struct jinja_run *run, struct bytes left, struct bytes right,
                        struct jinja_value *out)
{
    char *text = jinja_alloc(run, left.size + right.size + 1, 1);
    if (text == NULL || !jinja_spend_search(run, left.size + right.size, 0)) {
        return false;
    }
    memcpy(text, left.data, left.size);
    memcpy(text + left.size, right.data, right.size);
    *out = jinja_string((struct bytes){text, left.size + right.size});
    return true;
}

/* Where one is markup, so is the sum, and the other is escaped first. */
static bool add_texts(struct jinja_run *run, struct jinja_value left, struct jinja_value right,
                      struct jinja_value *out)
{
    if (!left.is_markup && !right.is_markup) {
        return add_strings(run, left.as.text, right.as.text, out);
    }
    struct bytes a;
    struct bytes b;
    if (!jinja_escape(run, left, &a) || !jinja_escape(run, right, &b) ||
        !add_strings(run, a, b, out)) {
        return false;
    }
    out->is_markup = true;
    return true;
}

static bool repeat_string(struct jinja_run *run, struct bytes text, size_t count,
                          struct jinja_value *out)
{
    if (text.size == 0 || count == 0) {
        *out = jinja_string(bytes_of(""));
        return true;
    }
    char *copy = jinja_alloc(run, count, text.size);
    if (copy == NULL || !jinja_spend_search(run, count * text.size, 0)) {
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        memcpy(copy + i * text.size, text.data, text.size);
    }
    *out = jinja_string((struct bytes){copy, count * text.size});
    return true;
}

static bool repeat_sequence(struct jinja_run *run, struct jinja_value sequence, size_t count,
                            struct jinja_value *out)
{
    const struct jinja_list *from = sequence.as.list;
    if (from->count > 0 && count > run->steps_left / from->count) {
        return jinja_spend(run, SIZE_MAX);
    }
    struct jinja_list *list = jinja_new_list(run, from->count * count);
    if (list == NULL || !jinja_spend(run, from->count * count)) {
        return false;
    }
    for (size_t i = 0; i < from->count * count; i++) {
        list->items[list->count++] = from->items[i % from->count];
    }
    *out = jinja_sequence(sequence.kind, list);
    return true;
}

static bool is_repeatable(struct jinja_value value)
{
    return value.kind == JINJA_STRING || value.kind == JINJA_LIST || value.kind == JINJA_TUPLE;
}

static bool repeat(struct jinja_run *run, struct jinja_value left, struct jinja_value right,
                   struct jinja_value *out)
{
    struct jinja_value subject = is_repeatable(left) ? left : right;
    int64_t count = jinja_as_integer(is_repeatable(left) ? right : left);
    size_t times = count < 0 ? 0 : (size_t)count;
    if (subject.kind != JINJA_STRING) {
        return repeat_sequence(run, subject, times, out);
    }
    if (!repeat_string(run, subject.as.text, times, out)) {
        return false;
    }
    out->is_markup = subject.is_markup;
    return true;
}

bool jinja_binary(struct jinja_run *run, enum jinja_operator op, struct jinja_value left,
                  struct jinja_value right, struct jinja_value *out)
{
    if (jinja_is_integer(left) && jinja_is_integer(right) && op != OPERATOR_DIVIDE &&
        !(op == OPERATOR_POWER && jinja_as_integer(right) < 0)) {
        return integer_arithmetic(run, op, jinja_as_integer(left), jinja_as_integer(right), out);
    }
    if (jinja_is_number(left) && jinja_is_number(right)) {
        return float_arithmetic(run, op, jinja_as_float(left), jinja_as_float(right), out);
    }
    if (op == OPERATOR_ADD && left.kind == JINJA_STRING && right.kind == JINJA_STRING) {
        return add_texts(run, left, right, out);
    }
    if (op == OPERATOR_ADD && left.kind == right.kind &&
        (left.kind == JINJA_LIST || left.kind == JINJA_TUPLE)) {
        return add_sequences(run, left, right, out);
    }
    if (op == OPERATOR_MULTIPLY && ((is_repeatable(left) && jinja_is_integer(right)) ||
                                    (is_repeatable(right) && jinja_is_integer(left)))) {
        return repeat(run, left, right, out);
    }
    if (op == OPERATOR_MODULO && left.kind == JINJA_STRING) {
        return jinja_format(run, left, right, out);
    }
    return fail_operands(run, op, left, right);
}

bool jinja_sign(struct jinja_run *run, enum jinja_operator op, struct jinja_value operand,
                struct jinja_value *out)
{
    if (operand.kind == JINJA_UNDEFINED) {
        return jinja_fail_undefined(run, operand);
    }
    if (!jinja_is_number(operand)) {
        return jinja_fail(run, "bad operand type for unary %s: '%s'", symbol(op),
                          jinja_type_name(operand));
    }
    if (operand.kind == JINJA_FLOAT) {
        *out = jinja_float(op == OPERATOR_NEGATE ? -operand.as.real : operand.as.real);
        return true;
    }
    int64_t integer = jinja_as_integer(operand);
    if (op == OPERATOR_NEGATE && integer == INT64_MIN) {
        return fail_integer(run);
    }
    *out = jinja_integer(op == OPERATOR_NEGATE ? -integer : integer);
    return true;
}

static bool equal_lists(struct jinja_run *run, const struct jinja_list *a,
                        const struct jinja_list *b, bool *out)
{
    *out = a->count == b->count;
    for (size_t i = 0; *out && i < a->count; i++) {
        if (!jinja_equal(run, a->items[i], b->items[i], out)) {
            return false;
        }
    }
    return true;
}

static bool equal_dicts(struct jinja_run *run, const struct jinja_dict *a,
                        const struct jinja_dict *b, bool *out)
{
    *out = a->count == b->count;
    for (size_t i = 0; *out && i < a->count; i++) {
        const struct jinja_value *value = jinja_dict_find(b, a->pairs[i].key);
        if (value == NULL) {
            *out = false;
            return true;
        }
        if (!jinja_spend(run, b->count / 16) || !jinja_equal(run, a->pairs[i].value, *value, out)) {
            return false;
        }
    }
    return true;
}

bool jinja_equal(struct jinja_run *run, struct jinja_value left, struct jinja_value right,
                 bool *out)
{
    bool are_lists =
        left.kind == right.kind &&
        (left.kind == JINJA_LIST || left.kind == JINJA_TUPLE || left.kind == JINJA_VIEW);
    bool are_dicts = left.kind == right.kind && left.kind == JINJA_DICT;
    if (!are_lists && !are_dicts) {
        bool are_objects = left.kind == right.kind && left.kind >= JINJA_GENERATOR;
        *out = are_objects ? left.as.list == right.as.list : jinja_scalar_equal(left, right);
        return true;
    }
    if (!jinja_enter(run)) {
        return false;
    }
    bool compared =
        jinja_spend(run, 1) && (are_lists ? equal_lists(run, left.as.list, right.as.list, out)
                                          : equal_dicts(run, left.as.dict, right.as.dict, out));
    jinja_leave(run);
    return compared;
}

enum order { ORDER_LESS = -1, ORDER_EQUAL = 0, ORDER_GREATER = 1, ORDER_NONE = 2 };

static enum order order_numbers(struct jinja_value left, struct jinja_value right)
{
    if (jinja_is_integer(left) && jinja_is_integer(right)) {
        int64_t a = jinja_as_integer(left);
        int64_t b = jinja_as_integer(right);
        return a < b ? ORDER_LESS : a > b ? ORDER_GREATER : ORDER_EQUAL;
    }
    double a = jinja_as_float(left);
    double b = jinja_as_float(right);
    if (isnan(a) || isnan(b)) {
        return ORDER_NONE;
    }
    return a < b ? ORDER_LESS : a > b ? ORDER_GREATER : ORDER_EQUAL;
}

/* By code point, which is by byte in UTF-8. */
static enum order order_strings(struct bytes left, struct bytes right)
{
    size_t size = left.size < right.size ? left.size : right.size;
    int order = size == 0 ? 0 : memcmp(left.data, right.data, size);
    if (order == 0) {
        order = left.size < right.size ? -1 : left.size > right.size;
    }
    return order < 0 ? ORDER_LESS : order > 0 ? ORDER_GREATER : ORDER_EQUAL;
}

static bool find_order(struct jinja_run *run, enum jinja_operator op, struct jinja_value left,
                       struct jinja_value right, enum order *out);

/* By the first items that differ, then by length. */
static bool order_lists(struct jinja_run *run, enum jinja_operator op, const struct jinja_list *a,
                        const struct jinja_list *b, enum order *out)
{
    size_t count = a->count < b->count ? a->count : b->count;
    for (size_t i = 0; i < count; i++) {
        bool is_equal;
        if (!jinja_equal(run, a->items[i], b->items[i], &is_equal)) {
            return false;
        }
        if (!is_equal) {
            return find_order(run, op, a->items[i], b->items[i], out);
        }
    }
    *out = a->count < b->count ? ORDER_LESS : a->count > b->count ? ORDER_GREATER : ORDER_EQUAL;
    return true;
}

static bool find_order(struct jinja_run *run, enum jinja_operator op, struct jinja_value left,
                       struct jinja_value right, enum order *out)
{
    if (jinja_is_number(left) && jinja_is_number(right)) {
        *out = order_numbers(left, right);
        return true;
    }
    if (left.kind == JINJA_STRING && right.kind == JINJA_STRING) {
        *out = order_strings(left.as.text, right.as.text);
        return true;
    }
    if (left.kind == right.kind && (left.kind == JINJA_LIST || left.kind == JINJA_TUPLE)) {
        if (!jinja_enter(run)) {
            return false;
        }
        bool ordered =
            jinja_spend(run, 1) && order_lists(run, op, left.as.list, right.as.list, out);
        jinja_leave(run);
        return ordered;
    }
    if (left.kind == JINJA_UNDEFINED || right.kind == JINJA_UNDEFINED) {
        return jinja_fail_undefined(run, left.kind == JINJA_UNDEFINED ? left : right);
    }
    return jinja_fail(run, "'%s' not supported between instances of '%s' and '%s'", symbol(op),
                      jinja_type_name(left), jinja_type_name(right));
}

static bool contains(struct jinja_run *run, struct jinja_value container, struct jinja_value item,
                     bool *out)
{
    *out = false;
    if (container.kind == JINJA_STRING) {
        if (item.kind != JINJA_STRING) {
            return jinja_fail(run, "'in <string>' requires string as left operand, not %s",
                              jinja_type_name(item));
        }
        if (!jinja_spend_search(run, container.as.text.size, item.as.text.size)) {
            return false;
        }
        *out = jinja_find(container.as.text, item.as.text, 0) != SIZE_MAX;
        return true;
    }
    if (container.kind == JINJA_DICT) {
        *out = jinja_dict_find(container.as.dict, item) != NULL;
        return jinja_spend(run, container.as.dict->count / 16);
    }
    if (!jinja_is_sequence(container) && container.kind != JINJA_UNDEFINED) {
        return jinja_fail(run, "argument of type '%s' is not iterable", jinja_type_name(container));
    }
    const struct jinja_list *list;
    if (!jinja_iterate(run, container, &list)) {
        return false;
    }
    for (size_t i = 0; i < list->count && !*out; i++) {
        if (!jinja_equal(run, list->items[i], item, out)) {
            return false;
        }
    }
    return true;
}

bool jinja_compare(struct jinja_run *run, enum jinja_operator op, struct jinja_value left,
                   struct jinja_value right, bool *out)
{
    bool is_met = false;
    enum order order = ORDER_NONE;
    if (op == OPERATOR_EQUAL || op == OPERATOR_NOT_EQUAL) {
        if (!jinja_equal(run, left, right, &is_met)) {
            return false;
        }
        *out = is_met == (op == OPERATOR_EQUAL);
        return true;
    }
    if (op == OPERATOR_IN || op == OPERATOR_NOT_IN) {
        if (!contains(run, right, left, &is_met)) {
            return false;
        }
        *out = is_met == (op == OPERATOR_IN);
        return true;
    }
    if (!find_order(run, op, left, right, &order)) {
        return false;
    }
    *out = (order == ORDER_LESS && (op == OPERATOR_LESS || op == OPERATOR_LESS_EQUAL)) ||
           (order == ORDER_GREATER && (op == OPERATOR_GREATER || op == OPERATOR_GREATER_EQUAL)) ||
           (order == ORDER_EQUAL && (op == OPERATOR_LESS_EQUAL || op == OPERATOR_GREATER_EQUAL));
    return true;
}
