/* Rules about modules: own headers first, a test for each. */
#include "tests/tidy/modules.h"

#include <stdio.h>
#include <string.h>

/* Modules without a test of their own, and why. */
static const struct untested {
    const char *path;
    const char *reason;
} untested[] = {
    {"worker/main.c", "dispatches to the commands; every end-to-end test goes through it"},
};

/* All files, with what the rules about modules need to know of each. */
struct tree {
    const struct source *sources;
    size_t count;
    char headers[MODULES_SOURCES_MAX][256]; // the header of the module that a file belongs to
    bool is_tested[MODULES_SOURCES_MAX];
};

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

static const struct source *find(const struct source *sources, size_t count, const char *path)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(sources[i].path, path) == 0) {
            return &sources[i];
        }
    }
    return NULL;
}

static bool is_same_folder(const char *a, const char *b)
{
    size_t length = (size_t)(strrchr(a, '/') + 1 - a);
    return strncmp(a, b, length) == 0 && strchr(b + length, '/') == NULL;
}

/* Whether `path` lies in the folder of `user` or in one below it. */
static bool is_below(const char *path, const char *user)
{
    return strncmp(path, user, (size_t)(strrchr(user, '/') + 1 - user)) == 0;
}

static void own_header(const char *path, char *header, size_t header_size)
{
    (void)snprintf(header, header_size, "%.*s.h", (int)strcspn(path, "."), path);
}

/* The header of the module that a file belongs to: "a/b.h" for "a/b.c"; where there is none, the
 * first one of its folder that it includes. */
static void header_of(const struct source *sources, size_t count, const struct source *source,
                      char *header, size_t header_size)
{
    own_header(source->path, header, header_size);
    if (find(sources, count, header) != NULL) {
        return;
    }
    struct line line = {0};
    while (line_next(source->text, &line)) {
        char name[256];
        char quote = 0;
        if (line_include(&line, name, sizeof name, &quote) && is_same_folder(source->path, name)) {
            (void)snprintf(header, header_size, "%s", name);
            return;
        }
    }
}

/* The first include of a .c file is its own header, where it has one. */
static void check_own_header_first(const struct source *source, const char *header,
                                   struct findings *findings)
{
    struct line line = {0};
    while (line_next(source->text, &line)) {
        char name[256];
        char quote = 0;
        if (line_include(&line, name, sizeof name, &quote)) {
            if (strcmp(name, header) != 0) {
                findings_add(findings, source, line.number, "the first include must be \"%s\"",
                             header);
            }
            return;
        }
    }
}

static bool includes(const struct source *source, const char *header)
{
    char include[300];
    (void)snprintf(include, sizeof include, "#include \"%s\"", header);
    return strstr(source->text, include) != NULL;
}

static bool is_listed_untested(const char *path)
{
    for (size_t i = 0; i < COUNT(untested); i++) {
        if (strcmp(untested[i].path, path) == 0) {
            return true;
        }
    }
    return false;
}

/* Whether a test, or a source of the same folder or of one above it that is marked as tested,
 * includes the header of source `index`. */
static bool is_used_by_tested(const struct tree *tree, size_t index)
{
    for (size_t i = 0; i < tree->count; i++) {
        const char *user = tree->sources[i].path;
        bool counts = text_starts_with(user, "tests/") ||
                      (tree->is_tested[i] && is_below(tree->sources[index].path, user));
        if (counts && i != index && includes(&tree->sources[i], tree->headers[index])) {
            return true;
        }
    }
    return false;
}

/* A module is tested when a test includes its header, or when a tested module of its own folder
 * or the one above does: parts are tested through the interface of the whole. */
static void mark_tested(struct tree *tree)
{
    bool has_changed = true;
    while (has_changed) {
        has_changed = false;
        for (size_t i = 0; i < tree->count; i++) {
            if (!tree->is_tested[i] && is_used_by_tested(tree, i)) {
                tree->is_tested[i] = true;
                has_changed = true;
            }
        }
    }
}

void modules_check(const struct source *sources, size_t count, struct findings *findings)
{
    static struct tree tree;
    if (count > MODULES_SOURCES_MAX) {
        findings_add(findings, &sources[0], 1, "%zu files are more than the rules have room for",
                     count);
        return;
    }
    tree = (struct tree){.sources = sources, .count = count};
    for (size_t i = 0; i < count; i++) {
        header_of(sources, count, &sources[i], tree.headers[i], sizeof tree.headers[i]);
    }
    mark_tested(&tree);
    for (size_t i = 0; i < count; i++) {
        const char *path = sources[i].path;
        const char *dot = strrchr(path, '.');
        if (dot == NULL || strcmp(dot, ".c") != 0) {
            continue;
        }
        char header[256];
        own_header(path, header, sizeof header);
        if (find(sources, count, header) != NULL) {
            check_own_header_first(&sources[i], header, findings);
        }
        if (!text_starts_with(path, "tests/") && !text_starts_with(path, "bench/") &&
            !tree.is_tested[i] && !is_listed_untested(path)) {
            findings_add(findings, &sources[i], 1,
                         "no test includes %s: write one, or say why in the list", tree.headers[i]);
        }
    }
}
