/* Findings: a bounded text. */
#include "tests/tidy/findings.h"

#include <stdarg.h>
#include <stdio.h>

void findings_add(struct findings *findings, const struct source *source, size_t line,
                  const char *format, ...)
{
    findings->count++;
    char message[400];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    size_t room = sizeof findings->text - findings->used;
    int written = snprintf(findings->text + findings->used, room, "%s:%zu: %s\n", source->path,
                           line, message);
    if (written > 0) {
        findings->used += (size_t)written < room ? (size_t)written : room - 1;
    }
}
