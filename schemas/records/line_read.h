/* line_read: JSON values into the record structs. Thread: any.
 *
 * Texts are borrowed from the value, or in the arena where they had escapes. The struct must be
 * zeroed.
 */
#ifndef SCHEMAS_RECORDS_LINE_READ_H
#define SCHEMAS_RECORDS_LINE_READ_H

#include "schemas/base/arena.h"
#include "schemas/base/error.h"
#include "schemas/base/records.h"
#include "schemas/records/layout.h"

/* A line of an OpenAI batch file, with or without a `millrace` member. False with
 * ERROR_UNDECODABLE, or with ERROR_INVALID when custom_id and body are there and something else is
 * wrong: then the struct holds everything that could be read. */
bool line_read_request(struct bytes value, struct arena *arena, struct inference_request *out,
                       struct error *error) MUST_CHECK;

/* A line of an OpenAI batch output file, with or without `millrace`. */
bool line_read_response(struct bytes value, struct arena *arena, struct inference_response *out,
                        struct error *error) MUST_CHECK;

/* An object with the layout's fields by their names. */
bool line_read_record(struct bytes value, const struct layout *layout, struct arena *arena,
                      void *record_out, struct error *error) MUST_CHECK;

#endif
