/* consumer: what its files share. consumer.c has its life and the flow of records, consumer_group.c
 * assignments, consumer_commit.c commits. */
#ifndef WORKER_CONSUMER_INTERNAL_H
#define WORKER_CONSUMER_INTERNAL_H

#include <stdatomic.h>

#include "worker/consumer.h"
#include "worker/group_read.h"

/* librdkafka makes the next change when the one before is answered, or lost. */
enum { REBALANCES_MAX = 8 };

/* A change of the assignment that is not answered yet. */
struct rebalance {
    bool is_assign;
    bool is_begun;
    rd_kafka_topic_partition_list_t *list;
    uint64_t until_ms;       // a revoke waits no longer
    struct group_read *read; // of an assignment
};

struct consumer {
    uv_loop_t *loop;
    const struct config *config; // borrowed
    struct consumer_end end;
    rd_kafka_t *client;
    rd_kafka_queue_t *queue;

    int wake_fds[2]; // pipe: librdkafka writes, the loop reads
    uv_poll_t wake;
    uv_idle_t more; // active while the queue may hold more than one wake takes
    uv_timer_t tick;
    int handles_open;

    struct partition *partitions; // assigned ones
    size_t partitions_count;
    struct share records, bytes;                 // of the partitions
    struct partition *next_in_line;              // holds what found no room at all; others wait
    struct rebalance rebalances[REBALANCES_MAX]; // oldest first
    size_t rebalances_count;
    uint32_t epoch; // of the latest assignment
    bool is_exactly_once;
    bool is_subscribed;
    bool is_closing;
    _Atomic bool is_assigned;
    _Atomic bool has_broker; // to any broker, by the latest statistics

    bool is_full; // the queue is left alone
    uint64_t full_since_ms;
    bool wants_retry; // of what is held
    bool is_draining;

    // At least once.
    rd_kafka_queue_t *reports;                   // of commits
    rd_kafka_topic_partition_list_t *committing; // has not been reported on yet; NULL: none
    uint64_t commit_started_ns;
    uint64_t commit_at_ms; // not before
    uint64_t hurry_at_ms;  // likewise, when records wait for it
    size_t finished_count; // since the last commit
};

struct partition *consumer_find(const struct consumer *consumer, const char *topic, int32_t number);
/* Whether the partition has so much room again that it is worth to go on with it. */
bool consumer_has_share(const struct consumer *consumer, const struct partition *partition);

/* Answers what can be answered of the group's changes; never waits. */
void consumer_step_rebalances(struct consumer *consumer);
void consumer_drop_rebalances(struct consumer *consumer);

void consumer_commits_open(struct consumer *consumer);
void consumer_commits_close(struct consumer *consumer);

/* Registers the callbacks of the group. */
void consumer_group_configure(rd_kafka_conf_t *conf);
/* Commits what is finished if it is time to; never waits. */
void consumer_commit_some(struct consumer *consumer);
/* Commits what is finished and waits for the broker, at most timeout_ms; `is_last` as in
 * consumer_snapshot. False when something is left. */
bool consumer_commit_now(struct consumer *consumer, bool is_last, int timeout_ms);

#endif
