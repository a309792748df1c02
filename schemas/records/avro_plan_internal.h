/* avro_plan_internal: the steps that avro_plan.c compiles and avro_read.c runs. */
#ifndef SCHEMAS_RECORDS_AVRO_PLAN_INTERNAL_H
#define SCHEMAS_RECORDS_AVRO_PLAN_INTERNAL_H

#include "schemas/records/avro_plan.h"
#include "schemas/records/cursor.h"

/* What is on the wire, by the writer's schema. */
enum step_kind {
    STEP_NULL,
    STEP_BOOLEAN,
    STEP_INT,
    STEP_LONG,
    STEP_FLOAT,
    STEP_DOUBLE,
    STEP_BYTES, // string, too
    STEP_FIXED, // `count` bytes; only skipped
    STEP_ENUM,
    STEP_RECORD,
    STEP_ARRAY,
    STEP_MAP,
    STEP_UNION,
    STEP_MISMATCH, // a branch of a union that the reader cannot take
};

struct step_field {
    const struct field *field; // NULL: skipped
    const struct step *step;
};

struct step {
    enum step_kind kind;
    const struct type *type; // what it is read into; NULL: read and forgotten
    size_t count;            // of symbols, fields, branches or bytes
    union {
        const int *symbols; // STEP_ENUM: the writer's index to ours, -1 where we know none
        const struct step_field *fields;
        const struct step *const *branches;
        const struct step *item;
    };
};

struct avro_plan {
    struct arena *arena; // the steps
    struct type type;    // of the whole record
    const struct step *root;
};

#endif
