/* tool_calls: the functions that two messages call. Thread: any, no state. */
#ifndef PIPELINE_COMPARE_TOOL_CALLS_H
#define PIPELINE_COMPARE_TOOL_CALLS_H

#include <jansson.h>
#include <stdbool.h>

#include "schemas/base/error.h"

enum { TOOL_CALLS_MAX = 128 };

struct tool_calls {
    bool is_given;        // either calls a function
    double names;         // F1 of the names
    double arguments;     // mean field accuracy over the calls of whoever calls more
    char difference[160]; // the first, empty where there is none
};

/* Arrays as in an OpenAI message, NULL for none. A call of the candidate with arguments that are
 * not JSON counts as a call with wrong arguments. False where there are more than TOOL_CALLS_MAX.
 */
MUST_CHECK bool tool_calls_compare(const json_t *reference, const json_t *candidate,
                                   struct tool_calls *calls_out, struct error *error);

#endif
