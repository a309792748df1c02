/* value_path: steps at the end of a text. */
#include "pipeline/compare/value_path.h"

#include <stdio.h>
#include <string.h>

static size_t add(struct value_path *path, const char *text)
{
    if (path->size < sizeof path->text) {
        (void)snprintf(path->text + path->size, sizeof path->text - path->size, "%s", text);
    }
    size_t size = path->size;
    path->size += strlen(text);
    return size;
}

size_t value_path_add_key(struct value_path *path, const char *key)
{
    size_t size = path->size;
    if (size > 0) {
        (void)add(path, ".");
    }
    (void)add(path, key);
    return size;
}

size_t value_path_add_index(struct value_path *path, size_t index)
{
    char step[32];
    (void)snprintf(step, sizeof step, "[%zu]", index);
    return add(path, step);
}

void value_path_cut(struct value_path *path, size_t size)
{
    path->size = size;
    if (size < sizeof path->text) {
        path->text[size] = '\0';
    }
}

const char *value_path_text(const struct value_path *path)
{
    return path->size == 0 ? "(root)" : path->text;
}
