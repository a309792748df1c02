/* ledger: counts per record, and a check at each commit. */
#include "tests/support/ledger.h"

#include <jansson.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pipeline/job.h"
#include "schemas/base/check.h"
#include "tests/support/fault_memory.h"
#include "worker/offset_map.h"

struct committed {
    int64_t position; // -1: nothing
    size_t size;
    char metadata[OFFSET_MAP_TEXT_MAX + 1];
};

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static struct {
    bool is_exactly_once;
    int visible[LEDGER_PARTITIONS][LEDGER_RECORDS];
    int outcomes[LEDGER_PARTITIONS][LEDGER_RECORDS]; // the latest
    int open[LEDGER_PARTITIONS][LEDGER_RECORDS];     // in the transaction
    struct committed committed[LEDGER_PARTITIONS];
    struct committed sent[LEDGER_PARTITIONS]; // with the transaction
    char violation[600];
} ledger;

static void lock(void)
{
    CHECK(pthread_mutex_lock(&mutex) == 0);
}

static void unlock(void)
{
    CHECK(pthread_mutex_unlock(&mutex) == 0);
}

static void forget_transaction(void)
{
    memset(ledger.open, 0, sizeof ledger.open);
    for (int i = 0; i < LEDGER_PARTITIONS; i++) {
        ledger.sent[i].position = -1;
    }
}

void ledger_reset(bool is_exactly_once)
{
    lock();
    memset(&ledger, 0, sizeof ledger);
    ledger.is_exactly_once = is_exactly_once;
    for (int i = 0; i < LEDGER_PARTITIONS; i++) {
        ledger.committed[i].position = -1;
    }
    forget_transaction();
    unlock();
}

bool ledger_is_exactly_once(void)
{
    return ledger.is_exactly_once;
}

/* Of a response: a JSON line with a status code and a body, or with an error. */
static int outcome_of_line(const json_t *line)
{
    const json_t *response = json_object_get(line, "response");
    const char *code = json_string_value(json_object_get(json_object_get(line, "error"), "code"));
    if (json_is_object(json_object_get(response, "body")) && code == NULL) {
        return (int)json_integer_value(json_object_get(response, "status_code"));
    }
    if (json_is_null(response) && code != NULL) {
        return strcmp(code, "deadline_exceeded") == 0  ? LEDGER_EXPIRED
               : strcmp(code, "result_too_large") == 0 ? LEDGER_TOO_LARGE
                                                       : LEDGER_BROKEN;
    }
    return LEDGER_BROKEN;
}

static int outcome_of(const struct delivery *delivery)
{
    if (delivery->job->outcome == OUTCOME_DEAD_LETTER) {
        return LEDGER_DEAD_LETTER;
    }
    bool was_exempt = fault_set_exempt(true); // what jansson needs here is not the worker's
    json_t *line = json_loadb(delivery->value.data, delivery->value.size, 0, NULL);
    int outcome = outcome_of_line(line);
    json_decref(line);
    (void)fault_set_exempt(was_exempt);
    return outcome;
}

void ledger_publish(const struct delivery *delivery)
{
    const struct source *source = &delivery->job->source;
    int outcome = outcome_of(delivery);
    CHECK(source->partition < LEDGER_PARTITIONS && source->offset < LEDGER_RECORDS);
    lock();
    if (ledger.is_exactly_once) {
        ledger.open[source->partition][source->offset]++;
    } else {
        ledger.visible[source->partition][source->offset]++;
    }
    ledger.outcomes[source->partition][source->offset] = outcome;
    unlock();
}

static void accuse(int partition, int64_t offset, const char *what)
{
    if (ledger.violation[0] == '\0') {
        (void)snprintf(ledger.violation, sizeof ledger.violation, "partition %d offset %lld: %s",
                       partition, (long long)offset, what);
    }
}

static void check_covered(int partition, int64_t offset)
{
    if (offset < LEDGER_RECORDS && ledger.visible[partition][offset] == 0) {
        accuse(partition, offset, "committed without an outcome");
    }
}

static void commit(int partition, const struct committed *sent)
{
    struct offset_map map;
    struct error error = {0};
    struct bytes text = {sent->metadata, sent->size};
    if (sent->size > 0 && !offset_map_decode(text, sent->position, &map, &error)) {
        accuse(partition, sent->position, error.message);
        return;
    }
    if (sent->position < ledger.committed[partition].position) {
        accuse(partition, sent->position, "the committed offset went back");
    }
    for (int64_t offset = 0; offset < sent->position; offset++) {
        check_covered(partition, offset);
    }
    for (uint32_t i = 0; sent->size > 0 && i < map.span; i++) {
        if (offset_map_is_done(&map, i)) {
            check_covered(partition, sent->position + i);
        }
    }
    ledger.committed[partition] = *sent;
}

void ledger_offsets(const rd_kafka_topic_partition_list_t *offsets)
{
    lock();
    for (int i = 0; i < offsets->cnt; i++) {
        const rd_kafka_topic_partition_t *element = &offsets->elems[i];
        CHECK(element->partition < LEDGER_PARTITIONS &&
              element->metadata_size <= OFFSET_MAP_TEXT_MAX);
        struct committed *sent = &ledger.sent[element->partition];
        sent->position = element->offset;
        sent->size = element->metadata_size;
        if (sent->size > 0) {
            memcpy(sent->metadata, element->metadata, sent->size);
        }
        if (!ledger.is_exactly_once) {
            commit(element->partition, sent);
        }
    }
    unlock();
}

void ledger_end(bool is_committed)
{
    lock();
    for (int i = 0; i < LEDGER_PARTITIONS && is_committed; i++) {
        for (int j = 0; j < LEDGER_RECORDS; j++) {
            ledger.visible[i][j] += ledger.open[i][j];
        }
    }
    for (int i = 0; i < LEDGER_PARTITIONS && is_committed; i++) {
        if (ledger.sent[i].position >= 0) {
            commit(i, &ledger.sent[i]);
        }
    }
    forget_transaction();
    unlock();
}

void ledger_fill(const rd_kafka_topic_partition_list_t *list)
{
    lock();
    for (int i = 0; i < list->cnt; i++) {
        rd_kafka_topic_partition_t *element = &list->elems[i];
        const struct committed *committed = &ledger.committed[element->partition];
        element->offset = committed->position < 0 ? RD_KAFKA_OFFSET_INVALID : committed->position;
        free(element->metadata);
        element->metadata = NULL;
        element->metadata_size = committed->size;
        if (committed->size > 0) {
            element->metadata = fault_memory_alloc(committed->size);
            memcpy(element->metadata, committed->metadata, committed->size);
        }
    }
    unlock();
}

int ledger_visible(int32_t partition, int64_t offset)
{
    lock();
    int count = ledger.visible[partition][offset];
    unlock();
    return count;
}

int ledger_outcome(int32_t partition, int64_t offset)
{
    lock();
    int outcome = ledger.outcomes[partition][offset];
    unlock();
    return outcome;
}

int64_t ledger_committed(int32_t partition)
{
    lock();
    int64_t position = ledger.committed[partition].position;
    unlock();
    return position;
}

const char *ledger_violation(void)
{
    lock();
    const char *violation = ledger.violation[0] == '\0' ? NULL : ledger.violation;
    unlock();
    return violation;
}
