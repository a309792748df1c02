/* writers: the table of those who wrote Avro values, found by Confluent id or by fingerprint.
 *
 * A schema that cannot be used has its place, too, with the reason: a topic full of its values must
 * not ask the registry for each. Entries never leave; a registry's ids never change their meaning.
 *
 * Thread: loop (libavro).
 */
#ifndef SCHEMAS_RECORDS_WRITERS_H
#define SCHEMAS_RECORDS_WRITERS_H

#include <stdbool.h>
#include <stdint.h>

#include "schemas/base/error.h"
#include "schemas/records/avro_plan.h"
#include "schemas/records/record_codec.h"

enum { WRITERS_MAX = 1024 };

enum writer_key { WRITER_ID, WRITER_FINGERPRINT };

/* How one writer wrote. */
struct writer {
    enum writer_key key_kind;
    uint64_t key;
    enum record_kind kind;
    struct avro_plan *plan; // NULL: the schema cannot be used, for the reason in `refusal`
    struct error refusal;
};

struct writers {
    struct writer *items; // WRITERS_MAX of them
    size_t count;
};

bool writers_open(struct writers *writers) MUST_CHECK; // false when out of memory
void writers_close(struct writers *writers);           // a zeroed struct is closed

/* NULL where there is none; borrowed until writers_close. */
const struct writer *writers_find(const struct writers *writers, enum writer_key key_kind,
                                  uint64_t key);

/* False when the schema cannot be used, or the table is full and nothing was added. */
bool writers_add(struct writers *writers, enum writer_key key_kind, uint64_t key,
                 struct bytes schema_json, struct error *error) MUST_CHECK;

/* False, with the reason in *error, for one whose schema cannot be used. */
bool writer_is_usable(const struct writer *writer, struct error *error) MUST_CHECK;

#endif
