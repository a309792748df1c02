/* letter_filter: which dead letters, or requests, a `replay` is for. Pure; thread: any. */
#ifndef WORKER_LETTER_FILTER_H
#define WORKER_LETTER_FILTER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "worker/config.h"
#include "worker/letter.h"

/* What is NULL or negative lets everything through. */
struct letter_filter {
    const char *topics[CONFIG_NAMES_MAX]; // of the request: one of these
    size_t topics_count;
    const char *run_id;
    const char *reason;
    int64_t partition; // of the request
    int64_t offset_first;
    int64_t offset_last;
    int64_t since_ms; // of the letter, or the request
    int64_t until_ms; // excluded
};

/* Lets all letters of some topics through; their names are borrowed. */
struct letter_filter letter_filter_of_topics(char *const *topics, size_t count);
/* Which of the topics the letter comes from; -1 for none. */
int letter_filter_topic(const struct letter_filter *filter, const struct letter *letter);

/* By where the request is, and when it, or the letter, came. */
bool letter_filter_has_place(const struct letter_filter *filter, int64_t partition, int64_t offset,
                             int64_t time_ms);
bool letter_filter_matches(const struct letter_filter *filter, const struct letter *letter);

/* "7" or "7-12", both ends included. */
bool letter_filter_parse_offsets(struct letter_filter *filter, const char *text);
/* "2026-01-31" or "2026-01-31T22:15:00Z", UTC. */
bool letter_filter_parse_time(const char *text, int64_t *time_ms_out);

#endif
