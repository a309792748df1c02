/* avro_plan: how to read records that were written with one schema into one of our structs.
 *
 * Avro resolves a writer's schema against a reader's. Here that happens once per writer's schema:
 * libavro parses the text, and what it says is compiled into a tree of steps, each "read a long
 * into the field at offset 40" or "skip a string". Running the tree needs no libavro, allocates
 * only from the record's arena, and checks every length against the bytes at hand. libavro's own
 * reader (1.11.1) cannot be given untrusted bytes: it allocates what a length says before it looks
 * whether the bytes are there, loses that memory when they are not, and counts through an array of
 * 2^40 nulls that takes six bytes. A test holds both against each other on what is valid.
 *
 * Resolution is the specification's: fields are matched by name, the writer's unknown fields are
 * skipped, absent ones keep their default (zero or absent in memory), int -> long -> float ->
 * double and string <-> bytes are promoted, enum symbols are matched by name, unions are resolved
 * branch by branch as the data come. The record's name must be ours, without regard to the
 * namespace; aliases are not followed.
 *
 * Thread: compile on the loop (libavro); a plan is read-only after that.
 */
#ifndef SCHEMAS_RECORDS_AVRO_PLAN_H
#define SCHEMAS_RECORDS_AVRO_PLAN_H

#include "schemas/base/arena.h"
#include "schemas/base/bytes.h"
#include "schemas/base/error.h"
#include "schemas/records/layout.h"

struct avro_plan;

/* The name of the record that the schema describes, without namespace, copied into the arena. */
bool avro_schema_record_name(struct bytes schema_json, struct arena *arena, struct bytes *name_out,
                             struct error *error) MUST_CHECK;

/* NULL and *error when the text is no schema, or one that cannot be read as `layout`. */
struct avro_plan *avro_plan_open(struct bytes schema_json, const struct layout *layout,
                                 struct error *error) MUST_CHECK;
void avro_plan_close(struct avro_plan *plan); // accepts NULL

/* Reads `data` (no framing) into the struct that the layout describes, which must be zeroed. Texts
 * are borrowed from `data`, everything else is taken from the arena. Trailing bytes are an error.
 */
bool avro_plan_read(const struct avro_plan *plan, struct bytes data, struct arena *arena,
                    void *record_out, struct error *error) MUST_CHECK;

#endif
