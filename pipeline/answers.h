/* answers: the scores of two OpenAI response bodies. Of several choices the first counts.
 *
 * They are compared with the labelled reference where there is one, otherwise with the incumbent's
 * answer; where that is none either, only what the candidate's answer says by itself is scored.
 * Thread: any; a scorer is immutable.
 */
#ifndef PIPELINE_ANSWERS_H
#define PIPELINE_ANSWERS_H

#include <jansson.h>

#include "pipeline/compare/score.h"
#include "schemas/base/arena.h"
#include "schemas/base/error.h"
#include "schemas/base/records.h"

enum { ANSWERS_SCORES_MAX = SCORES_COUNT, ANSWERS_VERDICTS_MAX = VERDICTS_COUNT };

struct answers {
    const json_t *request;   // its body; NULL: not known
    struct bytes reference;  // may be absent
    const json_t *incumbent; // response body; NULL: it has not answered
    const json_t *candidate; // likewise, never NULL
};

/* Appends to lists with room for ANSWERS_SCORES_MAX and ANSWERS_VERDICTS_MAX more. Texts are in the
 * arena. False with *error, and nothing appended, where an answer is too large to be scored, or the
 * request's schema is none. */
MUST_CHECK bool answers_score(const struct scorer *scorer, const struct answers *answers,
                              struct arena *arena, struct scores *scores, struct verdicts *verdicts,
                              struct error *error);

#endif
