/* dead_letter: what a dead letter's headers say, and which letters a `replay` is for.
 *
 * A letter that is sent back carries two headers of ours more, which its outcome carries, too: how
 * often it was sent back, and of which request it comes in the end. Headers are untrusted.
 * Thread: one at a time; plain data.
 */
#ifndef WORKER_DEAD_LETTER_H
#define WORKER_DEAD_LETTER_H

#include <librdkafka/rdkafka.h>
#include <stdbool.h>
#include <stdint.h>

#include "schemas/base/bytes.h"
#include "schemas/base/error.h"
#include "schemas/base/records.h"

#define REPLAYS_HEADER "millrace-replays"  // how often: "1"
#define ORIGIN_HEADER "millrace-replay-of" // TOPIC/PARTITION/OFFSET of the first request

enum { REPLAYS_MAX = 100 };

/* What the two headers say of a record: 0 and false where it was never sent back. */
struct replay_mark {
    int replays;
    struct source origin; // borrows from the message
};

/* TOPIC/PARTITION/OFFSET. */
bool replay_origin_parse(struct bytes text, struct source *source_out);
/* False where the record has no mark, or a broken one. */
bool replay_mark_read(const rd_kafka_message_t *message, struct replay_mark *mark_out);

#endif
