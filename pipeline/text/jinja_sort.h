/* jinja_sort: Python's stable sort, of pairs by their keys. */
#ifndef PIPELINE_TEXT_JINJA_SORT_H
#define PIPELINE_TEXT_JINJA_SORT_H

#include "pipeline/text/jinja_run.h"

/* Fails where two keys cannot be compared. Equal keys keep their order, also when reversed. */
bool jinja_sort(struct jinja_run *run, struct jinja_pair *pairs, size_t count,
                bool is_reversed) MUST_CHECK;

#endif
