/* scheduler: decides what one model's next step computes.
 *
 * A step is planned in three passes over a bounded state, without a clock, a model or a lock:
 *   1. every sequence that decodes gets one row, and a new KV block where its position needs one;
 *      where none is idle, the running sequence that comes last in the order is preempted. One that
 *      is not ready (a mask or a stop check is pending) is skipped and keeps its blocks;
 *   2. sequences whose prompt is not computed yet get what is left of the rows, in order of
 *      admission;
 *   3. while rows are left, the next waiting sequence (look_ahead.h) is admitted, with what the
 *      prefix cache has of it and with new blocks for the rest of its tokens. Admission pauses in a
 *      step that preempted, while the blocks that all are expected to need (forecast.h) are more
 *      than there are, and while the next one shares much of its prompt with one that is being
 *      computed: then it is computed once. Nobody passes it then, so it does not starve.
 *
 * Preemption is recomputation: blocks are released (and stay in the prefix cache while they can)
 * and prompt and output are computed again later. Because the first in order is never preempted for
 * another, and any sequence fits the empty pool, there is always progress.
 *
 * The cost of a step grows with the sequences that run, not with those that wait.
 * Thread: engine.
 */
#ifndef PIPELINE_ENGINE_SCHEDULER_H
#define PIPELINE_ENGINE_SCHEDULER_H

#include "pipeline/engine/kv_blocks.h"
#include "pipeline/engine/sequence_state.h"

struct scheduler_options {
    struct kv_blocks_options blocks;
    bool enable_prefix_caching;
    bool whole_prompts;     // a sequence is admitted only into a step that takes all of its prompt
    bool enable_look_ahead; // with the prefix cache: sequences that share a prefix run together
    int tokens_max;         // prompt + output of one sequence; at most what the blocks hold
    int running_max;        // at most rows_max
    int rows_max;           // of one step
    int waiting_max;
    int different_tokens_max; // of one output
};

/* Rows of one sequence in a step: positions computed_count .. computed_count + rows - 1. */
struct step_sequence {
    struct running_sequence *running;
    int rows;
};

struct step_plan {
    struct step_sequence *sequences; // [sequences_count]
    int sequences_count;
    int rows_count;
    int preempted_count;
    int cached_count; // tokens that the prefix cache saved those admitted in this step
};

struct scheduler;

MUST_CHECK bool scheduler_open(const struct scheduler_options *options,
                               struct scheduler **scheduler_out, struct error *error);
void scheduler_close(struct scheduler *scheduler); // accepts NULL

bool scheduler_has_work(const struct scheduler *scheduler);
int scheduler_running_count(const struct scheduler *scheduler);
const struct kv_blocks *scheduler_blocks(const struct scheduler *scheduler);
/* The waiting sequence that precedes all others, or NULL. */
const struct sequence_state *scheduler_waiting_first(const struct scheduler *scheduler);

/* prompt_count must be below tokens_max. */
void scheduler_add(struct scheduler *scheduler, struct sequence_state *state);
/* Takes a sequence out, waiting or running; its blocks are idle from now on. */
void scheduler_remove(struct scheduler *scheduler, struct sequence_state *state);

/* Some sequence that is inside, or NULL. */
struct sequence_state *scheduler_any(const struct scheduler *scheduler);
/* The sequence has ended by itself; forecasts take its length into account. */
void scheduler_learn(struct scheduler *scheduler, const struct sequence *sequence);

/* The next step; valid until the next call, but for sequences that are removed. Empty only when
 * there is no work, or those that could run are not ready. */
const struct step_plan *scheduler_plan(struct scheduler *scheduler);

/* The step's rows of this sequence were computed. Publishes the blocks that they filled. */
void scheduler_advance(struct scheduler *scheduler, struct running_sequence *running, int rows);

#endif
