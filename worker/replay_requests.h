/* replay_requests: puts recorded requests with their incumbent's answers on topics.replay.
 *
 *     answers (a file, a topic) -> index by custom_id
 *     requests (a topic, files) -> chosen, joined, put aside -> sorted by time -> sent
 *
 * Nothing is sent before everything is chosen, so the order of sending is that of the requests'
 * time, partition and offset, whatever the order in which partitions are read: the same options
 * give the same records. In memory are 40 bytes of each chosen request, up to 80 as the list grows,
 * beside the index of the answers; the rest lies in temporary files. One that brings its answer
 * keeps it, unless another was joined; one without any is counted and left out, as is one that
 * cannot be decoded. Deadlines are left out: they have passed. Thread: one; blocks.
 */
#ifndef WORKER_REPLAY_REQUESTS_H
#define WORKER_REPLAY_REQUESTS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "schemas/base/error.h"
#include "worker/config.h"
#include "worker/letter_filter.h"

struct replay_requests_options {
    const struct config *config;
    const char *topic;           // of the requests; NULL: `file`
    const char *file;            // OpenAI batch lines
    const char *answers;         // an OpenAI batch output file; NULL: none
    const char *answers_topic;   // response records; NULL: none
    struct letter_filter filter; // without topics and reason
    double share;                // 0 to 1, by the hash of the key, or the custom_id
    double speed;                // of the recorded spacing; 0: as fast as it goes
    int64_t rate_max;            // records a second; 0: no limit
    bool is_dry;                 // sends nothing, and writes what would be refused
    bool is_quiet;
    FILE *refusals; // where a dry run writes them
};

struct replay_requests_result {
    int64_t matched; // by the filter, and sampled
    int64_t sent;    // or would be
    int64_t without_answer;
    int64_t undecodable;
    int64_t answers; // that were read
    int64_t refused; // of a dry run: what a local model would not take
    double seconds;
};

/* *result_out is filled as far as it came. */
MUST_CHECK bool replay_requests_run(const struct replay_requests_options *options,
                                    struct replay_requests_result *result_out, struct error *error);

#endif
