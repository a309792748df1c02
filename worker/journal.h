/* journal: a file of frames to which frames are added, and which can be gone on with after a death
 * in the middle of that.
 *
 * Each frame has a checksum: at the first one that is not whole the journal ends, and what follows
 * is cut off. The first frame is an identity; a journal with another one is begun anew. One process
 * at a time has it. It is for the machine that wrote it. Thread: one at a time.
 */
#ifndef WORKER_JOURNAL_H
#define WORKER_JOURNAL_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "schemas/base/bytes.h"
#include "schemas/base/error.h"

struct journal;

enum { JOURNAL_FRAME_BYTES_MAX = 512 << 20 };

/* ERROR_CONFIG: the file cannot be opened, or another process has it. */
MUST_CHECK bool journal_open(const char *path, struct bytes identity, struct journal **journal_out,
                             struct error *error);
/* Removes the file unless told to keep it. Accepts NULL. */
void journal_close(struct journal *journal, bool keeps_file);

/* Before the first journal_add, the frames that are there: false after the last one. *frame_out is
 * valid until the next call; *position_out is where it stands. */
MUST_CHECK bool journal_next(struct journal *journal, struct bytes *frame_out,
                             int64_t *position_out);
/* Adds a frame, head and body together; *position_out is where it stands. Ends the reading. */
MUST_CHECK bool journal_add(struct journal *journal, struct bytes head, struct bytes body,
                            int64_t *position_out, struct error *error);
/* Copies bytes from a position that one of the above gave, or from beyond it in the frame. */
MUST_CHECK bool journal_copy(struct journal *journal, int64_t position, size_t size, FILE *to,
                             struct error *error);

#endif
