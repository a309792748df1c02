/* mailbox: where other threads leave sequences and wishes for the engine's thread.
 *
 * It owns the states of all sequences inside, so that a wish for a sequence that is finishing at
 * the same moment meets either its state or none. Nothing here blocks for longer than a few
 * assignments.
 */
#ifndef PIPELINE_ENGINE_MAILBOX_H
#define PIPELINE_ENGINE_MAILBOX_H

#include "pipeline/engine/sequence_state.h"

struct mailbox;

/* waiting_max: inside and not running; inside_max: inside, running ones included. */
MUST_CHECK bool mailbox_open(int waiting_max, int inside_max, struct mailbox **mailbox_out,
                             struct error *error);
void mailbox_close(struct mailbox *mailbox); // accepts NULL

/* Thread: any. False when full or stopped. */
bool mailbox_submit(struct mailbox *mailbox, struct sequence *sequence);
/* Thread: any. The first wish counts; none for a sequence that has finished. */
void mailbox_ask(struct mailbox *mailbox, struct sequence *sequence, enum finish_reason reason);
/* Thread: any. The engine's thread is to end. */
void mailbox_stop(struct mailbox *mailbox);
/* Thread: any. As the engine's thread last published it; `waiting` is up to date. */
void mailbox_get_stats(struct mailbox *mailbox, struct engine_stats *stats_out);

/* Thread: engine. Publishes the stats, waits for mail if may_wait, and takes all submitted
 * sequences as a list linked by `next`, in order. False when stopped. */
bool mailbox_collect(struct mailbox *mailbox, const struct engine_stats *stats, bool may_wait,
                     struct sequence **submitted_out);
/* Thread: engine. A sequence that mailbox_collect has given and whose end another thread asked for,
 * or NULL. It is given again until mailbox_free_state. */
struct sequence_state *mailbox_take_asked(struct mailbox *mailbox);
/* Thread: engine. The sequence has finished: its state is free, wishes no longer reach it. */
void mailbox_free_state(struct mailbox *mailbox, struct sequence_state *state);
/* Thread: engine, after mailbox_stop. Some sequence that is still inside, or NULL. */
struct sequence_state *mailbox_any_inside(struct mailbox *mailbox);

#endif
