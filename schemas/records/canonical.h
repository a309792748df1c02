/* canonical: Avro's Parsing Canonical Form and the fingerprint over it. Thread: any. */
#ifndef SCHEMAS_RECORDS_CANONICAL_H
#define SCHEMAS_RECORDS_CANONICAL_H

#include <stdint.h>

#include "schemas/base/buffer.h"
#include "schemas/base/bytes.h"
#include "schemas/base/error.h"

/* Appends the canonical form of a schema: full names, no attributes but those that matter to a
 * reader, in a fixed order, no white space. The text must be a schema; not everything that is none
 * is seen here. */
bool canonical_form(struct bytes schema_json, struct buffer *out, struct error *error) MUST_CHECK;

/* CRC-64-AVRO, the 64-bit Rabin fingerprint of the Avro specification. */
uint64_t canonical_fingerprint(struct bytes canonical);

#endif
