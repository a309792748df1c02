/* sse: line by line. */
#include "pipeline/openai/sse.h"

static const char byte_order_mark[] = "\xEF\xBB\xBF";

static bool begins_with(struct bytes text, const char *start)
{
    size_t size = strlen(start);
    return text.size >= size && memcmp(text.data, start, size) == 0;
}

struct sse sse_start(struct bytes text)
{
    return (struct sse){text, begins_with(text, byte_order_mark) ? 3 : 0};
}

/* The line at *at, without its end, which is CR, LF or both. False where there is no whole one. */
static bool next_line(struct bytes text, size_t *at, struct bytes *line_out)
{
    size_t end = *at;
    while (end < text.size && text.data[end] != '\n' && text.data[end] != '\r') {
        end++;
    }
    if (end == text.size) {
        return false;
    }
    *line_out = (struct bytes){text.data + *at, end - *at};
    bool is_pair = text.data[end] == '\r' && end + 1 < text.size && text.data[end + 1] == '\n';
    *at = end + (is_pair ? 2 : 1);
    return true;
}

bool sse_next(struct sse *sse, struct buffer *data)
{
    struct bytes line;
    size_t at = sse->at;
    bool has_data = false;
    buffer_clear(data);
    while (next_line(sse->text, &at, &line)) {
        if (line.size == 0 && has_data) {
            sse->at = at;
            return true;
        }
        bool is_empty = bytes_equal_text(line, "data");
        if (!is_empty && !begins_with(line, "data:")) {
            continue; // another field, a comment, or the end of an event without data
        }
        size_t skip = is_empty ? 4 : 5;
        skip += skip < line.size && line.data[skip] == ' ' ? 1 : 0;
        buffer_append_text(data, has_data ? "\n" : "");
        buffer_append(data, line.data + skip, line.size - skip);
        has_data = true;
    }
    return false;
}
