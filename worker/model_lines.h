/* model_lines: the loop of the `model` commands, JSON lines on stdin to JSON lines on stdout.
 *
 * One line in gives one line out, in order and at once; a bad line gives {"error": "..."} and the
 * next one goes on. Thread: main.
 */
#ifndef WORKER_MODEL_LINES_H
#define WORKER_MODEL_LINES_H

#include <jansson.h>
#include <stdint.h>

#include "schemas/base/arena.h"
#include "schemas/base/error.h"

/* Makes the object that answers `line`, an object; NULL with *error set. `arena` is the line's. */
struct model_lines {
    json_t *(*answer)(void *context, json_t *line, struct arena *arena, struct error *error);
    void *context;
};

/* False when stdin or stdout fail. */
MUST_CHECK bool model_lines_run(const struct model_lines *lines, struct error *error);

/* The member "ids", token ids, in the arena; NULL with *error set. */
int32_t *model_lines_ids(const json_t *line, struct arena *arena, size_t *count_out,
                         struct error *error);
/* An array of ids as JSON. */
json_t *model_lines_json_ids(const int32_t *ids, size_t count);

#endif
