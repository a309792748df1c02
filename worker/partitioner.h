/* partitioner: which partition of an output topic a record goes to. Pure; thread: any. */
#ifndef WORKER_PARTITIONER_H
#define WORKER_PARTITIONER_H

#include <stdint.h>

#include "schemas/base/bytes.h"

/* The murmur2 of Kafka's Java clients (seed 0x9747b28c), as the signed number that they print. */
int32_t murmur2(struct bytes key);

/* Where Java's default partitioner puts a record with this key: (murmur2 & 0x7fffffff) % count. */
int32_t partitioner_of_key(struct bytes key, int32_t partitions_count);

/* A result goes to its source's partition number where the counts match, else by its key; without a
 * key the source's number wraps around. partitions_count > 0. */
int32_t partitioner_of_result(int32_t source_partition, int32_t source_count, struct bytes key,
                              int32_t partitions_count);

#endif
