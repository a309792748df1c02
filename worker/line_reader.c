/* line_reader: getc-free reading over one block, with a buffer for the line at hand. */
#include "worker/line_reader.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "schemas/base/buffer.h"

enum { BLOCK_BYTES = 1 << 16 };

struct line_reader {
    int file;
    char *path;
    int64_t size;
    int64_t bytes;
    int64_t number;
    struct buffer line;
    size_t block_used;
    size_t block_size;
    char block[BLOCK_BYTES];
};

bool line_reader_open(const char *path, size_t line_bytes_max, struct line_reader **reader_out,
                      struct error *error)
{
    struct line_reader *reader = calloc(1, sizeof *reader);
    char *path_copy = strdup(path);
    if (reader == NULL || path_copy == NULL) {
        free(path_copy);
        free(reader);
        return error_set(error, ERROR_FATAL, NULL, NULL, "out of memory for reading %s", path);
    }
    reader->path = path_copy;
    reader->file = strcmp(path, "-") == 0 ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
    struct stat status;
    if (reader->file < 0 || fstat(reader->file, &status) != 0) {
        error_set(error, ERROR_CONFIG, NULL, NULL, "cannot open %s: %s", path, strerror(errno));
        line_reader_close(reader);
        return false;
    }
    if (S_ISDIR(status.st_mode)) {
        error_set(error, ERROR_CONFIG, NULL, NULL, "cannot read %s: it is a folder", path);
        line_reader_close(reader);
        return false;
    }
    reader->size = S_ISREG(status.st_mode) ? (int64_t)status.st_size : 0;
    buffer_init(&reader->line, line_bytes_max);
    *reader_out = reader;
    return true;
}

void line_reader_close(struct line_reader *reader)
{
    if (reader == NULL) {
        return;
    }
    if (reader->file > STDIN_FILENO) {
        (void)close(reader->file);
    }
    buffer_close(&reader->line);
    free(reader->path);
    free(reader);
}

/* False at the end of the file (block_size 0) and on failure. */
static bool read_block(struct line_reader *reader, struct error *error)
{
    ssize_t size;
    do {
        size = read(reader->file, reader->block, sizeof reader->block);
    } while (size < 0 && errno == EINTR);
    reader->block_used = 0;
    reader->block_size = size < 0 ? 0 : (size_t)size;
    if (size < 0) {
        return error_set(error, ERROR_FATAL, NULL, NULL, "cannot read %s: %s", reader->path,
                         strerror(errno));
    }
    return size > 0;
}

/* Appends up to the next line end; true when it was found. */
static bool take_from_block(struct line_reader *reader)
{
    const char *start = reader->block + reader->block_used;
    size_t left = reader->block_size - reader->block_used;
    const char *end = memchr(start, '\n', left);
    size_t size = end == NULL ? left : (size_t)(end - start);
    buffer_append(&reader->line, start, size);
    reader->block_used += end == NULL ? size : size + 1;
    reader->bytes += (int64_t)(end == NULL ? size : size + 1);
    return end != NULL;
}

enum line_result line_reader_next(struct line_reader *reader, struct bytes *line_out,
                                  struct error *error)
{
    buffer_clear(&reader->line);
    bool has_any = false;
    bool has_end = false;
    struct error cause = {0};
    while (!has_end) {
        if (reader->block_used == reader->block_size && !read_block(reader, &cause)) {
            break;
        }
        has_any = true;
        has_end = take_from_block(reader);
    }
    if (cause.kind != ERROR_NONE) {
        *error = cause;
        return LINE_FAILED;
    }
    if (!has_any) {
        return LINE_END;
    }
    reader->number++;
    if (buffer_failed(&reader->line)) {
        error_set(error, ERROR_UNDECODABLE, "line_too_long", NULL, "line %lld has over %zu bytes",
                  (long long)reader->number, reader->line.size_max);
        return LINE_TOO_LONG;
    }
    *line_out = buffer_bytes(&reader->line);
    if (line_out->size > 0 && line_out->data[line_out->size - 1] == '\r') {
        line_out->size--;
    }
    return LINE_READ;
}

int64_t line_reader_number(const struct line_reader *reader)
{
    return reader->number;
}

int64_t line_reader_bytes(const struct line_reader *reader)
{
    return reader->bytes;
}

int64_t line_reader_size(const struct line_reader *reader)
{
    return reader->size;
}
