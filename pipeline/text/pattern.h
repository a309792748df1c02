/* pattern: a regular expression of a tokenizer.json (Oniguruma's syntax) or a plain string,
 * searched for in text.
 *
 * Immutable after open; every call has its own match data. What PCRE2 understands differently from
 * Oniguruma (\s, \w, ^ and $) is rewritten; what cannot be is refused. Matching is bounded by
 * PCRE2's match limit.
 */
#ifndef PIPELINE_TEXT_PATTERN_H
#define PIPELINE_TEXT_PATTERN_H

#include <stdbool.h>
#include <stddef.h>

#include "schemas/base/bytes.h"
#include "schemas/base/error.h"

struct pattern;

MUST_CHECK bool pattern_open(struct bytes expression, bool is_regex, struct pattern **pattern_out,
                             struct error *error);
void pattern_close(struct pattern *pattern); // accepts NULL

/* The memory that a search needs, reusable for any pattern. Zeroed is valid. */
struct pattern_scratch {
    void *match_data;
};
void pattern_scratch_close(struct pattern_scratch *scratch);

struct pattern_match {
    size_t start; // SIZE_MAX: no match
    size_t end;
};

/* The first match at or after `from` in valid UTF-8. */
MUST_CHECK bool pattern_find(const struct pattern *pattern, struct pattern_scratch *scratch,
                             struct bytes text, size_t from, struct pattern_match *match_out,
                             struct error *error);

#endif
