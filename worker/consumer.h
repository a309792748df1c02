/* consumer: brings the records of the group's partitions to the loop, and commits what is finished.
 *
 * librdkafka's consumer queue wakes the loop through a pipe; each wake takes a bounded number of
 * records and then yields. What finds no room is held, and librdkafka's queue is left alone for a
 * moment; only when that lasts are partitions paused, because pausing drops what librdkafka has
 * prefetched. They resume when the end says that there is room for a good many. The queue is polled
 * at least twice a second in every state, or the group would give the worker up.
 *
 *     poll -> end.on_record -> TAKEN: offsets know it, its job refers to the partition (gate.h)
 *                           -> else held; tried again on consumer_resume and on each tick
 *     at least once: consumer_finish -> offsets -> commit of the lowest unfinished offset, a few
 *     times a second; exactly once: consumer_snapshot -> transaction -> consumer_settle
 *
 * Thread: loop, all of it.
 */
#ifndef WORKER_CONSUMER_H
#define WORKER_CONSUMER_H

#include <librdkafka/rdkafka.h>
#include <uv.h>

#include "schemas/base/error.h"
#include "worker/config.h"
#include "worker/partition.h"

struct consumer;

enum intake_result {
    INTAKE_TAKEN,
    INTAKE_FULL,    // no room for it now: nothing else goes before it
    INTAKE_LATER,   // this record has to wait; others need not
    INTAKE_BLOCKED, // the partition has its share
};

struct consumer_end {
    /* A record. Taken: it is delivered to the partition's offsets, and lives on as a job with a
     * reference to the partition (partition_reference). The message stays the consumer's. */
    enum intake_result (*on_record)(void *context, struct partition *partition,
                                    const rd_kafka_message_t *message);
    /* Records may have come, or a commit may be over: what waits for its turn may ask again. */
    void (*on_step)(void *context);
    /* Whether there is room for so many records that paused partitions should resume. */
    bool (*has_ample_room)(void *context);
    /* The partition is about to be given up: finish what can be finished at once, cancel the rest.
     * Exactly once, the next snapshot has its last commit. */
    void (*on_revoke)(void *context, struct partition *partition);
    /* The client can go on no longer. */
    void (*on_failure)(void *context, const struct error *error);
    void *context;
};

MUST_CHECK bool consumer_open(uv_loop_t *loop, const struct config *config,
                              const struct consumer_end *end, struct consumer **consumer_out,
                              struct error *error);
/* From now on offsets are committed with results only. Before consumer_start. */
void consumer_use_transactions(struct consumer *consumer);
/* Subscribes to the configured topics; records come from now on. */
MUST_CHECK bool consumer_start(struct consumer *consumer, struct error *error);

/* The record of the partition at `offset` has its outcome, published. */
void consumer_finish(struct consumer *consumer, struct partition *partition, int64_t offset);
/* Exactly once. `is_last`: nothing runs any more, and nothing will before the group is left.
 * Whether the group does not know yet what these partitions have done. */
bool consumer_needs_commit(const struct consumer *consumer, bool is_last);
/* Whether records wait for their turn: what there is to commit lets some of them go. */
bool consumer_has_waiting(const struct consumer *consumer);
/* Whether a partition waits for its last commit before it is given up. */
bool consumer_is_leaving(const struct consumer *consumer);
/* The group's metadata as a member; brokers refuse offsets with that of another membership. NULL
 * when this worker is no member now. The caller's. */
rd_kafka_consumer_group_metadata_t *consumer_membership(const struct consumer *consumer);
/* Makes sure that the next snapshot has the memory that it needs. False: there is none now. */
MUST_CHECK bool consumer_reserve_snapshot(struct consumer *consumer);
/* What to commit together with the results that are included in it (offsets_include). The caller's;
 * no other snapshot is unsettled, and memory is reserved. */
rd_kafka_topic_partition_list_t *consumer_snapshot(struct consumer *consumer, bool is_last);
/* The snapshot was committed, or will never be. */
void consumer_settle(struct consumer *consumer, const rd_kafka_topic_partition_list_t *offsets,
                     bool is_committed);
/* A job of the partition has ended; gives back what partition_take_share has taken for it. */
void consumer_give_share(struct consumer *consumer, struct partition *partition, size_t bytes);
/* There may be room again, or a record need not wait any longer. Cheap; acts on the loop's next
 * turn. */
void consumer_resume(struct consumer *consumer);

/* No more records; commits go on. */
void consumer_drain(struct consumer *consumer);
/* Commits, leaves the group and closes, all within about timeout_ms. False when librdkafka hangs or
 * must not be destroyed: its thread stays behind, so the process must end without running
 * destructors. The loop must run on: the struct frees itself when its handles are closed. */
bool consumer_close(struct consumer *consumer, int timeout_ms);

/* What is assigned, a list; NULL: nothing. */
struct partition *consumer_assignment(const struct consumer *consumer);
/* For the look-up of topics. */
rd_kafka_t *consumer_client(const struct consumer *consumer);
/* Thread: any, the next two. Whether the group has answered, with partitions or without. */
bool consumer_is_assigned(const struct consumer *consumer);
/* Whether a broker could be reached a moment ago. */
bool consumer_has_broker(const struct consumer *consumer);
size_t consumer_partitions(const struct consumer *consumer);
size_t consumer_partitions_paused(const struct consumer *consumer);

#endif
