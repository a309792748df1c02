/* transaction: a queue, and what was taken from it. */
#include "worker/transaction.h"

#include <stdlib.h>
#include <string.h>

#include "pipeline/job.h"
#include "schemas/base/check.h"
#include "worker/partition.h"

bool transaction_open(const struct transaction_limits *limits, struct transaction **transaction_out,
                      struct error *error)
{
    CHECK(limits->records_max > 0);
    struct transaction *transaction = calloc(1, sizeof *transaction);
    struct delivery **deliveries = calloc(limits->records_max, sizeof(struct delivery *));
    if (transaction == NULL || deliveries == NULL) {
        free(transaction);
        free(deliveries);
        return error_set(error, ERROR_FATAL, NULL, NULL, "out of memory for transactions");
    }
    transaction->limits = *limits;
    transaction->deliveries = deliveries;
    transaction->count_max = limits->records_max;
    *transaction_out = transaction;
    return true;
}

void transaction_close(struct transaction *transaction)
{
    if (transaction != NULL) {
        CHECK(transaction->count == 0 && transaction->first == NULL);
        transaction_end(transaction);
        free(transaction->deliveries);
        free(transaction);
    }
}

static size_t bytes_in(const struct delivery *delivery)
{
    return delivery->key.size + delivery->value.size;
}

void transaction_add(struct transaction *transaction, struct delivery *delivery, uint64_t now_ms)
{
    delivery->next = NULL;
    if (transaction->first == NULL) {
        transaction->first = delivery;
        transaction->waiting_since_ms = now_ms;
    } else {
        transaction->last->next = delivery;
    }
    transaction->last = delivery;
    transaction->waiting_count++;
    transaction->waiting_bytes += bytes_in(delivery);
}

static void prepend(struct transaction *transaction, struct delivery *delivery)
{
    delivery->next = transaction->first;
    transaction->first = delivery;
    if (transaction->last == NULL) {
        transaction->last = delivery;
    }
    transaction->waiting_count++;
    transaction->waiting_bytes += bytes_in(delivery);
}

static struct delivery *take_first(struct transaction *transaction)
{
    struct delivery *delivery = transaction->first;
    transaction->first = delivery->next;
    if (transaction->first == NULL) {
        transaction->last = NULL;
    }
    delivery->next = NULL;
    transaction->waiting_count--;
    transaction->waiting_bytes -= bytes_in(delivery);
    return delivery;
}

bool transaction_is_due(const struct transaction *transaction, uint64_t now_ms)
{
    const struct transaction_limits *limits = &transaction->limits;
    return transaction->waiting_count >= limits->records_max ||
           transaction->waiting_bytes >= limits->bytes_max ||
           (transaction->waiting_count > 0 &&
            now_ms - transaction->waiting_since_ms >= limits->interval_ms);
}

/* False when its assignment is over, or has said its last word. */
static bool include(const struct delivery *delivery)
{
    const struct job *job = delivery->job;
    const struct partition *partition = job->end;
    return !partition->is_settled && offsets_is_current(partition->offsets, job->epoch) &&
           offsets_include(partition->offsets, job->epoch, job->source.offset);
}

void transaction_fill(struct transaction *transaction,
                      void (*drop)(void *context, struct delivery *delivery), void *context)
{
    CHECK(transaction->state == TRANSACTION_IDLE && transaction->count == 0);
    size_t bytes = 0;
    while (transaction->first != NULL && transaction->count < transaction->count_max) {
        size_t size = bytes_in(transaction->first);
        if (transaction->count > 0 && size > transaction->limits.bytes_max - bytes) {
            break;
        }
        struct delivery *delivery = take_first(transaction);
        if (include(delivery)) {
            transaction->deliveries[transaction->count++] = delivery;
            bytes = size < transaction->limits.bytes_max - bytes ? bytes + size
                                                                 : transaction->limits.bytes_max;
        } else {
            drop(context, delivery);
        }
    }
}

void transaction_return(struct transaction *transaction, uint64_t now_ms)
{
    if (transaction->count > 0) {
        transaction->count_max = transaction->count > 1 ? transaction->count / 2 : 1;
    }
    while (transaction->count > 0) {
        prepend(transaction, transaction->deliveries[--transaction->count]);
    }
    transaction->waiting_since_ms = now_ms;
}

void transaction_complete(struct transaction *transaction,
                          void (*done)(void *context, struct delivery *delivery), void *context)
{
    size_t records_max = transaction->limits.records_max;
    size_t count = transaction->count;
    transaction->count_max =
        transaction->count_max < records_max / 2 ? transaction->count_max * 2 : records_max;
    transaction->count = 0;
    for (size_t i = 0; i < count; i++) {
        done(context, transaction->deliveries[i]);
    }
}

void transaction_clear(struct transaction *transaction,
                       void (*drop)(void *context, struct delivery *delivery), void *context)
{
    while (transaction->count > 0) {
        drop(context, transaction->deliveries[--transaction->count]);
    }
    while (transaction->first != NULL) {
        drop(context, take_first(transaction));
    }
}

void transaction_end(struct transaction *transaction)
{
    CHECK(transaction->count == 0);
    if (transaction->offsets != NULL) {
        rd_kafka_topic_partition_list_destroy(transaction->offsets);
        transaction->offsets = NULL;
    }
    if (transaction->group != NULL) {
        rd_kafka_consumer_group_metadata_destroy(transaction->group);
        transaction->group = NULL;
    }
    transaction->state = TRANSACTION_IDLE;
}

static bool is_equal(const rd_kafka_topic_partition_t *left,
                     const rd_kafka_topic_partition_t *right)
{
    return left->offset == right->offset && left->metadata_size == right->metadata_size &&
           memcmp(left->metadata, right->metadata, left->metadata_size) == 0;
}

/* Whether the group has committed what the transaction sent for the partition. */
static bool is_in_group(const struct transaction *transaction, const char *topic, int32_t number,
                        const rd_kafka_topic_partition_list_t *committed)
{
    const rd_kafka_topic_partition_t *sent =
        rd_kafka_topic_partition_list_find(transaction->offsets, topic, number);
    const rd_kafka_topic_partition_t *found = rd_kafka_topic_partition_list_find(
        (rd_kafka_topic_partition_list_t *)(uintptr_t)committed, topic, number);
    return sent != NULL && found != NULL && is_equal(sent, found);
}

bool transaction_was_committed(const struct transaction *transaction,
                               const rd_kafka_topic_partition_list_t *committed)
{
    for (size_t i = 0; i < transaction->count; i++) {
        const struct partition *partition = transaction->deliveries[i]->job->end;
        if (is_in_group(transaction, partition->topic, partition->number, committed)) {
            return true;
        }
    }
    bool are_all_in = transaction->count == 0;
    for (int i = 0; i < transaction->offsets->cnt; i++) {
        const rd_kafka_topic_partition_t *sent = &transaction->offsets->elems[i];
        are_all_in =
            are_all_in && is_in_group(transaction, sent->topic, sent->partition, committed);
    }
    return are_all_in;
}
