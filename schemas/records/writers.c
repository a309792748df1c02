/* writers: the table of those who wrote Avro values. */
#include "schemas/records/writers.h"

#include <stdlib.h>

#include "schemas/records/record_kinds.h"

bool writers_open(struct writers *writers)
{
    writers->count = 0;
    writers->items = calloc(WRITERS_MAX, sizeof *writers->items);
    return writers->items != NULL;
}

void writers_close(struct writers *writers)
{
    for (size_t i = 0; i < writers->count; i++) {
        avro_plan_close(writers->items[i].plan);
    }
    free(writers->items);
    *writers = (struct writers){.count = 0};
}

const struct writer *writers_find(const struct writers *writers, enum writer_key key_kind,
                                  uint64_t key)
{
    for (size_t i = 0; i < writers->count; i++) {
        const struct writer *writer = &writers->items[i];
        if (writer->key == key && writer->key_kind == key_kind) {
            return writer;
        }
    }
    return NULL;
}

/* Which of our records the schema describes, by the record's name. */
static bool schema_kind(struct bytes schema_json, enum record_kind *kind_out, struct error *error)
{
    struct arena *arena = arena_open(1 << 16);
    if (arena == NULL) {
        return error_set(error, ERROR_FATAL, NULL, NULL, "out of memory");
    }
    struct bytes name;
    bool ok = avro_schema_record_name(schema_json, arena, &name, error);
    if (ok) {
        int kind = 0;
        while (kind < RECORD_KINDS && !bytes_equal_text(name, record_infos[kind].layout->name)) {
            kind++;
        }
        ok = kind < RECORD_KINDS ||
             error_set(error, ERROR_UNDECODABLE, NULL, NULL,
                       "the Avro schema describes %.100s, which is no record of Millrace",
                       name.data);
        *kind_out = (enum record_kind)kind;
    }
    arena_close(arena);
    return ok;
}

bool writer_is_usable(const struct writer *writer, struct error *error)
{
    if (writer->plan == NULL) {
        *error = writer->refusal;
    }
    return writer->plan != NULL;
}

bool writers_add(struct writers *writers, enum writer_key key_kind, uint64_t key,
                 struct bytes schema_json, struct error *error)
{
    const struct writer *known = writers_find(writers, key_kind, key);
    if (known != NULL) {
        return writer_is_usable(known, error);
    }
    if (writers->count == WRITERS_MAX) {
        return error_set(error, ERROR_UNDECODABLE, NULL, NULL,
                         "the table of Avro schemas is full, it holds %d", WRITERS_MAX);
    }
    struct writer *writer = &writers->items[writers->count++];
    *writer = (struct writer){.key_kind = key_kind, .key = key};
    if (schema_kind(schema_json, &writer->kind, &writer->refusal)) {
        writer->plan =
            avro_plan_open(schema_json, record_infos[writer->kind].layout, &writer->refusal);
    }
    return writer_is_usable(writer, error);
}
