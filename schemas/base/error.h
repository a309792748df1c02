/* Errors: set once where the fault is seen, passed up untouched, never logged on the way.
 *
 * A function that can fail returns bool, takes `struct error *error` last and leaves it untouched
 * on success. `error_set` returns false, so a failing line is one line:
 *     return error_set(error, ERROR_INVALID, "invalid_value", "top_p", "top_p is %g, ...", p);
 * Messages say what is wrong, the limit and the value, in lower case and without a full stop.
 *
 * Thread: any; a struct error belongs to its caller.
 */
#ifndef SCHEMAS_BASE_ERROR_H
#define SCHEMAS_BASE_ERROR_H

#include <stdbool.h>

/* What happens to the record that met the error. */
enum error_fate {
    FATE_ANSWER,      // an error response ends the record
    FATE_RETRY,       // the work runs again, at most attempts.max times, then dead letter
    FATE_DEAD_LETTER, // the record goes to the dead-letter topic, value byte-identical
    FATE_STOP,        // the process stops, nothing is committed
    FATE_DROP,        // nobody waits for the outcome any more; the record stays uncommitted
};

/* kind, OpenAI error type, HTTP status, fate. The one table that decides them. */
#define ERROR_KINDS(X)                                                                             \
    X(ERROR_NONE, "none", 200, FATE_ANSWER)                                                        \
    X(ERROR_INVALID, "invalid_request_error", 400, FATE_ANSWER)                                    \
    X(ERROR_NOT_FOUND, "invalid_request_error", 404, FATE_ANSWER)                                  \
    X(ERROR_TOO_LARGE, "invalid_request_error", 413, FATE_ANSWER)                                  \
    X(ERROR_BUSY, "rate_limit_error", 429, FATE_RETRY)                                             \
    X(ERROR_DEADLINE, "server_error", 504, FATE_ANSWER)                                            \
    X(ERROR_CANCELLED, "server_error", 499, FATE_DROP)                                             \
    X(ERROR_INTERNAL, "server_error", 500, FATE_RETRY)                                             \
    X(ERROR_UPSTREAM, "server_error", 502, FATE_DEAD_LETTER)                                       \
    X(ERROR_UNDECODABLE, "invalid_request_error", 400, FATE_DEAD_LETTER)                           \
    X(ERROR_CONFIG, "server_error", 500, FATE_STOP)                                                \
    X(ERROR_FATAL, "server_error", 500, FATE_STOP)

enum error_kind {
#define X(kind, type, status, fate) kind,
    ERROR_KINDS(X)
#undef X
};

struct error {
    enum error_kind kind; // ERROR_NONE when unset
    const char *code;     // static text for the client ("context_length_exceeded"), or NULL
    const char *param;    // static text that names the parameter, or NULL
    char message[400];    // for people; one line of UTF-8, cut at the end
};

/* Fills *error (which may be NULL) and returns false. `code` and `param` must be static text. */
bool error_set(struct error *error, enum error_kind kind, const char *code, const char *param,
               const char *format, ...) __attribute__((format(printf, 5, 6)));

#ifdef __clang_analyzer__ // which reads one file at a time, and cannot know that it is false
#define error_set(...) (error_set(__VA_ARGS__), false)
#endif

/* Puts "<context>: " before the message, for the one line that a person reads at the end. */
bool error_prefix(struct error *error, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* The columns of ERROR_KINDS. */
const char *error_type(enum error_kind kind);
int error_status(enum error_kind kind);
enum error_fate error_fate(enum error_kind kind);

#define MUST_CHECK __attribute__((warn_unused_result))

#endif
