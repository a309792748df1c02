/* log: the format is walked here instead of by vsnprintf, because only so is it known where a text
 * value begins and ends, and whether it needs quotes. */
#include "worker/log.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "pipeline/clock.h"
#include "schemas/base/check.h"

enum { EVENTS_MAX = 64 }; // more of them share the last counter

static const char *const level_names[] = {"debug", "info", "warn", "error"};

static _Atomic int level_min = LOG_INFO;

struct event_rate {
    const char *event;
    double window_ms; // when the present window began, monotonic
    int lines;
    int suppressed;
};

static pthread_mutex_t rates_mutex = PTHREAD_MUTEX_INITIALIZER;
static struct event_rate rates[EVENTS_MAX];

struct line {
    char data[LOG_LINE_BYTES_MAX];
    size_t size;
    bool is_cut;
};

void log_set_level(enum log_level level)
{
    atomic_store(&level_min, (int)level);
}

bool log_level_of(const char *name, enum log_level *level_out)
{
    for (size_t i = 0; i < sizeof level_names / sizeof level_names[0]; i++) {
        if (strcmp(name, level_names[i]) == 0) {
            *level_out = (enum log_level)i;
            return true;
        }
    }
    return false;
}

static void put(struct line *line, const char *data, size_t size)
{
    size_t room = sizeof line->data - sizeof "...\n" - line->size;
    if (line->is_cut || size > room) {
        line->is_cut = true;
        return;
    }
    memcpy(line->data + line->size, data, size);
    line->size += size;
}

static void put_text(struct line *line, const char *text)
{
    put(line, text, strlen(text));
}

static void put_escaped(struct line *line, char c)
{
    char escape[8];
    if (c == '"' || c == '\\') {
        put(line, (const char[]){'\\', c}, 2);
    } else if (c == '\n') {
        put(line, "\\n", 2);
    } else if ((unsigned char)c < 0x20 || c == 0x7F) {
        (void)snprintf(escape, sizeof escape, "\\x%02x", (unsigned)(unsigned char)c);
        put_text(line, escape);
    } else {
        put(line, &c, 1);
    }
}

/* The value of one key: plain where logfmt allows, in quotes otherwise. */
static void put_value(struct line *line, const char *text, size_t size_max, bool is_quoted)
{
    size_t size = text == NULL ? 0 : strnlen(text, size_max);
    bool is_plain = size > 0 && !is_quoted;
    for (size_t i = 0; i < size; i++) {
        is_plain = is_plain && (unsigned char)text[i] > ' ' && text[i] != '"' && text[i] != '=' &&
                   text[i] != '\\' && text[i] != 0x7F;
    }
    if (is_plain) {
        put(line, text, size);
        return;
    }
    put_text(line, is_quoted ? "" : "\"");
    for (size_t i = 0; i < size; i++) {
        put_escaped(line, text[i]);
    }
    put_text(line, is_quoted ? "" : "\"");
}

/* One conversion of the format: %[.precision][length]kind. */
struct conversion {
    bool is_quoted; // the format has the quotes already
    int precision;  // -1 = none
    char length;    // 'h' (hh too), 'l', 'L' for ll, 'z', 'j', or '\0'
    char kind;
};

/* Reads what follows a '%'; *format_io is moved past it. */
static struct conversion read_conversion(const char **format_io, int *star_out)
{
    const char *format = *format_io;
    struct conversion conversion = {.precision = -1};
    *star_out = 0;
    format += strspn(format, "-+ #0123456789"); // widths mean nothing in logfmt
    if (*format == '.') {
        format++;
        if (*format == '*') {
            *star_out = 1;
            format++;
        } else {
            char *end;
            conversion.precision = (int)strtol(format, &end, 10);
            format = end;
        }
    }
    while (*format != '\0' && strchr("hlzj", *format) != NULL) {
        conversion.length = *format == 'l' && conversion.length == 'l' ? 'L' : *format;
        format++;
    }
    conversion.kind = *format;
    *format_io = *format == '\0' ? format : format + 1;
    return conversion;
}

/* The functions below take the list by pointer, so that the caller's moves on with it. */
struct arguments {
    va_list list;
};

static long long take_signed(struct arguments *arguments, char length)
{
    switch (length) {
    case 'l':
        return va_arg(arguments->list, long);
    case 'L':
        return va_arg(arguments->list, long long);
    case 'j':
        return va_arg(arguments->list, intmax_t);
    case 'z':
        return (long long)va_arg(arguments->list, ptrdiff_t);
    default:
        return va_arg(arguments->list, int);
    }
}

static unsigned long long take_unsigned(struct arguments *arguments, char length)
{
    // NOLINTBEGIN(bugprone-branch-clone): the types are the same only where long has 64 bits.
    switch (length) {
    case 'l':
        return va_arg(arguments->list, unsigned long);
    case 'L':
        return va_arg(arguments->list, unsigned long long);
    case 'j':
        return va_arg(arguments->list, uintmax_t);
    case 'z':
        return va_arg(arguments->list, size_t);
    default:
        return va_arg(arguments->list, unsigned);
    }
    // NOLINTEND(bugprone-branch-clone)
}

static void put_conversion(struct line *line, struct conversion conversion,
                           struct arguments *arguments)
{
    char number[512]; // "%f" of the largest double with a small precision
    int precision =
        conversion.precision < 0 || conversion.precision > 17 ? 6 : conversion.precision;
    char c;
    number[0] = '\0';
    switch (conversion.kind) {
    case 's':
        put_value(line, va_arg(arguments->list, const char *),
                  conversion.precision < 0 ? LOG_LINE_BYTES_MAX : (size_t)conversion.precision,
                  conversion.is_quoted);
        return;
    case 'c':
        c = (char)va_arg(arguments->list, int);
        put_value(line, &c, 1, conversion.is_quoted);
        return;
    case '%':
        put_text(line, "%");
        return;
    case 'd':
    case 'i':
        (void)snprintf(number, sizeof number, "%lld", take_signed(arguments, conversion.length));
        break;
    case 'u':
        (void)snprintf(number, sizeof number, "%llu", take_unsigned(arguments, conversion.length));
        break;
    case 'x':
        (void)snprintf(number, sizeof number, "%llx", take_unsigned(arguments, conversion.length));
        break;
    case 'f':
        (void)snprintf(number, sizeof number, "%.*f", precision, va_arg(arguments->list, double));
        break;
    case 'e':
        (void)snprintf(number, sizeof number, "%.*e", precision, va_arg(arguments->list, double));
        break;
    case 'g':
        (void)snprintf(number, sizeof number, "%.*g", precision, va_arg(arguments->list, double));
        break;
    default:
        CHECK(!"a conversion that log_event knows");
    }
    put_text(line, number);
}

static void put_pairs(struct line *line, const char *format, struct arguments *arguments)
{
    while (*format != '\0') {
        size_t plain = strcspn(format, "%");
        put(line, format, plain);
        format += plain;
        if (*format == '%') {
            bool is_quoted = plain > 0 && format[-1] == '"';
            format++;
            int has_star;
            struct conversion conversion = read_conversion(&format, &has_star);
            conversion.is_quoted = is_quoted;
            if (has_star) {
                conversion.precision = va_arg(arguments->list, int);
            }
            put_conversion(line, conversion, arguments);
        }
    }
}

static void put_time(struct line *line)
{
    struct timespec now;
    struct tm calendar;
    char text[64];
    (void)clock_gettime(CLOCK_REALTIME, &now);
    if (gmtime_r(&now.tv_sec, &calendar) == NULL) {
        return;
    }
    size_t size = strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &calendar);
    (void)snprintf(text + size, sizeof text - size, ".%03ldZ", now.tv_nsec / 1000000);
    put_text(line, text);
}

static struct event_rate *rate_of(const char *event)
{
    size_t i = 0;
    while (i < EVENTS_MAX - 1 && rates[i].event != NULL && strcmp(rates[i].event, event) != 0) {
        i++;
    }
    rates[i].event = event;
    return &rates[i];
}

/* Whether a line of this event may go out now; *suppressed_out counts those that might not. */
static bool admit(enum log_level level, const char *event, int *suppressed_out)
{
    double now_ms = clock_monotonic_ms();
    (void)pthread_mutex_lock(&rates_mutex);
    struct event_rate *rate = rate_of(event);
    if (rate->lines == 0 || now_ms - rate->window_ms >= LOG_WINDOW_MS) {
        rate->window_ms = now_ms;
        rate->lines = 0;
    }
    bool is_admitted = level == LOG_ERROR || rate->lines < LOG_BURST;
    *suppressed_out = is_admitted ? rate->suppressed : 0;
    rate->suppressed = is_admitted ? 0 : rate->suppressed + 1;
    rate->lines += is_admitted;
    (void)pthread_mutex_unlock(&rates_mutex);
    return is_admitted;
}

void log_event(enum log_level level, const char *event, const char *format, ...)
{
    int suppressed;
    if ((int)level < atomic_load(&level_min) || !admit(level, event, &suppressed)) {
        return;
    }
    struct line line = {.size = 0};
    put_time(&line);
    put_text(&line, " level=");
    put_text(&line, level_names[level]);
    put_text(&line, " event=");
    put_text(&line, event);
    if (format[0] != '\0') {
        struct arguments arguments;
        va_start(arguments.list, format);
        put_text(&line, " ");
        put_pairs(&line, format, &arguments);
        va_end(arguments.list);
    }
    if (suppressed > 0) {
        char text[32];
        (void)snprintf(text, sizeof text, " suppressed=%d", suppressed);
        put_text(&line, text);
    }
    // put() has left room for this.
    size_t tail = line.is_cut ? 4 : 1;
    memcpy(line.data + line.size, line.is_cut ? "...\n" : "\n", tail);
    // One write, so that lines of several threads do not mix. There is nowhere to report a failure.
    ssize_t written = write(STDERR_FILENO, line.data, line.size + tail);
    (void)written;
}
