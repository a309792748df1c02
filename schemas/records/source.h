/* source: ids that derive from where a record stands. Thread: any. */
#ifndef SCHEMAS_RECORDS_SOURCE_H
#define SCHEMAS_RECORDS_SOURCE_H

#include "schemas/base/records.h"

/* The id of whatever answers the record at `source`: 40 hexadecimal digits, the same each time. */
enum { SOURCE_ID_SIZE = 41 }; // with the NUL
void source_id(const struct source *source, char id_out[SOURCE_ID_SIZE]);

#endif
