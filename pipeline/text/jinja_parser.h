/* jinja_parser: template text to a syntax tree. */
#ifndef PIPELINE_TEXT_JINJA_PARSER_H
#define PIPELINE_TEXT_JINJA_PARSER_H

#include "pipeline/text/jinja_node.h"
#include "schemas/base/error.h"

/* The list of statements, in the arena; NULL for an empty template. */
bool jinja_parse(struct arena *arena, struct bytes source, struct jinja_node **out,
                 struct error *error) MUST_CHECK;

#endif
