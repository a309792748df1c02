/* replay_mark: headers in, numbers out. */
#include "worker/replay_mark.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "worker/topic_scan.h"

enum { TOPIC_BYTES_MAX = 249, DIGITS_MAX = 18 };

/* A number of digits alone; -1 when it is none. */
static int64_t read_digits(struct bytes text)
{
    if (text.size == 0 || text.size > DIGITS_MAX) {
        return -1;
    }
    int64_t number = 0;
    for (size_t i = 0; i < text.size; i++) {
        if (text.data[i] < '0' || text.data[i] > '9') {
            return -1;
        }
        number = number * 10 + (text.data[i] - '0');
    }
    return number;
}

bool replay_mark_parse_origin(struct bytes text, struct source *source_out)
{
    const char *end = text.data + text.size;
    const char *first = text.size == 0 ? NULL : memchr(text.data, '/', text.size);
    const char *second = first == NULL ? NULL : memchr(first + 1, '/', (size_t)(end - first - 1));
    if (second == NULL || first == text.data || first - text.data > TOPIC_BYTES_MAX) {
        return false;
    }
    int64_t partition = read_digits((struct bytes){first + 1, (size_t)(second - first - 1)});
    int64_t offset = read_digits((struct bytes){second + 1, (size_t)(end - second - 1)});
    if (partition < 0 || partition > INT32_MAX || offset < 0) {
        return false;
    }
    *source_out =
        (struct source){{text.data, (size_t)(first - text.data)}, (int32_t)partition, offset};
    return true;
}

bool replay_mark_read(const rd_kafka_message_t *message, struct replay_mark *mark_out)
{
    int64_t replays = read_digits(message_header(message, REPLAYS_HEADER));
    struct source origin;
    if (replays < 1 || replays > REPLAYS_MAX ||
        !replay_mark_parse_origin(message_header(message, ORIGIN_HEADER), &origin)) {
        return false;
    }
    *mark_out = (struct replay_mark){(int32_t)replays, origin};
    return true;
}

void replay_mark_print_origin(const struct source *source, char text_out[ORIGIN_BYTES_MAX])
{
    (void)snprintf(text_out, ORIGIN_BYTES_MAX, "%.*s/%" PRId32 "/%" PRId64, (int)source->topic.size,
                   source->topic.data, source->partition, source->offset);
}
