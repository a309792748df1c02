/* fields: two JSON values compared path by path.
 *
 * A field is a path to a value that has nothing inside it: a string, a number, true, false, null,
 * an empty object, an empty array. Numbers are equal by value, 1 as 1.0; strings by their bytes.
 * Thread: any, no state.
 */
#ifndef PIPELINE_COMPARE_FIELDS_H
#define PIPELINE_COMPARE_FIELDS_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

/* Deeper levels are not opened: what is there is one field. */
enum { FIELDS_DEPTH_MAX = 64, FIELDS_PATH_SIZE = 128 };

struct fields {
    size_t total;                      // paths that are in either
    size_t equal;                      // paths at which both have the same value
    char difference[FIELDS_PATH_SIZE]; // the first other path, "items[0].name"; cut at the end
};

struct fields fields_compare(json_t *reference, json_t *candidate);

/* equal / total. */
double fields_accuracy(const struct fields *fields);

#endif
