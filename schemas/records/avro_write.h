/* avro_write: a struct as Avro binary, in the layout's order, which is our current schema's. */
#ifndef SCHEMAS_RECORDS_AVRO_WRITE_H
#define SCHEMAS_RECORDS_AVRO_WRITE_H

#include "schemas/base/buffer.h"
#include "schemas/records/layout.h"

/* Appends the record without framing. Absent texts that the schema does not allow to be null are
 * written empty. Failure is the buffer's. */
void avro_write_record(struct buffer *buffer, const struct layout *layout, const void *record);

#endif
