/* avro_write: a struct as Avro binary. */
#include "schemas/records/avro_write.h"

#include <stdint.h>

#include "schemas/base/check.h"

static void write_long(struct buffer *buffer, int64_t value)
{
    uint64_t bits = (uint64_t)value << 1 ^ (value < 0 ? UINT64_MAX : 0);
    char varint[10];
    size_t size = 0;
    while (bits > 0x7F) {
        varint[size++] = (char)(unsigned char)(0x80 | (bits & 0x7F));
        bits >>= 7;
    }
    varint[size++] = (char)bits;
    buffer_append(buffer, varint, size);
}

static void write_double(struct buffer *buffer, double value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    char little_endian[8];
    for (int i = 0; i < 8; i++) {
        little_endian[i] = (char)(unsigned char)(bits >> (8 * i) & 0xFF);
    }
    buffer_append(buffer, little_endian, sizeof little_endian);
}

static void write_bytes(struct buffer *buffer, const struct bytes *bytes)
{
    write_long(buffer, (int64_t)bytes->size);
    buffer_append_bytes(buffer, *bytes);
}

static void write_value(struct buffer *buffer, const struct type *type, const void *value);

/* One block, then the end. */
static void write_items(struct buffer *buffer, const struct type *type, const struct list *list)
{
    size_t item_size = type_item_size(type);
    if (list->count > 0) {
        write_long(buffer, (int64_t)list->count);
    }
    for (size_t i = 0; i < list->count; i++) {
        const char *item = (const char *)list->items + i * item_size;
        if (type->kind == TYPE_MAP) {
            write_bytes(buffer, (const struct bytes *)(const void *)item);
            item += PAIR_VALUE_OFFSET;
        }
        write_value(buffer, type->item, item);
    }
    write_long(buffer, 0);
}

static void write_value(struct buffer *buffer, const struct type *type, const void *value)
{
    struct list list;
    int index;
    switch (type->kind) {
    case TYPE_TEXT:
    case TYPE_OBJECT:
        write_bytes(buffer, value);
        return;
    case TYPE_INT:
        write_long(buffer, *(const int32_t *)value);
        return;
    case TYPE_LONG:
        write_long(buffer, *(const int64_t *)value);
        return;
    case TYPE_DOUBLE:
        write_double(buffer, *(const double *)value);
        return;
    case TYPE_BOOLEAN:
        buffer_append_char(buffer, *(const bool *)value ? 1 : 0);
        return;
    case TYPE_ENUM:
        memcpy(&index, value, sizeof index);
        write_long(buffer, index);
        return;
    case TYPE_RECORD:
        avro_write_record(buffer, type->layout, value);
        return;
    case TYPE_LIST:
    case TYPE_MAP:
        memcpy(&list, value, sizeof list);
        write_items(buffer, type, &list);
        return;
    }
    CHECK(false && "a type's kind");
}

void avro_write_record(struct buffer *buffer, const struct layout *layout, const void *record)
{
    for (size_t i = 0; i < layout->count; i++) {
        const struct field *field = &layout->fields[i];
        if (field->is_optional) { // union of null and the type
            bool is_absent = field_is_absent(field, record);
            write_long(buffer, is_absent ? 0 : 1);
            if (is_absent) {
                continue;
            }
        }
        write_value(buffer, field->type, field_value(field, record));
    }
}
