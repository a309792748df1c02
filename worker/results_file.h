/* results_file: the lines of a run, written in the order of their sources.
 *
 * Lines come in the order of arrival and go to PATH.partial at once; memory holds 32 bytes for
 * each. At the end they are copied in the order of (topic, partition, offset) of their requests, so
 * that each collect of a finished run yields the same file. Thread: one at a time.
 */
#ifndef WORKER_RESULTS_FILE_H
#define WORKER_RESULTS_FILE_H

#include <stdint.h>

#include "schemas/base/bytes.h"
#include "schemas/base/error.h"
#include "schemas/base/records.h"

struct results_file;

MUST_CHECK bool results_file_open(const char *path, struct results_file **results_out,
                                  struct error *error);
/* Removes PATH.partial. Accepts NULL. */
void results_file_close(struct results_file *results);

/* One line, without its line end. */
MUST_CHECK bool results_file_add(struct results_file *results, const struct source *source,
                                 struct bytes line, struct error *error);
/* Writes PATH, whole or not at all. */
MUST_CHECK bool results_file_finish(struct results_file *results, struct error *error);

#endif
