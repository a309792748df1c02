/* What the rules found: one line each, "path:line: what is wrong and what to do". */
#ifndef TESTS_TIDY_FINDINGS_H
#define TESTS_TIDY_FINDINGS_H

#include <stddef.h>

#include "tests/tidy/source.h"

struct findings {
    size_t count;
    size_t used;
    char text[1 << 16]; // cut when full
};

void findings_add(struct findings *findings, const struct source *source, size_t line,
                  const char *format, ...) __attribute__((format(printf, 4, 5)));

#endif
