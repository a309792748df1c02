/* avro_read: runs a plan over untrusted bytes. See avro_plan.h. */
#include "schemas/records/avro_plan.h"

#include "schemas/base/check.h"
#include "schemas/records/avro_plan_internal.h"
#include "schemas/records/text.h"

static const char NO_MEMORY[] = "the record needs more memory than a record may have";
static const char WRONG_BRANCH[] = "a union's branch has a type that the field cannot take";

/* `slot` is where the value goes, NULL with a step that skips. */
static bool run(const struct step *step, struct cursor *cursor, struct arena *arena, void *slot);

static bool run_bytes(const struct step *step, struct cursor *cursor, void *slot)
{
    struct bytes value;
    if (!cursor_bytes(cursor, &value)) {
        return false;
    }
    if (slot != NULL) {
        if (step->type->kind == TYPE_TEXT && !text_is_utf8(value)) {
            return cursor_fail(cursor, "a string is not UTF-8");
        }
        *(struct bytes *)slot = value;
    }
    return true;
}

static bool store_integer(const struct step *step, struct cursor *cursor, int64_t value, void *slot)
{
    if (step->kind == STEP_INT && (value < INT32_MIN || value > INT32_MAX)) {
        return cursor_fail(cursor, "an int takes more than 32 bits");
    }
    if (slot == NULL) {
        return true;
    }
    if (step->type->kind == TYPE_INT) {
        *(int32_t *)slot = (int32_t)value;
    } else if (step->type->kind == TYPE_LONG) {
        *(int64_t *)slot = value;
    } else {
        *(double *)slot = (double)value;
    }
    return true;
}

static bool run_integer(const struct step *step, struct cursor *cursor, void *slot)
{
    int64_t value;
    return cursor_long(cursor, &value) && store_integer(step, cursor, value, slot);
}

static bool run_boolean(struct cursor *cursor, void *slot)
{
    bool unused;
    return cursor_boolean(cursor, slot == NULL ? &unused : slot);
}

static bool run_number(const struct step *step, struct cursor *cursor, void *slot)
{
    double unused;
    double *value = slot == NULL ? &unused : slot;
    return step->kind == STEP_FLOAT ? cursor_float(cursor, value) : cursor_double(cursor, value);
}

static bool run_enum(const struct step *step, struct cursor *cursor, void *slot)
{
    int64_t index;
    if (!cursor_long(cursor, &index)) {
        return false;
    }
    if (index < 0 || (uint64_t)index >= step->count) {
        return cursor_fail(cursor, "an enum's index is out of range");
    }
    if (slot != NULL) {
        if (step->symbols[index] < 0) {
            return cursor_fail(cursor, "an enum's symbol is not known to this version");
        }
        memcpy(slot, &step->symbols[index], sizeof(int));
    }
    return true;
}

/* Leaves in *step_out the branch that the data chose, or the step itself when it is no union. */
static bool choose(const struct step *step, struct cursor *cursor, const struct step **step_out)
{
    *step_out = step;
    if (step->kind != STEP_UNION) {
        return true;
    }
    int64_t branch;
    if (!cursor_long(cursor, &branch)) {
        return false;
    }
    if (branch < 0 || (uint64_t)branch >= step->count) {
        return cursor_fail(cursor, "a union's branch is out of range");
    }
    *step_out = step->branches[branch];
    return true;
}

static bool run_field(const struct step_field *part, struct cursor *cursor, struct arena *arena,
                      void *record)
{
    const struct field *field = part->field;
    const struct step *step;
    if (!choose(part->step, cursor, &step)) {
        return false;
    }
    if (field == NULL) {
        return run(step, cursor, arena, NULL);
    }
    if (step->kind == STEP_NULL && field->is_optional) {
        return true;
    }
    char *slot = (char *)record + field->offset;
    if (field->is_optional && field->type->kind == TYPE_RECORD) {
        void *inner = arena_alloc(arena, field->type->size);
        if (inner == NULL) {
            return cursor_fail(cursor, NO_MEMORY);
        }
        memcpy(slot, &inner, sizeof inner);
        slot = inner;
    } else if (field->has_offset != 0) {
        *(bool *)((char *)record + field->has_offset) = true;
    }
    return run(step, cursor, arena, slot);
}

static bool run_record(const struct step *step, struct cursor *cursor, struct arena *arena,
                       void *slot)
{
    if (!cursor_charge(cursor, step->count)) {
        return false;
    }
    for (size_t i = 0; i < step->count; i++) {
        if (!run_field(&step->fields[i], cursor, arena, slot)) {
            if (cursor->field == NULL && step->fields[i].field != NULL) {
                cursor->field = step->fields[i].field->name;
            }
            return false;
        }
    }
    return true;
}

/* One item of an array, or one pair of a map, into `slot` or nowhere. */
static bool run_item(const struct step *step, struct cursor *cursor, struct arena *arena,
                     char *slot)
{
    if (step->kind == STEP_ARRAY) {
        return run(step->item, cursor, arena, slot);
    }
    struct bytes name;
    if (!cursor_bytes(cursor, &name)) {
        return false;
    }
    if (slot == NULL) {
        return run(step->item, cursor, arena, NULL);
    }
    if (!text_is_utf8(name)) {
        return cursor_fail(cursor, "a map's key is not UTF-8");
    }
    memcpy(slot, &name, sizeof name);
    return run(step->item, cursor, arena, slot + PAIR_VALUE_OFFSET);
}

/* Makes room for `count` more items; doubles, so that many small blocks stay linear. */
static bool grow(struct list *list, size_t *capacity, size_t count, size_t item_size,
                 struct arena *arena)
{
    size_t needed = list->count + count;
    if (needed <= *capacity) {
        return true;
    }
    size_t wanted = 2 * *capacity > needed ? 2 * *capacity : needed;
    char *items = arena_alloc_array(arena, wanted, item_size);
    if (items == NULL) {
        return false;
    }
    if (list->count > 0) {
        memcpy(items, list->items, list->count * item_size);
    }
    list->items = items;
    *capacity = wanted;
    return true;
}

/* Whether the last pair's name is among those before it. */
static bool is_last_name_known(const struct list *list, size_t item_size)
{
    struct bytes last;
    memcpy(&last, (const char *)list->items + (list->count - 1) * item_size, sizeof last);
    for (size_t i = 0; i + 1 < list->count; i++) {
        struct bytes name;
        memcpy(&name, (const char *)list->items + i * item_size, sizeof name);
        if (bytes_equal(name, last)) {
            return true;
        }
    }
    return false;
}

/* One block's items, appended to the list. */
static bool run_block(const struct step *step, struct cursor *cursor, struct arena *arena,
                      struct list *list, size_t count)
{
    size_t item_size = type_item_size(step->type);
    for (size_t i = 0; i < count; i++) {
        if (!run_item(step, cursor, arena, (char *)list->items + list->count * item_size)) {
            return false;
        }
        list->count++;
        if (step->kind == STEP_MAP && is_last_name_known(list, item_size)) {
            return cursor_fail(cursor, "a map has a key twice");
        }
    }
    return true;
}

static bool skip_block(const struct step *step, struct cursor *cursor, struct arena *arena,
                       size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (!run_item(step, cursor, arena, NULL)) {
            return false;
        }
    }
    return true;
}

static bool run_items(const struct step *step, struct cursor *cursor, struct arena *arena,
                      void *slot)
{
    struct list list = {NULL, 0};
    size_t capacity = 0;
    for (;;) {
        size_t count;
        if (!cursor_block(cursor, &count)) {
            return false;
        }
        if (count == 0) {
            break;
        }
        if (slot == NULL) {
            if (!skip_block(step, cursor, arena, count)) {
                return false;
            }
            continue;
        }
        if (count > LIST_ITEMS_MAX - list.count) {
            return cursor_fail(cursor, "an array or map has more than 256 items");
        }
        if (!grow(&list, &capacity, count, type_item_size(step->type), arena)) {
            return cursor_fail(cursor, NO_MEMORY);
        }
        if (!run_block(step, cursor, arena, &list, count)) {
            return false;
        }
    }
    if (slot != NULL) {
        memcpy(slot, &list, sizeof list);
    }
    return true;
}

static bool run_nested(const struct step *step, struct cursor *cursor, struct arena *arena,
                       void *slot)
{
    const struct step *branch;
    if (cursor->depth == CURSOR_DEPTH_MAX) {
        return cursor_fail(cursor, "the value is nested more than 64 levels deep");
    }
    cursor->depth++;
    bool ok = step->kind == STEP_RECORD ? run_record(step, cursor, arena, slot)
              : step->kind == STEP_UNION
                  ? choose(step, cursor, &branch) && run(branch, cursor, arena, slot)
                  : run_items(step, cursor, arena, slot);
    cursor->depth--;
    return ok;
}

static bool run(const struct step *step, struct cursor *cursor, struct arena *arena, void *slot)
{
    switch (step->kind) {
    case STEP_NULL:
        return slot == NULL || cursor_fail(cursor, WRONG_BRANCH);
    case STEP_BOOLEAN:
        return run_boolean(cursor, slot);
    case STEP_INT:
    case STEP_LONG:
        return run_integer(step, cursor, slot);
    case STEP_FLOAT:
    case STEP_DOUBLE:
        return run_number(step, cursor, slot);
    case STEP_BYTES:
        return run_bytes(step, cursor, slot);
    case STEP_FIXED:
        return cursor_skip(cursor, step->count);
    case STEP_ENUM:
        return run_enum(step, cursor, slot);
    case STEP_RECORD:
    case STEP_ARRAY:
    case STEP_MAP:
    case STEP_UNION:
        return run_nested(step, cursor, arena, slot);
    case STEP_MISMATCH:
        return cursor_fail(cursor, WRONG_BRANCH);
    }
    CHECK(false && "a step's kind");
    return false;
}

bool avro_plan_read(const struct avro_plan *plan, struct bytes data, struct arena *arena,
                    void *record_out, struct error *error)
{
    struct cursor cursor = cursor_of(data);
    if (run(plan->root, &cursor, arena, record_out)) {
        if (cursor.at == cursor.end) {
            return true;
        }
        cursor_fail(&cursor, "bytes follow the record's end");
    }
    return error_set(error, ERROR_UNDECODABLE, NULL, cursor.field,
                     "not a valid Avro %s: %s, at byte %zu of %zu%s%s", plan->type.layout->name,
                     cursor.problem, (size_t)(cursor.at - cursor.start), data.size,
                     cursor.field == NULL ? "" : ", in field ",
                     cursor.field == NULL ? "" : cursor.field);
}
