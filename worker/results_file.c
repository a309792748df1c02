/* results_file: one entry in memory for each line in the journal; sorted at the end. */
#include "worker/results_file.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "worker/journal.h"

enum { PATH_BYTES_MAX = 4096, TOPICS_MAX = 64, TOPIC_BYTES_MAX = 250, ENTRIES_FIRST = 1024 };

struct entry {
    int64_t offset;   // of the request
    int64_t position; // of the line in the journal
    struct id_hash id;
    int32_t partition;
    uint32_t size;
    uint16_t topic; // index into topics
    uint8_t replays;
    uint8_t is_dead_letter;
};

/* What a frame begins with; the topic and the line follow. */
struct head {
    int64_t read_offset;
    int64_t at_ms;
    int64_t offset;
    struct id_hash id;
    int32_t read_partition;
    int32_t partition;
    uint32_t topic_size;
    uint16_t replays;
    uint16_t is_dead_letter;
};

struct results_file {
    char path[PATH_BYTES_MAX];
    char sorted_path[PATH_BYTES_MAX + 16];
    struct journal *journal; // NULL: nothing is written
    char topics[TOPICS_MAX][TOPIC_BYTES_MAX];
    size_t topics_count;
    struct entry *entries;
    size_t entries_count;
    size_t entries_capacity;
};

bool results_file_open(const char *path, struct bytes identity, struct results_file **results_out,
                       struct error *error)
{
    struct results_file *results = calloc(1, sizeof *results);
    if (results == NULL) {
        return error_set(error, ERROR_FATAL, NULL, NULL, "out of memory for results");
    }
    if (path == NULL) {
        *results_out = results;
        return true;
    }
    char partial_path[PATH_BYTES_MAX + 16];
    (void)snprintf(results->path, sizeof results->path, "%s", path);
    (void)snprintf(results->sorted_path, sizeof results->sorted_path, "%s.sorted", path);
    (void)snprintf(partial_path, sizeof partial_path, "%s.partial", path);
    bool fits = strlen(path) < PATH_BYTES_MAX ||
                error_set(error, ERROR_CONFIG, NULL, NULL, "the path %.100s... is too long", path);
    if (!fits || !journal_open(partial_path, identity, &results->journal, error)) {
        free(results);
        return false;
    }
    *results_out = results;
    return true;
}

void results_file_close(struct results_file *results, bool keeps_partial)
{
    if (results != NULL) {
        journal_close(results->journal, keeps_partial);
        free(results->entries);
        free(results);
    }
}

static bool find_topic(struct results_file *results, struct bytes topic, uint16_t *index_out,
                       struct error *error)
{
    for (size_t i = 0; i < results->topics_count; i++) {
        if (bytes_equal_text(topic, results->topics[i])) {
            *index_out = (uint16_t)i;
            return true;
        }
    }
    if (results->topics_count == TOPICS_MAX || topic.size >= TOPIC_BYTES_MAX) {
        return error_set(error, ERROR_FATAL, NULL, NULL, "the run has more than %d request topics",
                         TOPICS_MAX);
    }
    *index_out = (uint16_t)results->topics_count++;
    if (topic.size > 0) {
        memcpy(results->topics[*index_out], topic.data, topic.size);
    }
    return true;
}

static bool results_file_open_entries(struct results_file *results, struct error *error)
{
    if (results->entries_count < results->entries_capacity) {
        return true;
    }
    size_t capacity =
        results->entries_capacity == 0 ? ENTRIES_FIRST : results->entries_capacity * 2;
    struct entry *entries = realloc(results->entries, capacity * sizeof entries[0]);
    if (entries == NULL) {
        return error_set(error, ERROR_FATAL, NULL, NULL, "out of memory for %zu results", capacity);
    }
    results->entries = entries;
    results->entries_capacity = capacity;
    return true;
}

static bool add_entry(struct results_file *results, const struct outcome *outcome, int64_t position,
                      size_t line_size, struct error *error)
{
    struct entry entry = {
        .offset = outcome->origin.offset,
        .position = position,
        .id = outcome->id,
        .partition = outcome->origin.partition,
        .size = (uint32_t)line_size,
        .replays = (uint8_t)outcome->replays,
        .is_dead_letter = outcome->is_dead_letter,
    };
    if (!find_topic(results, outcome->origin.topic, &entry.topic, error) ||
        !results_file_open_entries(results, error)) {
        return false;
    }
    results->entries[results->entries_count++] = entry;
    return true;
}

bool results_file_recover(struct results_file *results, results_file_take *take, void *context,
                          struct error *error)
{
    struct bytes frame;
    int64_t position;
    while (results->journal != NULL && journal_next(results->journal, &frame, &position)) {
        struct head head;
        if (frame.size < sizeof head) {
            break;
        }
        memcpy(&head, frame.data, sizeof head);
        if (head.topic_size > frame.size - sizeof head) {
            break;
        }
        size_t line_at = sizeof head + head.topic_size;
        struct bytes line = {frame.data + line_at, frame.size - line_at};
        struct outcome outcome = {
            .origin = {{frame.data + sizeof head, head.topic_size}, head.partition, head.offset},
            .replays = head.replays,
            .is_dead_letter = head.is_dead_letter != 0,
            .id = head.id,
            .read_partition = head.read_partition,
            .read_offset = head.read_offset,
            .at_ms = head.at_ms,
        };
        if (!take(context, &outcome, line, error) ||
            !add_entry(results, &outcome, position + (int64_t)line_at, line.size, error)) {
            return false;
        }
    }
    return true;
}

bool results_file_add(struct results_file *results, const struct outcome *outcome,
                      struct bytes line, struct error *error)
{
    int64_t position = 0;
    if (results->journal != NULL) {
        struct head head = {
            .read_offset = outcome->read_offset,
            .at_ms = outcome->at_ms,
            .offset = outcome->origin.offset,
            .id = outcome->id,
            .read_partition = outcome->read_partition,
            .partition = outcome->origin.partition,
            .topic_size = (uint32_t)outcome->origin.topic.size,
            .replays = (uint16_t)outcome->replays,
            .is_dead_letter = outcome->is_dead_letter,
        };
        char bytes[sizeof head + TOPIC_BYTES_MAX];
        if (outcome->origin.topic.size > TOPIC_BYTES_MAX) {
            return error_set(error, ERROR_FATAL, NULL, NULL, "a source's topic is longer than %d",
                             TOPIC_BYTES_MAX);
        }
        memcpy(bytes, &head, sizeof head);
        if (head.topic_size > 0) {
            memcpy(bytes + sizeof head, outcome->origin.topic.data, head.topic_size);
        }
        struct bytes start = {bytes, sizeof head + head.topic_size};
        if (!journal_add(results->journal, start, line, &position, error)) {
            return false;
        }
        position += (int64_t)start.size;
    }
    return add_entry(results, outcome, position, line.size, error);
}

/* Topics by name, so that their order does not depend on the arrival. */
static void rank_topics(struct results_file *results)
{
    uint16_t ranks[TOPICS_MAX] = {0};
    for (size_t i = 0; i < results->topics_count; i++) {
        for (size_t j = 0; j < results->topics_count; j++) {
            if (strcmp(results->topics[j], results->topics[i]) < 0) {
                ranks[i]++;
            }
        }
    }
    for (size_t i = 0; i < results->entries_count; i++) {
        results->entries[i].topic = ranks[results->entries[i].topic];
    }
}

static int order_of(int64_t left, int64_t right)
{
    return left < right ? -1 : left > right;
}

static bool have_one_origin(const struct entry *a, const struct entry *b)
{
    return a->topic == b->topic && a->partition == b->partition && a->offset == b->offset;
}

/* By origin; of one origin what counts comes first, and never by the arrival alone. */
static int compare(const void *a, const void *b)
{
    const struct entry *left = a;
    const struct entry *right = b;
    int orders[] = {
        order_of(left->topic, right->topic),
        order_of(left->partition, right->partition),
        order_of(left->offset, right->offset),
        order_of(right->replays, left->replays),
        order_of(left->is_dead_letter, right->is_dead_letter),
        order_of(left->size, right->size),
    };
    for (size_t i = 0; i < sizeof orders / sizeof orders[0]; i++) {
        if (orders[i] != 0) {
            return orders[i];
        }
    }
    return order_of(left->position, right->position);
}

/* Sorts the entries and keeps the first of each origin. */
static void choose(struct results_file *results, struct results_sum *sum)
{
    rank_topics(results);
    if (results->entries_count > 0) {
        qsort(results->entries, results->entries_count, sizeof results->entries[0], compare);
    }
    size_t count = 0;
    for (size_t i = 0; i < results->entries_count; i++) {
        struct entry *entry = &results->entries[i];
        struct entry *chosen = count == 0 ? NULL : &results->entries[count - 1];
        if (chosen == NULL || !have_one_origin(chosen, entry)) {
            results->entries[count++] = *entry;
        } else if (entry->replays < chosen->replays && entry->is_dead_letter) {
            sum->superseded++;
        } else {
            sum->duplicates++;
        }
    }
    results->entries_count = count;
}

static bool sum_up_ids(const struct results_file *results, struct results_sum *sum,
                       struct error *error)
{
    struct id_set *ids = id_set_open(results->entries_count);
    bool ok = ids != NULL;
    for (size_t i = 0; i < results->entries_count && ok; i++) {
        enum id_set_result result = id_set_add_hash(ids, results->entries[i].id);
        sum->duplicate_ids += result == ID_SET_KNOWN ? 1 : 0;
        ok = result != ID_SET_FULL;
    }
    if (ok) {
        id_set_digest(ids, sum->digest);
    }
    id_set_close(ids);
    return ok || error_set(error, ERROR_FATAL, NULL, NULL, "out of memory for the ids");
}

static bool copy_lines(struct results_file *results, FILE *sorted, struct error *error)
{
    for (size_t i = 0; i < results->entries_count; i++) {
        const struct entry *entry = &results->entries[i];
        if (!journal_copy(results->journal, entry->position, entry->size, sorted, error) ||
            fputc('\n', sorted) == EOF) {
            return false;
        }
    }
    return true;
}

static bool write_file(struct results_file *results, struct error *error)
{
    FILE *sorted = fopen(results->sorted_path, "wb");
    bool ok = sorted != NULL && copy_lines(results, sorted, error) && fflush(sorted) == 0 &&
              fsync(fileno(sorted)) == 0;
    ok = sorted != NULL && fclose(sorted) == 0 && ok;
    if (!ok || rename(results->sorted_path, results->path) != 0) {
        if (error->kind == ERROR_NONE) {
            (void)error_set(error, ERROR_FATAL, NULL, NULL, "%s cannot be written: %s",
                            results->path, strerror(errno));
        }
        (void)remove(results->sorted_path);
        return false;
    }
    return true;
}

bool results_file_finish(struct results_file *results, struct results_sum *sum_out,
                         struct error *error)
{
    *sum_out = (struct results_sum){0};
    choose(results, sum_out);
    return sum_up_ids(results, sum_out, error) &&
           (results->journal == NULL || write_file(results, error));
}
