/* inbox: where other threads leave sequences and wishes for the engine's thread.
 *
 * It owns the states of all sequences inside, so that a wish for a sequence that is finishing at
 * the same moment meets either its state or none. Nothing here blocks for longer than a few
 * assignments.
 */
#ifndef PIPELINE_ENGINE_INBOX_H
#define PIPELINE_ENGINE_INBOX_H

#include "pipeline/engine/sequence_state.h"

struct inbox;

/* waiting_max: inside and not running; inside_max: inside, running ones included. */
MUST_CHECK bool inbox_open(int waiting_max, int inside_max, struct inbox **inbox_out,
                           struct error *error);
void inbox_close(struct inbox *inbox); // accepts NULL

/* Thread: any. False when full or stopped. */
bool inbox_submit(struct inbox *inbox, struct sequence *sequence);
/* Thread: any. The first wish counts, but one for all cases replaces one with `only_waiting`; none
 * for a sequence that has finished. */
void inbox_ask(struct inbox *inbox, struct sequence *sequence, enum finish_reason reason,
               bool only_waiting);
/* Thread: any. The present or the next inbox_collect does not wait. */
void inbox_wake(struct inbox *inbox);
/* Thread: any. The engine's thread is to end. */
void inbox_stop(struct inbox *inbox);
/* Thread: any. As the engine's thread last published it; `waiting` is up to date. */
void inbox_get_stats(struct inbox *inbox, struct engine_stats *stats_out);

/* Thread: engine. Publishes the stats, waits for mail if may_wait, and takes all submitted
 * sequences as a list linked by `next`, in order. False when stopped. */
bool inbox_collect(struct inbox *inbox, const struct engine_stats *stats, bool may_wait,
                   struct sequence **submitted_out);
/* Thread: engine. A sequence that inbox_collect has given and whose end another thread asked for,
 * or NULL. It is given again until inbox_free_state. */
struct sequence_state *inbox_take_asked(struct inbox *inbox, enum finish_reason *reason_out);
/* Thread: engine. The sequence has finished: its state is free, wishes no longer reach it. */
void inbox_free_state(struct inbox *inbox, struct sequence_state *state);
/* Thread: engine, after inbox_stop. Some sequence that is still inside, or NULL. */
struct sequence_state *inbox_any_inside(struct inbox *inbox);

#endif
