/* spool: bytes put aside in a file without a name, which goes with the process. In TMPDIR, or /tmp.
 * Thread: one at a time; blocks. */
#ifndef WORKER_SPOOL_H
#define WORKER_SPOOL_H

#include <stdint.h>

#include "schemas/base/bytes.h"
#include "schemas/base/error.h"

struct spool;

MUST_CHECK bool spool_open(struct spool **spool_out, struct error *error);
void spool_close(struct spool *spool); // accepts NULL

/* *at_out is where they stand. */
MUST_CHECK bool spool_add(struct spool *spool, struct bytes bytes, int64_t *at_out,
                          struct error *error);
/* Exactly `size` bytes that were added at `at`. */
MUST_CHECK bool spool_read(struct spool *spool, int64_t at, void *bytes_out, size_t size,
                           struct error *error);

#endif
