/* partition: one assignment of one partition to this worker, from assign to the last of its jobs.
 *
 * A partition that comes back after it was revoked is a new struct with a new epoch. Jobs hold a
 * reference, so it outlives its assignment until they are released. Thread: loop.
 */
#ifndef WORKER_PARTITION_H
#define WORKER_PARTITION_H

#include <librdkafka/rdkafka.h>
#include <stdbool.h>
#include <stdint.h>

#include "worker/offsets.h"
#include "worker/share.h"

/* librdkafka delivers nothing of a paused partition, so one message is held; more would come only
 * between two wakes. */
enum {
    PARTITION_HELD_MAX = 64,
    PARTITION_WINDOW = OFFSETS_WINDOW_MAX, // look-ahead in offsets: what a commit can describe
};

struct job;

struct partition {
    char *topic;
    int32_t number;
    struct offsets *offsets; // its epoch is the assignment's
    bool is_assigned;
    bool is_paused;
    bool is_leaving;      // revoked, but its last commit is not over yet
    bool is_last_sent;    // that commit is in a transaction
    bool is_settled;      // that commit is over: nothing more is committed in this assignment
    bool is_new;          // the group had no offset for it, and nothing has come yet
    uint64_t assigned_ms; // loop time; 0 once a result was committed, or when none was waited for
    int former_owner;     // enum metric_former_owner; METRIC_FORMER_UNKNOWN at first
    bool knows_end;       // the offsets know where the partition ended when it was assigned
    int64_t end_position; // end of the partition as librdkafka last saw it; -1: unknown
    rd_kafka_message_t *held[PARTITION_HELD_MAX]; // delivered but not taken, oldest first
    size_t held_count;
    struct share_member records, bytes;       // of the worker's room; its jobs hold them
    uint64_t blocked_since_ms;                // loop time; 0: has its share
    struct job *waiting_first, *waiting_last; // for their turn (gate.h), by queue_next
    size_t references;                        // jobs, and one while assigned
    char *metadata; // reserved for the next commit, OFFSET_MAP_TEXT_MAX bytes; or NULL
    struct partition *next;
};

/* With one reference. NULL when out of memory. */
struct partition *partition_open(const char *topic, int32_t number, uint32_t epoch);
void partition_reference(struct partition *partition);
/* Closes it with the last reference. */
void partition_release(struct partition *partition);

/* Sees to the memory for the metadata of a commit. False when there is none. */
MUST_CHECK bool partition_reserve_metadata(struct partition *partition);
/* The commit's metadata in the reserved memory; librdkafka frees it with its list. */
char *partition_take_metadata(struct partition *partition, const struct offsets_commit *commit);

/* Whether a job of so many bytes fits the partition's share. */
bool partition_has_share(const struct partition *partition, size_t bytes);
void partition_take_share(struct partition *partition, size_t bytes);
void partition_give_share(struct partition *partition, size_t bytes);

/* Keeps a message for later. False when it holds as many as it may. */
bool partition_hold(struct partition *partition, rd_kafka_message_t *message);
/* Removes the oldest held message, whose owner the caller becomes. */
rd_kafka_message_t *partition_unhold(struct partition *partition);
void partition_drop_held(struct partition *partition);

#endif
