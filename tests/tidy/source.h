/* One file of the tree as the tidy rules see it: its path from the root, its text, and its code.
 *
 * The code is the text with the contents of comments, strings and character literals blanked, byte
 * for byte, so that offsets and line numbers agree and a rule about calls never reads prose. Files
 * that are not C have no comments to blank: their code is their text.
 */
#ifndef TESTS_TIDY_SOURCE_H
#define TESTS_TIDY_SOURCE_H

#include <stdbool.h>
#include <stddef.h>

struct source {
    char *path; // "schemas/base/error.h"
    char *text;
    char *code;
};

struct line {
    const char *text;
    size_t length; // without the newline
    size_t number; // from 1
};

/* Copies both texts; false when memory ran out. */
bool source_open(struct source *source, const char *path, const char *text);
void source_close(struct source *source);

bool source_is_c(const struct source *source);
bool source_is_header(const struct source *source);

/* Moves to the next line of `text`; starts with *line all zero, false at the end. */
bool line_next(const char *text, struct line *line);

/* The identifier before the first parenthesis of a line that starts in column 0, which is how this
 * project writes a function's header. False where there is none. */
bool line_function(const struct line *line, char *name, size_t name_size);

/* The name in an include line, without its quotes or brackets; false for other lines. */
bool line_include(const struct line *line, char *name, size_t name_size, char *quote_out);

bool text_starts_with(const char *text, const char *start);
bool is_word(char c);

#endif
