/* jinja_eval: expressions to values, and calls. */
#ifndef PIPELINE_TEXT_JINJA_EVAL_H
#define PIPELINE_TEXT_JINJA_EVAL_H

#include "pipeline/text/jinja_native.h"

bool jinja_eval(struct jinja_run *run, const struct jinja_node *node,
                struct jinja_value *out) MUST_CHECK;
/* A FILTER node applied to text, as for {% filter %} and {% set %} blocks: the innermost filter of
 * a chain takes `text`. */
bool jinja_eval_filter(struct jinja_run *run, const struct jinja_node *node,
                       struct jinja_value text, struct jinja_value *out) MUST_CHECK;
/* A CALL node with `caller` as an additional keyword argument; `caller` may be ABSENT. */
bool jinja_eval_call(struct jinja_run *run, const struct jinja_node *node,
                     struct jinja_value caller, struct jinja_value *out) MUST_CHECK;

/* jinja_call.c: calls any value. */
bool jinja_call(struct jinja_run *run, struct jinja_value callee,
                const struct jinja_arguments *arguments, struct jinja_value *out) MUST_CHECK;

#endif
