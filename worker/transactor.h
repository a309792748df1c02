/* transactor: carries one Kafka transaction at a time to its end.
 *
 * Begin, produce all, wait for the reports, send the offsets, commit. librdkafka says of each error
 * what to do: the same call again, abort, or (fatal) a new producer, which begins with
 * init_transactions under the same transactional.id.
 *
 * Whether a transaction was committed is never guessed:
 * - Only our call to commit makes a broker commit. Before it was made, an abort that worked, or an
 *   init_transactions of a new producer that worked, or the broker's own timeout, all mean ABORTED.
 * - Once it was made, success means COMMITTED. After anything else (the answer got lost, the
 *   connection broke, the broker's timeout struck, another epoch fenced us) it may have been
 *   executed or not. It is then called again until librdkafka knows, or is fatal. After a fatal
 *   error a new producer's init_transactions makes the coordinator finish: it aborts what is open,
 *   or completes what was committed, before it answers, and raises the epoch, so that a late commit
 *   of the old producer is refused. From then on the outcome is fixed, only unknown to us: UNKNOWN.
 *   It is in the group's committed offsets, which were part of the transaction: if they are what we
 *   sent, all of it was committed, otherwise nothing was. The read asks for stable offsets, so it
 *   cannot overtake a commit that is still being written.
 * - Who dies here leaves that to the partition's next owner, whose read of the committed offsets
 *   waits for the same.
 *
 * A broker that is away for longer than transaction.timeout.ms has aborted the transaction by
 * itself and raised the epoch; librdkafka shows that as being fenced. A fence of a transaction
 * younger than its timeout is another process with our worker.id: the worker stops.
 *
 * Thread: the committer's, all of it.
 */
#ifndef WORKER_TRANSACTOR_H
#define WORKER_TRANSACTOR_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "schemas/base/error.h"
#include "worker/config.h"
#include "worker/producer.h"
#include "worker/transaction.h"

/* What the committer lends it. */
struct transactor_host {
    void (*sleep)(void *context, int timeout_ms); // ends early when the committer is woken
    void *context;
    const _Atomic bool *is_abandoning; // nothing waits for a broker any more
    _Atomic bool *is_stuck;
};

struct transactor {
    const struct config *config; // borrowed
    struct producer *producer;   // transactional; borrowed, never NULL
    struct transactor_host host;
    uint64_t timeout_ns; // the broker's, for one transaction
    uint64_t begun_ns;
    bool is_commit_called;
    int aborts_count; // in a row
    bool is_initialized;
    struct error error; // why no transaction can be carried out
};

void transactor_init(struct transactor *transactor, const struct config *config,
                     struct producer *producer, struct transactor_host host);

/* The first init_transactions, which also fences a predecessor of the same worker.id; waits for at
 * most timeout_ms. ERROR_NOT_FOUND: the brokers have no transactions. */
MUST_CHECK bool transactor_start(struct transactor *transactor, int timeout_ms,
                                 struct error *error);

/* Carries the transaction to its end; every delivery comes back in a final state, or as
 * DELIVERY_ENCODED to be sent again. */
void transactor_run(struct transactor *transactor, struct transaction *transaction);

#endif
