/* comparison: a record that brings the incumbent's answer, and the candidate's answer to the same
 * request, become one comparison.
 *
 * Who the candidate is, and what became of its answer, is in the job as for a response. Every
 * comparison has the verdict `supported`: false where the candidate does not take the request (its
 * endpoint, model, parameters, length), which is none of its failures. Supported ones have the
 * verdict `answered`, and `error` says why not. Both answers together get the scores, against the
 * labelled reference where there is one, otherwise against the incumbent (answers.h); where they
 * cannot be scored, the verdict `scored` is false.
 */
#ifndef PIPELINE_COMPARISON_H
#define PIPELINE_COMPARISON_H

#include "pipeline/compare/score.h"
#include "pipeline/job.h"
#include "schemas/base/error.h"

enum comparison_class { COMPARISON_ANSWERED, COMPARISON_UNSUPPORTED, COMPARISON_FAILED };

/* Turns the job's outcome, a response or the dead letter of a candidate that failed each time,
 * into a comparison. False with *error when the job's memory does not allow it. Thread: the job's
 * owner; no loop, since it may take milliseconds. */
MUST_CHECK bool comparison_compose(struct job *job, const struct scorer *scorer,
                                   struct error *error);

/* The answer that a response holds. Times are from its turn on: how long a backlog let it wait says
 * nothing of who answered. */
struct answer answer_of_response(const struct inference_response *response);

/* Leaves the bodies of both answers and the reference out, and says so with the verdict `whole`. */
void comparison_shrink(struct job *job, const struct error *why);

enum comparison_class comparison_class(const struct comparison *comparison);

#endif
