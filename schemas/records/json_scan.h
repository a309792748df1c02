/* json_scan: checks JSON in one pass without building anything, and hands out slices of it.
 *
 * A request's body must reach the model's side as the bytes that the caller wrote, and a record
 * must be sorted out in microseconds; a parser that builds a tree gives neither. The grammar is RFC
 * 8259's, to the letter: UTF-8, no trailing commas, no leading zeros, no control characters in
 * strings. Beyond the RFC, nesting is bounded and a name may not come twice among the members that
 * are handed out.
 *
 * Slices are borrowed from the text. Thread: any.
 */
#ifndef SCHEMAS_RECORDS_JSON_SCAN_H
#define SCHEMAS_RECORDS_JSON_SCAN_H

#include "schemas/base/arena.h"
#include "schemas/base/bytes.h"
#include "schemas/base/error.h"
#include "schemas/records/layout.h"

enum { SCAN_DEPTH_MAX = 128, SCAN_ITEMS_MAX = LIST_ITEMS_MAX };

struct scan_item {
    struct bytes name;  // unescaped; absent in an array
    struct bytes value; // the bytes of the value, without white space around it
};

/* The members of an object or the elements of an array. */
struct scan_items {
    struct scan_item *items;
    size_t count;
};

/* Scans a whole text that must be one JSON object (white space around it is allowed). */
bool scan_object(struct bytes text, struct arena *arena, struct scan_items *members_out,
                 struct error *error) MUST_CHECK;

/* As above for an array. */
bool scan_array(struct bytes text, struct arena *arena, struct scan_items *elements_out,
                struct error *error) MUST_CHECK;

/* Only the check: true when `text` is one JSON object. */
bool scan_is_object(struct bytes text, struct error *error) MUST_CHECK;

/* The member of that name, NULL where there is none. */
const struct bytes *scan_find(const struct scan_items *members, const char *name);

#endif
