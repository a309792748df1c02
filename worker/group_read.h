/* group_read: what a group has committed for some partitions, read without blocking.
 *
 * Only stable offsets: where a transaction that commits offsets is not over yet, the broker says so
 * and the read is made again, until it is over. So whoever starts from what was read starts after
 * everything that is or will be visible. Thread: loop.
 */
#ifndef WORKER_GROUP_READ_H
#define WORKER_GROUP_READ_H

#include <librdkafka/rdkafka.h>
#include <stdbool.h>
#include <stdint.h>

struct group_read;

/* Reads for the partitions of `list` (copied); repeats on errors for ever. `wake_fd` gets a byte
 * when an answer is there. NULL when out of memory. */
struct group_read *group_read_open(rd_kafka_t *client, const char *group,
                                   const rd_kafka_topic_partition_list_t *list, int wake_fd);
/* Accepts NULL. */
void group_read_close(struct group_read *read);

/* Never waits; to be called a few times a second, and after a byte on wake_fd. The result is there
 * from the first time that this is not NULL: each partition that was asked for, with its offset (or
 * a negative one: nothing is committed) and metadata. It is the read's. */
const rd_kafka_topic_partition_list_t *group_read_step(struct group_read *read, uint64_t now_ms);

#endif
