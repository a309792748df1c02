/* replay_letters: sends dead letters back to their request topics, each once.
 *
 * What was sent is remembered on topics.runs: ranges of the dead letters' offsets by partition, and
 * how many requests each run has got. They are written in the transaction that sends, under the
 * transactional.id of the dead-letter topic: there is one writer, and what it reads at its start is
 * all that was ever sent. A consumer group's offsets cannot be that memory: filters leave holes,
 * and brokers drop the offsets of a group without members after a week.
 *
 * Letters that come while this runs are left for the next time. Thread: one; blocks.
 */
#ifndef WORKER_REPLAY_LETTERS_H
#define WORKER_REPLAY_LETTERS_H

#include <stdbool.h>
#include <stdint.h>

#include "schemas/base/error.h"
#include "worker/config.h"
#include "worker/letter_filter.h"

struct replay_options {
    const struct config *config;
    struct letter_filter filter; // only its topics get letters back
    int64_t replays_max;
    bool is_dry; // counts, and sends nothing
    bool is_quiet;
};

struct replay_result {
    int64_t matched;
    int64_t sent;        // or would be
    int64_t sent_before; // by an earlier replay
    int64_t exhausted;   // sent back replays_max times
    int64_t without_value;
    double seconds;
};

/* *result_out is filled as far as it came. */
MUST_CHECK bool replay_letters_run(const struct replay_options *options,
                                   struct replay_result *result_out, struct error *error);

#endif
