/* avro_plan: compiled schema resolution. */
#include "schemas/records/avro_plan.h"

#include <avro.h>
#include <stdlib.h>

#include "schemas/base/check.h"
#include "schemas/records/avro_plan_internal.h"

enum {
    SCHEMA_BYTES_MAX = 1 << 18,
    STEPS_MAX = 8192, // ours have about 100
    DEPTH_MAX = CURSOR_DEPTH_MAX,
    PLAN_BYTES_MAX = 4 << 20,
};

/* Records that are skipped, so that one that contains itself is compiled once. */
struct skipped {
    struct skipped *next;
    avro_schema_t schema;
    struct step *step;
};

struct compiler {
    struct arena *arena;
    struct skipped *skipped;
    size_t steps;
    unsigned depth;
    struct error *error;
};

static const struct step *compile(struct compiler *compiler, avro_schema_t schema,
                                  const struct type *type);

static const struct step *give_up(struct compiler *compiler, const char *what)
{
    error_set(compiler->error, ERROR_UNDECODABLE, NULL, NULL, "the Avro schema %s", what);
    return NULL;
}

static struct step *step_new(struct compiler *compiler, enum step_kind kind,
                             const struct type *type)
{
    struct step *step = arena_alloc(compiler->arena, sizeof *step);
    if (step == NULL || ++compiler->steps > STEPS_MAX) {
        give_up(compiler, "is larger than 8192 types");
        return NULL;
    }
    step->kind = kind;
    step->type = type;
    return step;
}

static void *array_new(struct compiler *compiler, size_t count, size_t size)
{
    void *array = arena_alloc_array(compiler->arena, count, size);
    if (array == NULL) {
        give_up(compiler, "is larger than 4 MiB of reading steps");
    }
    return array;
}

/* What a primitive of the writer can be read as: the bits of enum type_kind. */
static const struct {
    avro_type_t avro;
    enum step_kind kind;
    unsigned readable;
} primitives[] = {
    {AVRO_NULL, STEP_NULL, 0},
    {AVRO_BOOLEAN, STEP_BOOLEAN, 1U << TYPE_BOOLEAN},
    {AVRO_INT32, STEP_INT, 1U << TYPE_INT | 1U << TYPE_LONG | 1U << TYPE_DOUBLE},
    {AVRO_INT64, STEP_LONG, 1U << TYPE_LONG | 1U << TYPE_DOUBLE},
    {AVRO_FLOAT, STEP_FLOAT, 1U << TYPE_DOUBLE},
    {AVRO_DOUBLE, STEP_DOUBLE, 1U << TYPE_DOUBLE},
    {AVRO_STRING, STEP_BYTES, 1U << TYPE_TEXT | 1U << TYPE_OBJECT},
    {AVRO_BYTES, STEP_BYTES, 1U << TYPE_TEXT | 1U << TYPE_OBJECT},
};

static const struct step *compile_primitive(struct compiler *compiler, avro_schema_t schema,
                                            const struct type *type)
{
    for (size_t i = 0; i < sizeof primitives / sizeof primitives[0]; i++) {
        if (primitives[i].avro == avro_typeof(schema)) {
            bool is_readable = type == NULL || (primitives[i].readable >> type->kind & 1) != 0 ||
                               primitives[i].kind == STEP_NULL;
            enum step_kind kind = is_readable ? primitives[i].kind : STEP_MISMATCH;
            return step_new(compiler, kind, type);
        }
    }
    return give_up(compiler, "has a type that this program does not know");
}

static int symbol_index(const struct type *type, const char *symbol)
{
    for (int i = 0; type->symbols[i] != NULL; i++) {
        if (strcmp(type->symbols[i], symbol) == 0) {
            return i;
        }
    }
    return -1;
}

static const struct step *compile_enum(struct compiler *compiler, avro_schema_t schema,
                                       const struct type *type)
{
    int count = avro_schema_enum_number_of_symbols(schema);
    struct step *step = step_new(compiler, STEP_ENUM, type);
    int *symbols = array_new(compiler, (size_t)count, sizeof *symbols);
    if (step == NULL || symbols == NULL) {
        return NULL;
    }
    for (int i = 0; i < count && type != NULL; i++) {
        symbols[i] = symbol_index(type, avro_schema_enum_get(schema, i));
    }
    step->symbols = symbols;
    step->count = (size_t)count;
    return step;
}

static const struct step *compile_items(struct compiler *compiler, avro_schema_t items,
                                        enum step_kind kind, const struct type *type)
{
    struct step *step = step_new(compiler, kind, type);
    const struct step *item = compile(compiler, items, type == NULL ? NULL : type->item);
    if (step == NULL || item == NULL) {
        return NULL;
    }
    step->item = item;
    return step;
}

static const struct step *compile_union(struct compiler *compiler, avro_schema_t schema,
                                        const struct type *type)
{
    size_t count = avro_schema_union_size(schema);
    struct step *step = step_new(compiler, STEP_UNION, type);
    const struct step **branches = array_new(compiler, count, sizeof *branches);
    if (step == NULL || branches == NULL) {
        return NULL;
    }
    for (size_t i = 0; i < count; i++) {
        branches[i] = compile(compiler, avro_schema_union_branch(schema, (int)i), type);
        if (branches[i] == NULL) {
            return NULL;
        }
    }
    step->branches = branches;
    step->count = count;
    return step;
}

/* Fields that have no default must be in the writer's schema. */
static bool has_required_fields(struct compiler *compiler, avro_schema_t schema,
                                const struct layout *layout)
{
    for (size_t i = 0; i < layout->count; i++) {
        const char *name = layout->fields[i].name;
        if (layout->fields[i].is_required && avro_schema_record_field_get_index(schema, name) < 0) {
            return error_set(compiler->error, ERROR_UNDECODABLE, NULL, NULL,
                             "the Avro schema's record %.100s has no field %s, which %s needs",
                             avro_schema_name(schema), name, layout->name);
        }
    }
    return true;
}

static bool compile_field(struct compiler *compiler, avro_schema_t schema, size_t index,
                          const struct layout *layout, struct step_field *field_out)
{
    const char *name = avro_schema_record_field_name(schema, (int)index);
    const struct field *field = layout == NULL ? NULL : layout_field(layout, name);
    avro_schema_t written = avro_schema_record_field_get_by_index(schema, (int)index);
    const struct step *step = compile(compiler, written, field == NULL ? NULL : field->type);
    if (step == NULL) {
        return false;
    }
    if (field != NULL &&
        (step->kind == STEP_MISMATCH || (step->kind == STEP_NULL && !field->is_optional))) {
        return error_set(compiler->error, ERROR_UNDECODABLE, NULL, NULL,
                         "the Avro schema's field %s has type %.100s, which %s cannot take", name,
                         avro_schema_type_name(written), layout->name);
    }
    *field_out = (struct step_field){field, step};
    return true;
}

static const struct step *compile_record(struct compiler *compiler, avro_schema_t schema,
                                         const struct type *type)
{
    for (struct skipped *known = compiler->skipped; type == NULL && known != NULL;
         known = known->next) {
        if (known->schema == schema) {
            return known->step;
        }
    }
    const struct layout *layout = type == NULL ? NULL : type->layout;
    size_t count = avro_schema_record_size(schema);
    struct step *step = step_new(compiler, STEP_RECORD, type);
    struct step_field *fields = array_new(compiler, count, sizeof *fields);
    struct skipped *skipped = array_new(compiler, 1, sizeof *skipped);
    if (step == NULL || fields == NULL || skipped == NULL) {
        return NULL;
    }
    if (type == NULL) {
        *skipped = (struct skipped){compiler->skipped, schema, step};
        compiler->skipped = skipped;
    } else if (!has_required_fields(compiler, schema, layout)) {
        return NULL;
    }
    for (size_t i = 0; i < count; i++) {
        if (!compile_field(compiler, schema, i, layout, &fields[i])) {
            return NULL;
        }
    }
    step->fields = fields;
    step->count = count;
    return step;
}

static const struct step *compile_fixed(struct compiler *compiler, avro_schema_t schema,
                                        const struct type *type)
{
    int64_t size = avro_schema_fixed_size(schema);
    struct step *step = step_new(compiler, type == NULL ? STEP_FIXED : STEP_MISMATCH, type);
    if (step != NULL && size < 0) {
        return give_up(compiler, "has a fixed type of negative size");
    }
    if (step != NULL) {
        step->count = (size_t)size;
    }
    return step;
}

static const struct step *compile_node(struct compiler *compiler, avro_schema_t schema,
                                       const struct type *type)
{
    avro_type_t avro = avro_typeof(schema);
    bool is_any = type == NULL;
    if (avro == AVRO_LINK) {
        return compile(compiler, avro_schema_link_target(schema), type);
    }
    if (avro == AVRO_UNION) {
        return compile_union(compiler, schema, type);
    }
    if (avro == AVRO_FIXED) {
        return compile_fixed(compiler, schema, type);
    }
    if (avro == AVRO_RECORD && (is_any || type->kind == TYPE_RECORD)) {
        return compile_record(compiler, schema, type);
    }
    if (avro == AVRO_ENUM && (is_any || type->kind == TYPE_ENUM)) {
        return compile_enum(compiler, schema, type);
    }
    if (avro == AVRO_ARRAY && (is_any || type->kind == TYPE_LIST)) {
        return compile_items(compiler, avro_schema_array_items(schema), STEP_ARRAY, type);
    }
    if (avro == AVRO_MAP && (is_any || type->kind == TYPE_MAP)) {
        return compile_items(compiler, avro_schema_map_values(schema), STEP_MAP, type);
    }
    if (avro == AVRO_RECORD || avro == AVRO_ENUM || avro == AVRO_ARRAY || avro == AVRO_MAP) {
        return step_new(compiler, STEP_MISMATCH, type);
    }
    return compile_primitive(compiler, schema, type);
}

/* NULL with the error set, or a step of the given type (NULL: the value is skipped). */
static const struct step *compile(struct compiler *compiler, avro_schema_t schema,
                                  const struct type *type)
{
    if (compiler->depth == DEPTH_MAX) {
        return give_up(compiler, "is nested more than 64 levels deep");
    }
    compiler->depth++;
    const struct step *step = compile_node(compiler, schema, type);
    compiler->depth--;
    return step;
}

static bool schema_parse(struct bytes json, avro_schema_t *schema_out, struct error *error)
{
    if (json.data == NULL || json.size > SCHEMA_BYTES_MAX) {
        return error_set(error, ERROR_UNDECODABLE, NULL, NULL,
                         "an Avro schema may have %d bytes, this one has %zu", SCHEMA_BYTES_MAX,
                         json.size);
    }
    if (avro_schema_from_json_length(json.data, json.size, schema_out) != 0) {
        return error_set(error, ERROR_UNDECODABLE, NULL, NULL, "not an Avro schema: %.200s",
                         avro_strerror());
    }
    if (!is_avro_record(*schema_out)) {
        avro_schema_decref(*schema_out);
        return error_set(error, ERROR_UNDECODABLE, NULL, NULL,
                         "the Avro schema must describe a record, not another type");
    }
    return true;
}

bool avro_schema_record_name(struct bytes schema_json, struct arena *arena, struct bytes *name_out,
                             struct error *error)
{
    avro_schema_t schema;
    if (!schema_parse(schema_json, &schema, error)) {
        return false;
    }
    *name_out = arena_copy(arena, bytes_of(avro_schema_name(schema)));
    avro_schema_decref(schema);
    return name_out->data != NULL ||
           error_set(error, ERROR_UNDECODABLE, NULL, NULL, "the Avro schema's name is too long");
}

struct avro_plan *avro_plan_open(struct bytes schema_json, const struct layout *layout,
                                 struct error *error)
{
    avro_schema_t schema;
    if (!schema_parse(schema_json, &schema, error)) {
        return NULL;
    }
    struct avro_plan *plan = calloc(1, sizeof *plan);
    struct arena *arena = arena_open(PLAN_BYTES_MAX);
    const struct step *root = NULL;
    if (plan == NULL || arena == NULL) {
        error_set(error, ERROR_FATAL, NULL, NULL, "out of memory");
    } else if (strcmp(avro_schema_name(schema), layout->name) != 0) {
        error_set(error, ERROR_UNDECODABLE, NULL, NULL,
                  "the Avro schema describes %.100s where %s is expected", avro_schema_name(schema),
                  layout->name);
    } else {
        struct compiler compiler = {.arena = arena, .error = error};
        plan->type = (struct type){.kind = TYPE_RECORD, .size = layout->size, .layout = layout};
        root = compile(&compiler, schema, &plan->type);
    }
    avro_schema_decref(schema);
    if (root == NULL) {
        arena_close(arena);
        free(plan);
        return NULL;
    }
    plan->arena = arena;
    plan->root = root;
    return plan;
}

void avro_plan_close(struct avro_plan *plan)
{
    if (plan != NULL) {
        arena_close(plan->arena);
        free(plan);
    }
}
