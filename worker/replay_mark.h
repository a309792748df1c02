/* replay_mark: the two headers of a request that was a dead letter and was sent back: how often,
 * and of which request it comes in the end. Its outcome carries them, too. Headers are untrusted.
 * Thread: one at a time; plain data. */
#ifndef WORKER_REPLAY_MARK_H
#define WORKER_REPLAY_MARK_H

#include <librdkafka/rdkafka.h>
#include <stdbool.h>
#include <stdint.h>

#include "schemas/base/bytes.h"
#include "schemas/base/records.h"

#define REPLAYS_HEADER "millrace-replays"  // "1"
#define ORIGIN_HEADER "millrace-replay-of" // TOPIC/PARTITION/OFFSET of the first request

enum { REPLAYS_MAX = 100, ORIGIN_BYTES_MAX = 300 };

struct replay_mark {
    int32_t replays;      // 0: never sent back
    struct source origin; // borrows from the message
};

/* False where the record has no mark, or a broken one. */
bool replay_mark_read(const rd_kafka_message_t *message, struct replay_mark *mark_out);

/* TOPIC/PARTITION/OFFSET, there and back. */
bool replay_mark_parse_origin(struct bytes text, struct source *source_out);
void replay_mark_print_origin(const struct source *source, char text_out[ORIGIN_BYTES_MAX]);

#endif
