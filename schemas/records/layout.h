/* layout: what the record structs look like, as data. One table per struct drives every wire
 * format: Avro in and out, JSON in and out. A field is named as in the .avsc, and the order is the
 * .avsc's (record_codec_open checks both). To add a field: the .avsc (nullable, with a default),
 * the struct, one line here.
 */
#ifndef SCHEMAS_RECORDS_LAYOUT_H
#define SCHEMAS_RECORDS_LAYOUT_H

#include <stdbool.h>
#include <stddef.h>

enum type_kind {
    TYPE_TEXT,    // struct bytes, valid UTF-8
    TYPE_OBJECT,  // struct bytes, a JSON object; Avro bytes
    TYPE_INT,     // int32_t
    TYPE_LONG,    // int64_t
    TYPE_DOUBLE,  // double
    TYPE_BOOLEAN, // bool
    TYPE_ENUM,    // an enum, counted from 0 in the order of `symbols`
    TYPE_RECORD,  // a struct, in place; a pointer to it where the field is optional
    TYPE_LIST,    // struct list of `item`
    TYPE_MAP,     // struct list of pairs: struct bytes name, then the `item` at PAIR_VALUE_OFFSET
};

struct type {
    enum type_kind kind;
    size_t size;                 // in memory
    const struct layout *layout; // TYPE_RECORD
    const struct type *item;     // TYPE_LIST, TYPE_MAP
    const char *const *symbols;  // TYPE_ENUM, NULL at the end
};

/* Every `{T *items; size_t count;}` of records.h has this shape. */
struct list {
    void *items;
    size_t count;
};

enum {
    PAIR_VALUE_OFFSET = 16, // checked in layout.c
    LIST_ITEMS_MAX = 256,   // in every list and map that is read
};

struct field {
    const char *name;
    const struct type *type;
    size_t offset;
    size_t has_offset; // of the bool before an optional number
    bool is_optional;  // Avro: a union with null
    bool is_required;  // the .avsc has no default
    bool is_in_line;   // JSON: part of OpenAI's own line, not of the `millrace` member
};

struct layout {
    const char *name; // the .avsc's, without namespace
    size_t size;      // of the struct
    const struct field *fields;
    size_t count;
};

extern const struct layout layout_request;
extern const struct layout layout_response;
extern const struct layout layout_comparison;
extern const struct layout layout_control;

/* NULL where the record has no such field. */
const struct field *layout_field(const struct layout *layout, const char *name);

/* Whether the field of this record holds nothing. Only for optional fields, lists and maps. */
bool field_is_absent(const struct field *field, const void *record);

/* The address of the field's value: follows the pointer of an optional record. */
const void *field_value(const struct field *field, const void *record);

/* Bytes that one item of a list or map takes in memory. */
size_t type_item_size(const struct type *type);

#endif
