/* line_write: the record structs as JSON, one line without its newline. Thread: any.
 *
 * Bodies are spliced in as they are: they must be JSON objects, which decoders and encoders of
 * bodies have seen to; line breaks between their tokens become spaces. Texts must be UTF-8. Absent
 * fields and empty lists are left out of `millrace`. Failure is the buffer's.
 */
#ifndef SCHEMAS_RECORDS_LINE_WRITE_H
#define SCHEMAS_RECORDS_LINE_WRITE_H

#include "schemas/base/buffer.h"
#include "schemas/base/records.h"
#include "schemas/records/layout.h"

void line_write_request(struct buffer *buffer, const struct inference_request *request);

/* Without `is_plain` the line has a `millrace` member with what OpenAI's line has no place for. */
void line_write_response(struct buffer *buffer, const struct inference_response *response,
                         bool is_plain);

/* An object with the layout's fields by their names. */
void line_write_record(struct buffer *buffer, const struct layout *layout, const void *record);

#endif
