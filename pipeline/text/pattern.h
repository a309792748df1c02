/* pattern: a regular expression of a tokenizer.json (Oniguruma's syntax) or of a JSON Schema
 * (ECMA-262's), or a plain string, searched for in text.
 *
 * Immutable after open; every call has its own match data. What PCRE2 understands differently from
 * Oniguruma (\s, \w, ^ and $) is rewritten; what cannot be is refused. Matching is bounded by
 * PCRE2's match limit. Debian 12's PCRE2 has the classes of Unicode 14: characters of 15 and 16 are
 * in none of them here, while Hugging Face tokenizers know them (word_scanner.h does, too).
 */
#ifndef PIPELINE_TEXT_PATTERN_H
#define PIPELINE_TEXT_PATTERN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "schemas/base/bytes.h"
#include "schemas/base/error.h"

struct pattern;

MUST_CHECK bool pattern_open(struct bytes expression, bool is_regex, struct pattern **pattern_out,
                             struct error *error);
/* A regular expression in ECMA-262's syntax, which JSON Schema has, from someone who is not
 * trusted: a search takes a million steps at most. What PCRE2 has beyond ECMA-262 is understood
 * too. */
MUST_CHECK bool pattern_open_ecma(struct bytes expression, struct pattern **pattern_out,
                                  struct error *error);
void pattern_close(struct pattern *pattern); // accepts NULL

/* The plain string that is searched for; .data is NULL for a regular expression. */
struct bytes pattern_literal(const struct pattern *pattern);

/* The memory that a search needs, reusable for any pattern. Zeroed is valid. */
struct pattern_scratch {
    void *match_data;
    void *limits; // of pattern_search
};
void pattern_scratch_close(struct pattern_scratch *scratch);

struct pattern_match {
    size_t start; // SIZE_MAX: no match
    size_t end;
};

/* A walk over the matches in one text. Begin with PATTERN_WALK_BEGIN. */
struct pattern_walk {
    size_t from;     // where the search goes on
    size_t last_end; // of the last match; SIZE_MAX before the first
};

#define PATTERN_WALK_BEGIN ((struct pattern_walk){0, SIZE_MAX})

/* The next match in valid UTF-8. A match may be empty, but not where the last one ended. */
MUST_CHECK bool pattern_next(const struct pattern *pattern, struct pattern_scratch *scratch,
                             struct bytes text, struct pattern_walk *walk,
                             struct pattern_match *match_out, struct error *error);

enum pattern_found { PATTERN_FOUND, PATTERN_ABSENT, PATTERN_STEPS_EXCEEDED, PATTERN_FAILED };

/* Whether a regular expression matches anywhere in valid UTF-8, in at most `steps_max` steps of
 * PCRE2. Failed: out of memory, or past its own limits of depth and heap. */
enum pattern_found pattern_search(const struct pattern *pattern, struct pattern_scratch *scratch,
                                  struct bytes text, uint32_t steps_max);

#endif
