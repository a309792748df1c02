/* results_file: an index in memory over a file in the order of arrival. */
#include "worker/results_file.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PATH_BYTES_MAX = 4096, TOPICS_MAX = 64, TOPIC_BYTES_MAX = 250, ENTRIES_FIRST = 1024 };

struct entry {
    int64_t offset;   // of the request
    int64_t position; // of the line in the partial file
    int32_t partition;
    uint32_t size;
    uint32_t topic; // index into topics
};

struct results_file {
    char path[PATH_BYTES_MAX];
    char partial_path[PATH_BYTES_MAX + 16];
    char sorted_path[PATH_BYTES_MAX + 16];
    FILE *partial;
    int64_t bytes;
    char topics[TOPICS_MAX][TOPIC_BYTES_MAX];
    size_t topics_count;
    struct entry *entries;
    size_t entries_count;
    size_t entries_capacity;
};

bool results_file_open(const char *path, struct results_file **results_out, struct error *error)
{
    if (strlen(path) >= PATH_BYTES_MAX) {
        return error_set(error, ERROR_CONFIG, NULL, NULL, "the path %.100s... is too long", path);
    }
    struct results_file *results = calloc(1, sizeof *results);
    if (results == NULL) {
        return error_set(error, ERROR_FATAL, NULL, NULL, "out of memory for results");
    }
    (void)snprintf(results->path, sizeof results->path, "%s", path);
    (void)snprintf(results->partial_path, sizeof results->partial_path, "%s.partial", path);
    (void)snprintf(results->sorted_path, sizeof results->sorted_path, "%s.sorted", path);
    results->partial = fopen(results->partial_path, "w+b");
    if (results->partial == NULL) {
        (void)error_set(error, ERROR_CONFIG, NULL, NULL, "%s: %s", results->partial_path,
                        strerror(errno));
        free(results);
        return false;
    }
    *results_out = results;
    return true;
}

void results_file_close(struct results_file *results)
{
    if (results != NULL) {
        (void)fclose(results->partial);
        (void)remove(results->partial_path);
        free(results->entries);
        free(results);
    }
}

static bool find_topic(struct results_file *results, struct bytes topic, uint32_t *index_out,
                       struct error *error)
{
    for (size_t i = 0; i < results->topics_count; i++) {
        if (bytes_equal_text(topic, results->topics[i])) {
            *index_out = (uint32_t)i;
            return true;
        }
    }
    if (results->topics_count == TOPICS_MAX || topic.size >= TOPIC_BYTES_MAX) {
        return error_set(error, ERROR_FATAL, NULL, NULL, "the run has more than %d request topics",
                         TOPICS_MAX);
    }
    *index_out = (uint32_t)results->topics_count++;
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

bool results_file_add(struct results_file *results, const struct source *source, struct bytes line,
                      struct error *error)
{
    uint32_t topic = 0;
    if (!find_topic(results, source->topic, &topic, error) ||
        !results_file_open_entries(results, error)) {
        return false;
    }
    if (line.size > UINT32_MAX || fwrite(line.data, 1, line.size, results->partial) != line.size) {
        return error_set(error, ERROR_FATAL, NULL, NULL, "%s: %s", results->partial_path,
                         strerror(errno));
    }
    results->entries[results->entries_count++] = (struct entry){
        source->offset, results->bytes, source->partition, (uint32_t)line.size, topic};
    results->bytes += (int64_t)line.size;
    return true;
}

/* Topics by name, so that their order does not depend on the arrival. */
static void rank_topics(struct results_file *results)
{
    uint32_t ranks[TOPICS_MAX] = {0};
    for (size_t i = 0; i < results->topics_count; i++) {
        for (size_t j = 0; j < results->topics_count; j++) {
            ranks[i] += strcmp(results->topics[j], results->topics[i]) < 0 ? 1 : 0;
        }
    }
    for (size_t i = 0; i < results->entries_count; i++) {
        results->entries[i].topic = ranks[results->entries[i].topic];
    }
}

static int compare(const void *a, const void *b)
{
    const struct entry *left = a;
    const struct entry *right = b;
    if (left->topic != right->topic) {
        return left->topic < right->topic ? -1 : 1;
    }
    if (left->partition != right->partition) {
        return left->partition < right->partition ? -1 : 1;
    }
    return left->offset < right->offset ? -1 : left->offset > right->offset;
}

static bool copy_line(struct results_file *results, const struct entry *entry, FILE *sorted)
{
    char chunk[65536];
    if (fseeko(results->partial, (off_t)entry->position, SEEK_SET) != 0) {
        return false;
    }
    for (size_t left = entry->size; left > 0;) {
        size_t size = left < sizeof chunk ? left : sizeof chunk;
        if (fread(chunk, 1, size, results->partial) != size ||
            fwrite(chunk, 1, size, sorted) != size) {
            return false;
        }
        left -= size;
    }
    return fputc('\n', sorted) != EOF;
}

bool results_file_finish(struct results_file *results, struct error *error)
{
    rank_topics(results);
    if (results->entries_count > 0) {
        qsort(results->entries, results->entries_count, sizeof results->entries[0], compare);
    }
    FILE *sorted = fopen(results->sorted_path, "wb");
    bool ok = sorted != NULL && fflush(results->partial) == 0;
    for (size_t i = 0; i < results->entries_count && ok; i++) {
        ok = copy_line(results, &results->entries[i], sorted);
    }
    ok = sorted != NULL && fclose(sorted) == 0 && ok;
    if (!ok || rename(results->sorted_path, results->path) != 0) {
        (void)error_set(error, ERROR_FATAL, NULL, NULL, "%s cannot be written: %s", results->path,
                        strerror(errno));
        (void)remove(results->sorted_path);
        return false;
    }
    return true;
}
