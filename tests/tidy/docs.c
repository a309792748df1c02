/* docs: each line is cut into links and pieces of code. */
#include "tests/tidy/docs.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

enum { PATH_SIZE = 512 };

/* Where a check stands. */
struct place {
    const struct source *document;
    const struct docs *docs;
    struct findings *findings;
    size_t line;
};

/* Endings of files that only this repository can mean. */
static const char *const endings[] = {".c", ".h", ".py", ".md", ".avsc", ".cmake"};

static bool exists(const char *folder, const char *path, const char *ending)
{
    char full[2 * PATH_SIZE];
    struct stat status;
    (void)snprintf(full, sizeof full, "%s/%s%s", folder, path, ending);
    return stat(full, &status) == 0;
}

/* The folder of the document, from the root of the file system. */
static void folder_of(const struct place *place, char folder[PATH_SIZE])
{
    const char *slash = strrchr(place->document->path, '/');
    int size = slash == NULL ? 0 : (int)(slash - place->document->path);
    (void)snprintf(folder, PATH_SIZE, "%s/%.*s", place->docs->root, size, place->document->path);
}

static void check_link(const struct place *place, const char *target)
{
    char folder[PATH_SIZE];
    char path[PATH_SIZE];
    if (target[0] == '#' || strchr(target, ':') != NULL) {
        return;
    }
    folder_of(place, folder);
    (void)snprintf(path, sizeof path, "%.*s", (int)strcspn(target, "#"), target);
    if (!exists(folder, path, "")) {
        findings_add(place->findings, place->document, place->line, "link to %s leads nowhere",
                     target);
    }
}

static bool has_ending(const char *path)
{
    const char *dot = strrchr(path, '.');
    for (size_t i = 0; dot != NULL && i < sizeof endings / sizeof endings[0]; i++) {
        if (strcmp(dot, endings[i]) == 0) {
            return true;
        }
    }
    return false;
}

/* Whether the text must name a file of this repository: it ends like one, or its first part is a
 * folder beside the document or at the root. */
static bool is_path(const struct place *place, const char *text, const char *folder)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                                  "_./-";
    char first[PATH_SIZE];
    size_t size = strcspn(text, "/");
    if (strspn(text, letters) != strlen(text) || text[0] == '/' ||
        text_starts_with(text, "build/")) {
        return false;
    }
    (void)snprintf(first, sizeof first, "%.*s", (int)size, text);
    bool is_below_folder =
        text[size] == '/' && (exists(folder, first, "") || exists(place->docs->root, first, ""));
    return is_below_folder || (has_ending(text) && strrchr(text, '.') != text);
}

/* Whether a source anywhere in the tree has this name. */
static bool is_source_name(const struct docs *docs, const char *name)
{
    for (size_t i = 0; i < docs->sources_count; i++) {
        const char *slash = strrchr(docs->sources[i].path, '/');
        if (slash != NULL && strcmp(slash + 1, name) == 0) {
            return true;
        }
    }
    return false;
}

static void check_path(const struct place *place, const char *text)
{
    static const char *const forms[] = {"", ".c", ".h"};
    char folder[PATH_SIZE];
    folder_of(place, folder);
    if (!is_path(place, text, folder) || is_source_name(place->docs, text)) {
        return;
    }
    for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++) {
        if (exists(folder, text, forms[i]) || exists(place->docs->root, text, forms[i])) {
            return;
        }
    }
    findings_add(place->findings, place->document, place->line, "there is no file %s", text);
}

static void check_commands(const struct place *place, const char *code)
{
    static const char program[] = "millrace ";
    for (const char *at = strstr(code, program); at != NULL; at = strstr(at + 1, program)) {
        char row[PATH_SIZE];
        const char *name = at + sizeof program - 1;
        size_t size = 0;
        while (islower((unsigned char)name[size])) {
            size++;
        }
        (void)snprintf(row, sizeof row, "{\"%.*s\",", (int)size, name);
        if (size > 0 && (at == code || !is_word(at[-1])) &&
            strstr(place->docs->commands, row) == NULL) {
            findings_add(place->findings, place->document, place->line,
                         "millrace has no command %.*s", (int)size, name);
        }
    }
}

/* Calls `check` with each text between `open` and `close`. */
static void each_between(const struct place *place, const char *text, const char *open,
                         const char *close, void (*check)(const struct place *, const char *))
{
    for (const char *at = strstr(text, open); at != NULL; at = strstr(at, open)) {
        char piece[PATH_SIZE];
        at += strlen(open);
        const char *end = strstr(at, close);
        if (end == NULL) {
            return;
        }
        (void)snprintf(piece, sizeof piece, "%.*s", (int)(end - at), at);
        check(place, piece);
        at = end + strlen(close);
    }
}

static void check_code(const struct place *place, const char *code)
{
    check_path(place, code);
    check_commands(place, code);
}

void docs_check(const struct source *document, const struct docs *docs, struct findings *findings)
{
    struct line line = {0};
    bool is_in_block = false;
    while (line_next(document->text, &line)) {
        struct place place = {document, docs, findings, line.number};
        char text[4096];
        (void)snprintf(text, sizeof text, "%.*s", (int)line.length, line.text);
        if (text_starts_with(text, "```")) {
            is_in_block = !is_in_block;
        } else if (is_in_block) {
            check_commands(&place, text);
        } else {
            each_between(&place, text, "](", ")", check_link);
            each_between(&place, text, "`", "`", check_code);
        }
    }
}
