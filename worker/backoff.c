/* backoff: powers of two, and what headers ask for. */
#include "worker/backoff.h"

#include <curl/curl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { WAIT_FIRST_MS = 500, WAIT_MAX_MS = 60000 };

double backoff_ms(int failures, uint64_t random)
{
    double wait_ms = WAIT_FIRST_MS;
    for (int i = 1; i < failures && wait_ms < WAIT_MAX_MS; i++) {
        wait_ms *= 2;
    }
    wait_ms = wait_ms < WAIT_MAX_MS ? wait_ms : WAIT_MAX_MS;
    return wait_ms * (0.5 + (double)(random % 1024) / 2048);
}

/* Milliseconds of a unit, 0 where there is none; *size_out is its length. */
static double unit_ms(const char *text, size_t *size_out)
{
    static const struct {
        const char *name;
        double ms;
    } units[] = {{"ms", 1}, {"us", 1e-3}, {"ns", 1e-6}, {"s", 1e3}, {"m", 60e3}, {"h", 3600e3}};
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
        size_t size = strlen(units[i].name);
        if (strncmp(text, units[i].name, size) == 0) {
            *size_out = size;
            return units[i].ms;
        }
    }
    return 0;
}

double backoff_duration_ms(const char *text)
{
    double sum_ms = -1;
    for (const char *at = text; *at != '\0';) {
        // Only digits begin a number: strtod would also take signs, blanks, "nan" and "inf".
        char *end;
        double number = *at >= '0' && *at <= '9' ? strtod(at, &end) : -1;
        if (!(number >= 0 && number < 1e9)) {
            return -1;
        }
        size_t size = 0;
        double ms = unit_ms(end, &size);
        bool is_plain_number = *end == '\0' && at == text;
        if (ms == 0 && !is_plain_number) {
            return -1;
        }
        sum_ms = (sum_ms < 0 ? 0 : sum_ms) + number * (is_plain_number ? 1e3 : ms);
        at = end + size;
    }
    return sum_ms;
}

static double retry_after_ms(const char *text, int64_t unix_ms)
{
    double seconds_ms = backoff_duration_ms(text);
    if (seconds_ms >= 0) {
        return seconds_ms;
    }
    time_t date = curl_getdate(text, NULL);
    return date < 0 ? 0 : (double)date * 1e3 - (double)unix_ms;
}

static double reset_ms(const char *remaining, const char *reset)
{
    return strcmp(remaining, "0") == 0 ? backoff_duration_ms(reset) : 0;
}

double backoff_asked_ms(const struct http_limits *limits, int64_t unix_ms)
{
    // The finer one of the two forms of Retry-After counts where both are there.
    double exact_ms = backoff_duration_ms(limits->retry_after_ms) / 1e3;
    double asked_ms = exact_ms >= 0 && limits->retry_after_ms[0] != '\0'
                          ? exact_ms
                          : retry_after_ms(limits->retry_after, unix_ms);
    asked_ms = fmax(asked_ms, reset_ms(limits->remaining_requests, limits->reset_requests));
    asked_ms = fmax(asked_ms, reset_ms(limits->remaining_tokens, limits->reset_tokens));
    return fmin(fmax(asked_ms, 0), BACKOFF_ASKED_MAX_MS);
}
