/* line_reader: the lines of a file or of stdin, each bounded, without its line end.
 *
 * A line over the limit is skipped to its end and reported, so that one bad line costs no other.
 * Thread: one at a time; reads block.
 */
#ifndef WORKER_LINE_READER_H
#define WORKER_LINE_READER_H

#include <stdint.h>

#include "schemas/base/bytes.h"
#include "schemas/base/error.h"

struct line_reader;

enum line_result {
    LINE_READ,
    LINE_TOO_LONG, // *error says the limit; the next call goes on behind it
    LINE_END,
    LINE_FAILED, // *error says why
};

/* `path` "-" is stdin. */
MUST_CHECK bool line_reader_open(const char *path, size_t line_bytes_max,
                                 struct line_reader **reader_out, struct error *error);
void line_reader_close(struct line_reader *reader); // accepts NULL

/* The line is borrowed until the next call. An empty line is a line. */
enum line_result line_reader_next(struct line_reader *reader, struct bytes *line_out,
                                  struct error *error);
/* Of the line last returned, from 1. */
int64_t line_reader_number(const struct line_reader *reader);
/* Bytes read so far and the size of the file (0 when it is not a regular file), for progress. */
int64_t line_reader_bytes(const struct line_reader *reader);
int64_t line_reader_size(const struct line_reader *reader);

#endif
