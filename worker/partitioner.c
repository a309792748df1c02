/* Partitioner: murmur2 as org.apache.kafka.common.utils.Utils has it, bit for bit, because results
 * must meet what Java clients wrote with the same key. */
#include "worker/partitioner.h"

#include "schemas/base/check.h"

static uint32_t read_u32_le(const unsigned char *data)
{
    return (uint32_t)data[0] | (uint32_t)data[1] << 8 | (uint32_t)data[2] << 16 |
           (uint32_t)data[3] << 24;
}

int32_t murmur2(struct bytes key)
{
    const uint32_t multiplier = 0x5bd1e995;
    const unsigned char *data = (const unsigned char *)key.data;
    size_t blocks_bytes = key.size & ~(size_t)3;
    uint32_t hash = UINT32_C(0x9747b28c) ^ (uint32_t)key.size;
    for (size_t i = 0; i < blocks_bytes; i += 4) {
        uint32_t block = read_u32_le(data + i) * multiplier;
        block = (block ^ block >> 24) * multiplier;
        hash = hash * multiplier ^ block;
    }
    size_t tail_bytes = key.size - blocks_bytes;
    if (tail_bytes > 0) {
        for (size_t i = tail_bytes; i-- > 0;) {
            hash ^= (uint32_t)data[blocks_bytes + i] << (8 * i);
        }
        hash *= multiplier;
    }
    hash = (hash ^ hash >> 13) * multiplier;
    return (int32_t)(hash ^ hash >> 15);
}

int32_t partitioner_of_key(struct bytes key, int32_t partitions_count)
{
    CHECK(partitions_count > 0);
    return (int32_t)((uint32_t)murmur2(key) & UINT32_C(0x7fffffff)) % partitions_count;
}

int32_t partitioner_of_result(int32_t source_partition, int32_t source_count, struct bytes key,
                              int32_t partitions_count)
{
    CHECK(partitions_count > 0 && source_partition >= 0);
    if (source_count == partitions_count && source_partition < partitions_count) {
        return source_partition;
    }
    if (key.data != NULL) {
        return partitioner_of_key(key, partitions_count);
    }
    return source_partition % partitions_count;
}
