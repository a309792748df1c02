/* committer: publishes outcomes on a thread of its own, one batch or transaction at a time.
 *
 * At least once, the loop posts deliveries; the thread takes what is there as one batch, sends it,
 * waits until the broker has acknowledged all of it, and gives the deliveries back, each in its
 * final state. Only then does the loop mark their offsets as finished.
 *
 *     EMPTY -> SENDING -> WAITING -> (RETRYING, REPLACING -> SENDING)* -> handed back -> EMPTY
 *
 * While no broker answers, the batch waits, and so does what is posted meanwhile: the credits at
 * intake bound it.
 *
 * Exactly once, the loop posts one transaction, and another one only after it got it back
 * (transactor.h).
 */
#ifndef WORKER_COMMITTER_H
#define WORKER_COMMITTER_H

#include <stdbool.h>
#include <stddef.h>

#include "schemas/base/error.h"
#include "worker/config.h"
#include "worker/delivery.h"
#include "worker/transaction.h"

struct committer;

struct committer_wake {
    /* There is something to take. Thread: the committer's; must be quick. */
    void (*on_done)(void *context);
    void *context;
};

/* At most `inside_max` deliveries are posted and not yet taken back. Exactly once, it waits for the
 * broker's transactions to begin, for half a minute; ERROR_NOT_FOUND: the broker has none. */
MUST_CHECK bool committer_open(const struct config *config, bool is_exactly_once, size_t inside_max,
                               struct committer_wake wake, struct committer **committer_out,
                               struct error *error);
/* Abandons what is inside and ends the thread; what it gave back can still be taken. Thread: loop.
 */
void committer_stop(struct committer *committer);
/* Stops it if need be. Accepts NULL. Thread: loop. */
void committer_close(struct committer *committer);

/* Exactly once. Thread: loop, both. NULL: it is not done yet. */
void committer_post_transaction(struct committer *committer, struct transaction *transaction);
struct transaction *committer_take_transaction(struct committer *committer);

/* At least once. Thread: loop, both. */
void committer_post(struct committer *committer, struct delivery *delivery);
size_t committer_take(struct committer *committer, struct delivery **deliveries_out,
                      size_t deliveries_max);

/* Thread: loop. From now on nothing waits for a broker any more: what is not acknowledged comes
 * back abandoned.
 */
void committer_abandon(struct committer *committer);

/* Whether deliveries wait because no broker takes them. Thread: any. */
bool committer_is_stuck(const struct committer *committer);

#endif
