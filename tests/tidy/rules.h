/* The rules that look at one file at a time, one function each.
 *
 * To add a rule: write a check, name it in the table in rules.c, and give test_tidy.c a sample on
 * which it fires and one on which it does not.
 */
#ifndef TESTS_TIDY_RULES_H
#define TESTS_TIDY_RULES_H

#include "tests/tidy/findings.h"
#include "tests/tidy/source.h"

void rules_check(const struct source *source, struct findings *findings);

#endif
