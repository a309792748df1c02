/* Errors: the table and the two functions that write a message. */
#include "schemas/base/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "schemas/base/check.h"
#include "schemas/base/utf8.h"

struct error_row {
    const char *type;
    int status;
    enum error_fate fate;
};

static const struct error_row error_rows[] = {
#define X(kind, type, status, fate) [kind] = {type, status, fate},
    ERROR_KINDS(X)
#undef X
};

static const struct error_row *row_of(enum error_kind kind)
{
    CHECK((size_t)kind < sizeof error_rows / sizeof error_rows[0]);
    return &error_rows[kind];
}

/* Messages quote what others wrote, and both may have been cut inside a character; but they go into
 * JSON, which must be UTF-8, and onto terminals, as one line. */
static void repair(char *message)
{
    unsigned char *at = (unsigned char *)message;
    const unsigned char *end = at + strlen(message);
    while (at < end) {
        size_t size = utf8_sequence_size(at, end);
        if (size == 0) {
            *at = '?';
            size = 1;
        } else if (*at < 0x20 || *at == 0x7F) {
            *at = ' ';
        }
        at += size;
    }
}

#undef error_set
bool error_set(struct error *error, enum error_kind kind, const char *code, const char *param,
               const char *format, ...)
{
    if (error == NULL) {
        return false;
    }
    error->kind = kind;
    error->code = code;
    error->param = param;
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(error->message, sizeof error->message, format, arguments);
    va_end(arguments);
    repair(error->message);
    return false;
}

bool error_prefix(struct error *error, const char *format, ...)
{
    if (error == NULL) {
        return false;
    }
    char text[sizeof error->message];
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    if (length < 0 || (size_t)length >= sizeof text - 3) {
        return false;
    }
    (void)snprintf(text + length, sizeof text - (size_t)length, ": %.*s",
                   (int)(sizeof text - (size_t)length - 3), error->message);
    memcpy(error->message, text, sizeof text);
    repair(error->message);
    return false;
}

const char *error_type(enum error_kind kind)
{
    return row_of(kind)->type;
}

int error_status(enum error_kind kind)
{
    return row_of(kind)->status;
}

enum error_fate error_fate(enum error_kind kind)
{
    return row_of(kind)->fate;
}
