/* letter: a dead letter as `replay` sees it, and what becomes of its headers when it is sent back.
 * Everything borrows from the message. Thread: one at a time; plain data. */
#ifndef WORKER_LETTER_H
#define WORKER_LETTER_H

#include <librdkafka/rdkafka.h>
#include <stdbool.h>
#include <stdint.h>

#include "schemas/base/arena.h"
#include "schemas/base/error.h"
#include "schemas/base/records.h"
#include "worker/replay_mark.h"

struct letter {
    struct source source;    // of the request that failed; topic absent: its headers do not say
    struct replay_mark mark; // how often it was sent back; the origin is the source if never
    struct bytes run_id;     // may be absent
    struct bytes reason;     // "undecodable"; may be absent
    int64_t time_ms;         // of the letter, Unix time; -1 when not known
    bool has_value;          // a value too large for the dead letters' topic was left out
};

void letter_read(const rd_kafka_message_t *message, struct letter *letter_out);

/* The headers with which it is sent back: its own without those that tell of the failure, behind
 * the mark, which comes first so that a flood of others cannot cut it. In the arena. */
MUST_CHECK bool letter_headers(const rd_kafka_message_t *message, const struct letter *letter,
                               struct arena *arena, struct headers *headers_out,
                               struct error *error);

#endif
