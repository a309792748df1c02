/* words: two texts as lists of numbers, one for each word, the same number for the same word.
 *
 * How a text is cut into words is a mode:
 *
 * - ROUGE: rouge-score's tokenizer: lower case, runs of a-z and 0-9; letters beyond ASCII separate.
 * - STEM: the same, words of more than three characters stemmed (porter.h).
 * - UNICODE: NFKC, lower case, runs of letters, marks and numbers; each letter of a script that is
 *   written without spaces (Han, Kana, Thai, Lao, Khmer, Burmese) is a word of its own.
 * - SQUAD: SQuAD's normalization: lower case, ASCII punctuation removed, the articles a, an and the
 *   removed, cut at white space.
 *
 * In UNICODE and SQUAD a final sigma is taken for a sigma. Newlines separate sentences.
 */
#ifndef PIPELINE_COMPARE_WORDS_H
#define PIPELINE_COMPARE_WORDS_H

#include <stdint.h>

#include "pipeline/text/unicode_form.h"
#include "schemas/base/arena.h"
#include "schemas/base/bytes.h"
#include "schemas/base/error.h"

enum words_mode { WORDS_ROUGE, WORDS_STEM, WORDS_UNICODE, WORDS_SQUAD };

/* More makes a text too large to compare. */
enum { WORDS_TEXT_BYTES_MAX = 1 << 20 };

/* A text as numbers. */
struct words {
    uint32_t *numbers; // [count]
    size_t count;
    size_t *ends; // [sentences_count] where each sentence ends in `numbers`; none is empty
    size_t sentences_count;
};

struct words_pair {
    struct words reference;
    struct words candidate;
    size_t distinct_count; // numbers are below it
};

/* What cutting needs; immutable after init, for any number of threads. */
struct words_cutter {
    struct unicode_form form;
};

void words_cutter_init(struct words_cutter *cutter);

/* Cuts two texts in valid UTF-8. Everything lives in the arena; it takes at most about 150 bytes
 * for each byte of text. */
MUST_CHECK bool words_cut(const struct words_cutter *cutter, enum words_mode mode,
                          const struct bytes texts[2], struct arena *arena,
                          struct words_pair *pair_out, struct error *error);

#endif
