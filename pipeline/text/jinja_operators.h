/* jinja_operators: arithmetic, comparison and containment with Python's rules and messages.
 * Integers have 64 bits; what exceeds them is an error. */
#ifndef PIPELINE_TEXT_JINJA_OPERATORS_H
#define PIPELINE_TEXT_JINJA_OPERATORS_H

#include "pipeline/text/jinja_run.h"

/* OPERATOR_ADD to OPERATOR_POWER. */
bool jinja_binary(struct jinja_run *run, enum jinja_operator op, struct jinja_value left,
                  struct jinja_value right, struct jinja_value *out) MUST_CHECK;
/* OPERATOR_NEGATE, OPERATOR_POSITIVE. */
bool jinja_sign(struct jinja_run *run, enum jinja_operator op, struct jinja_value operand,
                struct jinja_value *out) MUST_CHECK;
/* OPERATOR_EQUAL to OPERATOR_NOT_IN. */
bool jinja_compare(struct jinja_run *run, enum jinja_operator op, struct jinja_value left,
                   struct jinja_value right, bool *out) MUST_CHECK;
bool jinja_equal(struct jinja_run *run, struct jinja_value left, struct jinja_value right,
                 bool *out) MUST_CHECK;

/* str % values, printf style: %s %r %d %i %x %o %f %e %g %c %% with flags, width and precision. */
/* `format` is a string; values are escaped for one that is markup. */
bool jinja_format(struct jinja_run *run, struct jinja_value format, struct jinja_value values,
                  struct jinja_value *out) MUST_CHECK;

#endif
