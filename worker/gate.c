/* gate: a list for each partition, from which mostly the first goes. */
#include "worker/gate.h"

#include "schemas/base/check.h"

void gate_init(struct gate *gate, int attempts_max, const struct gate_end *end)
{
    *gate = (struct gate){.end = *end, .attempts_max = attempts_max};
}

static enum offsets_turn ask(const struct gate *gate, const struct job *job)
{
    const struct partition *partition = job->end;
    enum offsets_turn turn =
        offsets_begin(partition->offsets, job->epoch, job->source.offset, gate->attempts_max);
    CHECK(turn != OFFSETS_RUN_ALONE || gate->alone == job);
    return turn;
}

/* Whether the job may be asked now. Its last attempt makes it the one that is alone, when it is the
 * first of its partition. */
static bool may_ask(struct gate *gate, const struct job *job, bool is_first)
{
    const struct partition *partition = job->end;
    if (gate->alone == NULL && offsets_wants_alone(partition->offsets, job->epoch,
                                                   job->source.offset, gate->attempts_max)) {
        if (!is_first) {
            return false;
        }
        gate->alone = job;
    }
    return gate->alone == NULL || (gate->alone == job && gate->inside == 0);
}

static bool is_over(enum offsets_turn turn)
{
    return turn != OFFSETS_COMMIT && turn != OFFSETS_WAIT;
}

static void give(struct gate *gate, struct job *job, enum offsets_turn turn)
{
    gate->inside++;
    gate->end.on_turn(gate->end.context, job, turn);
}

static void append(struct gate *gate, struct partition *partition, struct job *job)
{
    job->queue_next = NULL;
    if (partition->waiting_first == NULL) {
        partition->waiting_first = job;
    } else {
        partition->waiting_last->queue_next = job;
    }
    partition->waiting_last = job;
    gate->waiting++;
}

/* `before` is NULL for the first. */
static void take_out(struct gate *gate, struct partition *partition, struct job *before,
                     struct job *job)
{
    if (before == NULL) {
        partition->waiting_first = job->queue_next;
    } else {
        before->queue_next = job->queue_next;
    }
    if (partition->waiting_last == job) {
        partition->waiting_last = before;
    }
    gate->waiting--;
}

/* Whether those behind have no other answer than the job. Suspects are told apart by their
 * attempts, and those that wait for a commit together are noted together. */
static bool is_last_to_ask(const struct job *job, enum offsets_turn turn)
{
    const struct partition *partition = job->end;
    return turn == OFFSETS_WAIT || (turn == OFFSETS_COMMIT &&
                                    offsets_attempts(partition->offsets, job->source.offset) == 0);
}

/* Takes out the first of the partition's jobs whose wait is over. NULL when there is none. */
static struct job *take_ready(struct gate *gate, struct partition *partition,
                              enum offsets_turn *turn_out)
{
    struct job *before = NULL;
    for (struct job *job = partition->waiting_first; job != NULL; job = job->queue_next) {
        if (!may_ask(gate, job, before == NULL)) {
            return NULL;
        }
        *turn_out = ask(gate, job);
        if (is_over(*turn_out)) {
            take_out(gate, partition, before, job);
            return job;
        }
        if (is_last_to_ask(job, *turn_out)) {
            return NULL;
        }
        before = job;
    }
    return NULL;
}

void gate_add(struct gate *gate, struct job *job)
{
    struct partition *partition = job->end;
    CHECK(offsets_deliver(partition->offsets, job->source.offset));
    if (partition->waiting_first == NULL && may_ask(gate, job, true)) {
        enum offsets_turn turn = ask(gate, job);
        if (is_over(turn)) {
            give(gate, job, turn);
            return;
        }
    }
    append(gate, partition, job);
}

void gate_step(struct gate *gate, struct partition *partitions)
{
    for (struct partition *partition = partitions; partition != NULL && gate->waiting > 0;
         partition = partition->next) {
        struct job *job;
        enum offsets_turn turn;
        while ((job = take_ready(gate, partition, &turn)) != NULL) {
            give(gate, job, turn);
        }
    }
}

void gate_drop(struct gate *gate, struct partition *partition)
{
    while (partition->waiting_first != NULL) {
        struct job *job = partition->waiting_first;
        take_out(gate, partition, NULL, job);
        give(gate, job, OFFSETS_STALE);
    }
}

void gate_leave(struct gate *gate, const struct job *job)
{
    CHECK(gate->inside > 0);
    gate->inside--;
    if (gate->alone == job) {
        gate->alone = NULL;
    }
}
