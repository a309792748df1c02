/* The rules of the code base that a program can check, one function each, over one file or over the
 * whole tree. A finding says the file, the line, what is wrong and what to do instead.
 *
 * To add a rule: write a check, name it in the table in rules.c, and give test_tidy.c a sample on
 * which it fires and one on which it does not.
 */
#ifndef TESTS_TIDY_RULES_H
#define TESTS_TIDY_RULES_H

#include <stddef.h>

#include "tests/tidy/source.h"

enum { RULES_SOURCES_MAX = 2000 };

struct findings {
    size_t count;
    size_t used;
    char text[1 << 16]; // one finding a line, cut when full
};

/* Each rule that looks at one file. */
void rules_check_source(const struct source *source, struct findings *findings);

/* The rules that look at the tree of at most RULES_SOURCES_MAX files: own headers, tests. */
void rules_check_tree(const struct source *sources, size_t count, struct findings *findings);

#endif
