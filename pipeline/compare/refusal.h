/* refusal: whether a text begins as refusals do. A heuristic: a list of openings in eleven
 * languages. Thread: any, no state. */
#ifndef PIPELINE_COMPARE_REFUSAL_H
#define PIPELINE_COMPARE_REFUSAL_H

#include <stdbool.h>

#include "schemas/base/bytes.h"

/* Valid UTF-8. Only its first 200 bytes are looked at. */
bool refusal_is_likely(struct bytes text);

#endif
