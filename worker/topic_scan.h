/* topic_scan: reads what is committed in a topic up to the end that it has at the start.
 *
 * Waits for transactions that are open there to end, so that nothing below that end is missed.
 * Thread: one; blocks.
 */
#ifndef WORKER_TOPIC_SCAN_H
#define WORKER_TOPIC_SCAN_H

#include <librdkafka/rdkafka.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "schemas/base/error.h"
#include "schemas/base/records.h"
#include "worker/config.h"

enum { TOPIC_PARTITIONS_MAX = 4096 };

/* Called for each record, in the order of its partition. False ends the scan with *error. */
typedef bool topic_scan_take(void *context, const rd_kafka_message_t *message, struct error *error);

struct topic_scan {
    const struct config *config;
    const char *topic;
    const int64_t *from; // [from_count] first offsets of partitions 0, 1, ...; others: from the
    size_t from_count;   // beginning
    const char *what;    // for the progress line
    bool is_quiet;       // no progress
    topic_scan_take *take;
    void *context;
};

/* ERROR_NOT_FOUND: the topic is missing. */
MUST_CHECK bool topic_scan_run(const struct topic_scan *scan, struct error *error);

/* Where each partition begins and ends now. */
struct topic_range {
    int32_t partitions_count;
    int64_t first[TOPIC_PARTITIONS_MAX];
    int64_t end[TOPIC_PARTITIONS_MAX];
};

/* Too large for a stack. ERROR_NOT_FOUND as above. */
MUST_CHECK bool topic_range_open(const struct config *config, const char *topic,
                                 struct topic_range **range_out, struct error *error);
void topic_range_close(struct topic_range *range); // accepts NULL

/* A header's last value, which is the one that counts; absent where there is none. */
struct bytes message_header(const rd_kafka_message_t *message, const char *name);
/* The same as a number; -1 where it is none, or negative. */
int64_t message_header_number(const rd_kafka_message_t *message, const char *name);

#endif
