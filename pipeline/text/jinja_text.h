/* jinja_text: values as text, as Python's str() and repr() write them. */
#ifndef PIPELINE_TEXT_JINJA_TEXT_H
#define PIPELINE_TEXT_JINJA_TEXT_H

#include "pipeline/text/jinja_run.h"

/* Appends str(value) to the output. */
bool jinja_print(struct jinja_run *run, struct jinja_value value) MUST_CHECK;
/* Appends repr(value) to the output. */
bool jinja_print_repr(struct jinja_run *run, struct jinja_value value) MUST_CHECK;
/* str(value); borrowed where the value is a string. */
bool jinja_text_of(struct jinja_run *run, struct jinja_value value, struct bytes *out) MUST_CHECK;
/* A string's text, with HTML entities unless it is markup. */
bool jinja_escape(struct jinja_run *run, struct jinja_value value, struct bytes *out) MUST_CHECK;
/* repr(real): the shortest digits that read back as the same number. */
void jinja_print_float(struct buffer *out, double real);

#endif
