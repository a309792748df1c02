/* value_path: where in a JSON value something is, "items[0].name", for people; cut at the end.
 * Thread: one at a time. */
#ifndef PIPELINE_COMPARE_VALUE_PATH_H
#define PIPELINE_COMPARE_VALUE_PATH_H

#include <stddef.h>

enum { VALUE_PATH_SIZE = 128 };

struct value_path {
    char text[VALUE_PATH_SIZE];
    size_t size; // of the whole path, which may be more than `text` holds
};

/* Both return the size before, for `value_path_cut` on the way back. */
size_t value_path_add_key(struct value_path *path, const char *key);
size_t value_path_add_index(struct value_path *path, size_t index);
void value_path_cut(struct value_path *path, size_t size);

/* "(root)" for an empty one. Borrowed until the path changes. */
const char *value_path_text(const struct value_path *path);

#endif
