/* The rules about documents: what they point to is there.
 *
 * Relative links must lead to a file. A path in backticks must exist, seen from the document or
 * from the root; a module may be named without its ending, a source by its name alone. What is no
 * path of this repository (a URL, a pattern, a file of a model folder) is told apart by its form.
 * Every `millrace COMMAND` must be a row in worker/main.c.
 */
#ifndef TESTS_TIDY_DOCS_H
#define TESTS_TIDY_DOCS_H

#include "tests/tidy/findings.h"
#include "tests/tidy/source.h"

struct docs {
    const char *root;             // folder of the repository
    const char *commands;         // text of worker/main.c
    const struct source *sources; // [sources_count] all there are
    size_t sources_count;
};

void docs_check(const struct source *document, const struct docs *docs, struct findings *findings);

#endif
