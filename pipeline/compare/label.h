/* label: the class that an answer names, for classification.
 *
 * An answer is a bare label, a line such as "Category: Incident.", a JSON object with a member
 * label, category or class or with one member only, or, where the labels are known, any text in
 * which one of them stands as a word. Thread: any, no state.
 */
#ifndef PIPELINE_COMPARE_LABEL_H
#define PIPELINE_COMPARE_LABEL_H

#include <jansson.h>
#include <stdbool.h>

#include "schemas/base/bytes.h"

enum { LABEL_BYTES_MAX = 64, LABELS_MAX = 256 };

struct label {
    char text[LABEL_BYTES_MAX + 1]; // lower case, no quotes, no punctuation at its ends
    size_t size;                    // 0: the answer names none
};

/* Of an answer in valid UTF-8. `labels`, an array of strings of which at most LABELS_MAX count, may
 * be NULL: then the label is what stands on the first line, when that is short enough. */
struct label label_of(struct bytes answer, const json_t *labels);

bool label_equal(const struct label *a, const struct label *b);

#endif
