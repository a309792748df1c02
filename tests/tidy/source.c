/* A file of the tree, and a blanked copy of it that holds only code. */
#include "tests/tidy/source.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

bool is_word(char c)
{
    return isalnum((unsigned char)c) || c == '_';
}

bool text_starts_with(const char *text, const char *start)
{
    return strncmp(text, start, strlen(start)) == 0;
}

static bool ends_with(const char *text, const char *end)
{
    size_t text_length = strlen(text);
    size_t end_length = strlen(end);
    return text_length >= end_length && strcmp(text + text_length - end_length, end) == 0;
}

bool source_is_header(const struct source *source)
{
    return ends_with(source->path, ".h") || ends_with(source->path, ".cuh");
}

bool source_is_c(const struct source *source)
{
    return source_is_header(source) || ends_with(source->path, ".c") ||
           ends_with(source->path, ".cu");
}

/* The offset just past the comment or literal that starts at `text`; 0 where none starts. */
static size_t opaque_length(const char *text)
{
    if (text[0] == '/' && text[1] == '/') {
        return strcspn(text, "\n");
    }
    if (text[0] == '/' && text[1] == '*') {
        const char *end = strstr(text + 2, "*/");
        return end ? (size_t)(end - text) + 2 : strlen(text);
    }
    if (text[0] != '"' && text[0] != '\'') {
        return 0;
    }
    size_t at = 1;
    while (text[at] != '\0' && text[at] != '\n' && text[at] != text[0]) {
        at += text[at] == '\\' && text[at + 1] != '\0' ? 2 : 1;
    }
    return text[at] == text[0] ? at + 1 : at;
}

static void blank(char *code)
{
    size_t at = 0;
    while (code[at] != '\0') {
        size_t length = opaque_length(code + at);
        for (size_t i = 0; i < length; i++) {
            if (code[at + i] != '\n') {
                code[at + i] = ' ';
            }
        }
        at += length > 0 ? length : 1;
    }
}

bool source_open(struct source *source, const char *path, const char *text)
{
    *source = (struct source){strdup(path), strdup(text), strdup(text)};
    if (source->path == NULL || source->text == NULL || source->code == NULL) {
        source_close(source);
        return false;
    }
    if (source_is_c(source)) {
        blank(source->code);
    }
    return true;
}

void source_close(struct source *source)
{
    free(source->path);
    free(source->text);
    free(source->code);
    *source = (struct source){0};
}

bool line_next(const char *text, struct line *line)
{
    const char *next = line->text == NULL ? text : line->text + line->length;
    if (line->text != NULL && *next == '\n') {
        next++;
    }
    if (*next == '\0') {
        return false;
    }
    *line = (struct line){next, strcspn(next, "\n"), line->number + 1};
    return true;
}

bool line_function(const struct line *line, char *name, size_t name_size)
{
    if (line->length == 0 || !is_word(line->text[0])) {
        return false;
    }
    const char *paren = memchr(line->text, '(', line->length);
    if (paren == NULL || memchr(line->text, '=', (size_t)(paren - line->text)) != NULL) {
        return false;
    }
    const char *start = paren;
    while (start > line->text && is_word(start[-1])) {
        start--;
    }
    size_t length = (size_t)(paren - start);
    if (length == 0 || length >= name_size) {
        return false;
    }
    memcpy(name, start, length);
    name[length] = '\0';
    return true;
}

bool line_include(const struct line *line, char *name, size_t name_size, char *quote_out)
{
    static const char include[] = "#include ";
    if (!text_starts_with(line->text, include)) {
        return false;
    }
    const char *start = line->text + strlen(include);
    size_t length = strcspn(start + 1, "\">\n");
    if ((start[0] != '"' && start[0] != '<') || length >= name_size) {
        return false;
    }
    memcpy(name, start + 1, length);
    name[length] = '\0';
    *quote_out = start[0];
    return true;
}
