/* stop_rule: finds the stop strings of a request in text that grows piece by piece.
 *
 * The text ends before the stop string that is complete first; of several complete at the same
 * byte, before the longest. So the answer does not depend on how the text was cut into pieces, and
 * a stop string may span any number of them. Belongs to one thread at a time.
 */
#ifndef PIPELINE_TEXT_STOP_RULE_H
#define PIPELINE_TEXT_STOP_RULE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "schemas/base/arena.h"
#include "schemas/base/bytes.h"
#include "schemas/base/error.h"

enum {
    STOP_STRINGS_MAX = 16, // OpenAI allows 4; generation_config.json may add more
    STOP_STRING_SIZE_MAX = 4096,
};

struct stop_string {
    struct bytes text;
    const uint16_t *fallback; // [text.size] Knuth-Morris-Pratt: the longest border of each prefix
    size_t matched;           // bytes of `text` that the end of the text so far has
};

struct stop_rule {
    struct stop_string strings[STOP_STRINGS_MAX];
    size_t count;
    size_t text_size; // bytes fed
    size_t cut;       // where the text ends; SIZE_MAX until a stop string is complete
};

/* The texts are copied to the arena. No strings at all is valid: then nothing stops. */
MUST_CHECK bool stop_rule_init(struct stop_rule *rule, struct arena *arena,
                               const struct bytes *strings, size_t count, struct error *error);

/* Takes the next piece of text. True when a stop string is complete; the rest is not looked at. */
bool stop_rule_feed(struct stop_rule *rule, struct bytes piece);

static inline bool stop_rule_has_stopped(const struct stop_rule *rule)
{
    return rule->cut != SIZE_MAX;
}

/* How much of the text from its beginning may be published: up to the cut, or all but the longest
 * end that may yet become a stop string. At the end of generation without a stop, all of it may.
 * Always between characters where pieces and stop strings are valid UTF-8. */
size_t stop_rule_safe_size(const struct stop_rule *rule);

#endif
