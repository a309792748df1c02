/* record_kinds: the four records, each with its table and its current schema. Thread: any;
 * constants. */
#ifndef SCHEMAS_RECORDS_RECORD_KINDS_H
#define SCHEMAS_RECORDS_RECORD_KINDS_H

#include "schemas/records/layout.h"
#include "schemas/records/record_codec.h"

struct record_info {
    const struct layout *layout;
    const char *schema; // the .avsc's text
};

extern const struct record_info record_infos[RECORD_KINDS];

#endif
