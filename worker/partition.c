/* partition: a counted struct. */
#include "worker/partition.h"

#include <stdlib.h>
#include <string.h>

#include "schemas/base/check.h"

struct partition *partition_open(const char *topic, int32_t number, uint32_t epoch)
{
    struct partition *partition = calloc(1, sizeof *partition);
    if (partition == NULL) {
        return NULL;
    }
    partition->topic = strdup(topic);
    partition->offsets = offsets_open(PARTITION_WINDOW);
    if (partition->topic == NULL || partition->offsets == NULL) {
        free(partition->topic);
        offsets_close(partition->offsets);
        free(partition);
        return NULL;
    }
    offsets_assign(partition->offsets, epoch);
    partition->number = number;
    partition->is_assigned = true;
    partition->end_position = -1;
    partition->references = 1;
    return partition;
}

void partition_reference(struct partition *partition)
{
    partition->references++;
}

void partition_release(struct partition *partition)
{
    CHECK(partition->references > 0);
    if (--partition->references > 0) {
        return;
    }
    CHECK(partition->waiting_first == NULL); // each has a reference
    partition_drop_held(partition);
    offsets_close(partition->offsets);
    free(partition->metadata);
    free(partition->topic);
    free(partition);
}

bool partition_reserve_metadata(struct partition *partition)
{
    if (partition->metadata == NULL) {
        partition->metadata = malloc(OFFSET_MAP_TEXT_MAX);
    }
    return partition->metadata != NULL;
}

char *partition_take_metadata(struct partition *partition, const struct offsets_commit *commit)
{
    CHECK(partition->metadata != NULL && commit->metadata_size <= OFFSET_MAP_TEXT_MAX);
    char *metadata = memcpy(partition->metadata, commit->metadata, commit->metadata_size);
    partition->metadata = NULL;
    return metadata;
}

bool partition_has_share(const struct partition *partition, size_t bytes)
{
    return share_allows(&partition->records, 1) && share_allows(&partition->bytes, bytes);
}

void partition_take_share(struct partition *partition, size_t bytes)
{
    share_take(&partition->records, 1);
    share_take(&partition->bytes, bytes);
}

void partition_give_share(struct partition *partition, size_t bytes)
{
    share_give(&partition->records, 1);
    share_give(&partition->bytes, bytes);
}

bool partition_hold(struct partition *partition, rd_kafka_message_t *message)
{
    if (partition->held_count == PARTITION_HELD_MAX) {
        return false;
    }
    partition->held[partition->held_count++] = message;
    return true;
}

rd_kafka_message_t *partition_unhold(struct partition *partition)
{
    CHECK(partition->held_count > 0);
    rd_kafka_message_t *message = partition->held[0];
    partition->held_count--;
    memmove(&partition->held[0], &partition->held[1],
            partition->held_count * sizeof partition->held[0]);
    return message;
}

void partition_drop_held(struct partition *partition)
{
    while (partition->held_count > 0) {
        rd_kafka_message_destroy(partition->held[--partition->held_count]);
    }
}
