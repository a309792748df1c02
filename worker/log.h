/* log: one logfmt line per event on stderr, in UTC. Only worker/ logs; never prompt or answer text.
 *
 *     log_event(LOG_WARN, "topic_missing", "topic=%s partitions=%d", name, count);
 *     2026-01-31T12:00:00.123Z level=warn event=topic_missing topic=llm.responses.v1 partitions=3
 *
 * A text value is quoted where logfmt needs it, so a value from outside cannot forge a field or a
 * line. An event that comes too often is cut; its next line says how many were suppressed.
 *
 * Thread: any. Lock: one for all.
 */
#ifndef WORKER_LOG_H
#define WORKER_LOG_H

#include <stdbool.h>

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };

enum {
    LOG_BURST = 20, // lines of one event in LOG_WINDOW_MS; errors are never cut
    LOG_WINDOW_MS = 10000,
    LOG_LINE_BYTES_MAX = 2048, // a longer line is cut and ends in "..."
};

/* `event` is a constant in snake_case; `format` gives key=value pairs, "" for none. Conversions:
 * %d %i %u %x %c with h, l, ll, z, j; %f %e %g with a precision; %s with a precision; %%. */
void log_event(enum log_level level, const char *event, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Lines below this level are dropped; LOG_INFO at first. */
void log_set_level(enum log_level level);
/* "debug", "info", "warn", "error"; false when it is none of them. */
bool log_level_of(const char *name, enum log_level *level_out);

#endif
