/* model_lines: read, answer, write, flush. */
#include "worker/model_lines.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "worker/line_reader.h"

enum {
    LINE_BYTES_MAX = 64 << 20,
    ARENA_BYTES_MAX = 256 << 20, // of one line
};

static json_t *error_line(const struct error *error)
{
    return json_pack("{s:s}", "error", error->message);
}

static json_t *answer_text(const struct model_lines *lines, struct bytes text, struct arena *arena,
                           struct error *error)
{
    json_error_t cause;
    json_t *line =
        json_loadb(text.data, text.size, JSON_ALLOW_NUL | JSON_REJECT_DUPLICATES, &cause);
    if (line == NULL || !json_is_object(line)) {
        (void)error_set(error, ERROR_INVALID, NULL, NULL, "the line is not a JSON object%s%s",
                        line == NULL ? ": " : "", line == NULL ? cause.text : "");
        json_decref(line);
        return NULL;
    }
    json_t *out = lines->answer(lines->context, line, arena, error);
    json_decref(line);
    return out;
}

static bool write_line(const json_t *out, struct error *error)
{
    bool is_written = json_dumpf(out, stdout, JSON_COMPACT | JSON_REAL_PRECISION(9)) == 0 &&
                      putchar('\n') == '\n' && fflush(stdout) == 0;
    return is_written ||
           error_set(error, ERROR_FATAL, NULL, NULL, "cannot write to stdout: %s", strerror(errno));
}

static bool run_line(const struct model_lines *lines, struct bytes text, struct error *error)
{
    struct error cause = {0};
    struct arena *arena = arena_open(ARENA_BYTES_MAX);
    json_t *out = NULL;
    if (arena == NULL) {
        (void)error_set(&cause, ERROR_FATAL, NULL, NULL, "out of memory for the line");
    } else {
        out = answer_text(lines, text, arena, &cause);
    }
    arena_close(arena);
    if (out == NULL) {
        out = error_line(&cause);
    }
    bool is_written = write_line(out, error);
    json_decref(out);
    return is_written;
}

bool model_lines_run(const struct model_lines *lines, struct error *error)
{
    struct line_reader *reader = NULL;
    if (!line_reader_open("-", LINE_BYTES_MAX, &reader, error)) {
        return false;
    }
    bool is_ok = true;
    bool is_at_end = false;
    while (is_ok && !is_at_end) {
        struct bytes text = {NULL, 0};
        struct error cause = {0};
        json_t *out = NULL;
        switch (line_reader_next(reader, &text, &cause)) {
        case LINE_READ:
            is_ok = run_line(lines, text, error);
            break;
        case LINE_TOO_LONG:
            out = error_line(&cause);
            is_ok = write_line(out, error);
            json_decref(out);
            break;
        case LINE_FAILED:
            *error = cause;
            is_ok = false;
            break;
        case LINE_END:
            is_at_end = true;
        }
    }
    line_reader_close(reader);
    return is_ok;
}

int32_t *model_lines_ids(const json_t *line, struct arena *arena, size_t *count_out,
                         struct error *error)
{
    const json_t *array = json_object_get(line, "ids");
    size_t count = json_array_size(array);
    int32_t *ids = json_is_array(array) ? arena_alloc_array(arena, count, sizeof *ids) : NULL;
    if (ids == NULL) {
        (void)error_set(error, ERROR_INVALID, NULL, NULL, "ids must be an array of token ids");
        return NULL;
    }
    for (size_t i = 0; i < count; i++) {
        const json_t *item = json_array_get(array, i);
        json_int_t id = json_integer_value(item);
        if (!json_is_integer(item) || id < 0 || id > INT32_MAX) {
            (void)error_set(error, ERROR_INVALID, NULL, NULL, "ids[%zu] is not a token id", i);
            return NULL;
        }
        ids[i] = (int32_t)id;
    }
    *count_out = count;
    return ids;
}

json_t *model_lines_json_ids(const int32_t *ids, size_t count)
{
    json_t *array = json_array();
    for (size_t i = 0; i < count; i++) {
        (void)json_array_append_new(array, json_integer(ids[i]));
    }
    return array;
}
