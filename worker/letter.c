/* letter: Kafka Connect's error headers in, the original headers out. */
#include "worker/letter.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "worker/topic_scan.h"

static const char CONNECT[] = "__connect.errors.";

void letter_read(const rd_kafka_message_t *message, struct letter *letter_out)
{
    int64_t partition = message_header_number(message, "__connect.errors.partition");
    int64_t offset = message_header_number(message, "__connect.errors.offset");
    *letter_out = (struct letter){
        .run_id = message_header(message, "millrace-run-id"),
        .reason = message_header(message, "__connect.errors.exception.class.name"),
        .time_ms = rd_kafka_message_timestamp(message, NULL),
        .has_value = message->payload != NULL,
    };
    if (partition >= 0 && partition <= INT32_MAX && offset >= 0) {
        letter_out->source = (struct source){message_header(message, "__connect.errors.topic"),
                                             (int32_t)partition, offset};
    }
    if (!replay_mark_read(message, &letter_out->mark)) {
        letter_out->mark = (struct replay_mark){0, letter_out->source};
    }
}

static bool is_kept(const char *name)
{
    return strncmp(name, CONNECT, sizeof CONNECT - 1) != 0 && strcmp(name, REPLAYS_HEADER) != 0 &&
           strcmp(name, ORIGIN_HEADER) != 0;
}

/* NULL when the arena is full. */
static struct header *mark_headers(const struct letter *letter, struct arena *arena,
                                   size_t count_max)
{
    struct header *items = arena_alloc_array(arena, count_max, sizeof items[0]);
    char replays[16];
    char origin[ORIGIN_BYTES_MAX];
    (void)snprintf(replays, sizeof replays, "%" PRId32, letter->mark.replays + 1);
    replay_mark_print_origin(&letter->mark.origin, origin);
    struct bytes values[] = {arena_copy(arena, bytes_of(replays)),
                             arena_copy(arena, bytes_of(origin))};
    if (items == NULL || values[0].data == NULL || values[1].data == NULL) {
        return NULL;
    }
    items[0] = (struct header){bytes_of(REPLAYS_HEADER), values[0]};
    items[1] = (struct header){bytes_of(ORIGIN_HEADER), values[1]};
    return items;
}

bool letter_headers(const rd_kafka_message_t *message, const struct letter *letter,
                    struct arena *arena, struct headers *headers_out, struct error *error)
{
    rd_kafka_headers_t *headers = NULL;
    size_t count = 0;
    if (rd_kafka_message_headers(message, &headers) == RD_KAFKA_RESP_ERR_NO_ERROR) {
        count = rd_kafka_header_cnt(headers);
    }
    struct header *items = mark_headers(letter, arena, count + 2);
    if (items == NULL) {
        return error_set(error, ERROR_FATAL, NULL, NULL, "out of memory for %zu headers", count);
    }
    size_t kept = 2;
    for (size_t i = 0; i < count; i++) {
        const char *name;
        const void *value;
        size_t size;
        if (rd_kafka_header_get_all(headers, i, &name, &value, &size) ==
                RD_KAFKA_RESP_ERR_NO_ERROR &&
            is_kept(name)) {
            items[kept++] = (struct header){bytes_of(name), {value, size}};
        }
    }
    *headers_out = (struct headers){items, kept};
    return true;
}
