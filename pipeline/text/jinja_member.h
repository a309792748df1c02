/* jinja_member: attributes, items and slices of values, with the sandbox's and Jinja2's rules:
 * `a.b` looks for a method first and then for a key, `a["b"]` the other way round, and what is not
 * there is undefined. */
#ifndef PIPELINE_TEXT_JINJA_MEMBER_H
#define PIPELINE_TEXT_JINJA_MEMBER_H

#include "pipeline/text/jinja_run.h"

bool jinja_attribute(struct jinja_run *run, struct jinja_value subject, struct bytes name,
                     struct jinja_value *out) MUST_CHECK;
bool jinja_item(struct jinja_run *run, struct jinja_value subject, struct jinja_value index,
                struct jinja_value *out) MUST_CHECK;

/* Each part is none where it was left out. */
struct jinja_slice {
    struct jinja_value start;
    struct jinja_value stop;
    struct jinja_value step;
};
bool jinja_slice(struct jinja_run *run, struct jinja_value subject, struct jinja_slice slice,
                 struct jinja_value *out) MUST_CHECK;

/* Jinja2's attrgetter: items along a path ("a.b", or a position); `fallback`, unless it is ABSENT,
 * replaces undefined ones. The item itself where `path` is ABSENT or none. */
bool jinja_path(struct jinja_run *run, struct jinja_value item, struct jinja_value path,
                struct jinja_value fallback, struct jinja_value *out) MUST_CHECK;

#endif
