/* The rules that look at the whole tree: a .c file includes its own header first, and a module of
 * the product has a test, directly or through the module of its folder that uses it.
 */
#ifndef TESTS_TIDY_MODULES_H
#define TESTS_TIDY_MODULES_H

#include <stddef.h>

#include "tests/tidy/findings.h"
#include "tests/tidy/source.h"

enum { MODULES_SOURCES_MAX = 2000 };

/* One caller at a time. More sources than the maximum are a finding. */
void modules_check(const struct source *sources, size_t count, struct findings *findings);

#endif
