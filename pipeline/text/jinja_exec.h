/* jinja_exec: statements to text. */
#ifndef PIPELINE_TEXT_JINJA_EXEC_H
#define PIPELINE_TEXT_JINJA_EXEC_H

#include "pipeline/text/jinja_run.h"

/* Runs a list of statements in the present scope; what they print is appended to the output. Stops
 * early at a break or continue, which run->signal then says. */
bool jinja_exec(struct jinja_run *run, const struct jinja_node *body) MUST_CHECK;
/* As above in `scope`, printing into a string. */
bool jinja_exec_capture(struct jinja_run *run, const struct jinja_node *body,
                        struct jinja_scope *scope, struct jinja_value *out) MUST_CHECK;
/* The loop of a FOR node over `iterable`, in a scope inside `scope`. */
bool jinja_exec_loop(struct jinja_run *run, const struct jinja_node *node,
                     struct jinja_value iterable, struct jinja_scope *scope,
                     int64_t depth0) MUST_CHECK;

/* Asks the loop's `if` of further items until `count` have passed or none is left. */
bool jinja_loop_reach(struct jinja_run *run, struct jinja_loop *loop, size_t count) MUST_CHECK;

#endif
