/* progress: one line that is written over, or a few plain ones. */
#include "worker/progress.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "pipeline/clock.h"

enum {
    BAR_WIDTH = 30,
    TERMINAL_INTERVAL_MS = 200,
    LINE_INTERVAL_MS = 5000,
    FIRST_MS = 2000, // what takes less shows nothing
};

void progress_start(struct progress *progress, const char *what, bool is_quiet)
{
    double now_ms = clock_monotonic_ms();
    *progress = (struct progress){
        .what = what,
        .is_quiet = is_quiet,
        .is_terminal = isatty(STDERR_FILENO) == 1,
        .started_ms = now_ms,
        .shown_ms = now_ms,
    };
}

static void write_time_left(double fraction, double elapsed_s)
{
    if (fraction > 0 && fraction < 1) {
        long left_s = (long)(elapsed_s * (1 - fraction) / fraction);
        (void)fprintf(stderr, ", %ld:%02ld:%02ld left", left_s / 3600, left_s / 60 % 60,
                      left_s % 60);
    }
}

static void write_bar(double fraction)
{
    char bar[BAR_WIDTH + 1];
    int filled = (int)(fraction * BAR_WIDTH);
    memset(bar, '.', BAR_WIDTH);
    memset(bar, '#', (size_t)(filled < 0 ? 0 : filled > BAR_WIDTH ? BAR_WIDTH : filled));
    bar[BAR_WIDTH] = '\0';
    (void)fprintf(stderr, "\r\033[K[%s] %3.0f %% ", bar, 100 * fraction);
}

void progress_show(struct progress *progress, int64_t done, int64_t total, double fraction)
{
    double now_ms = clock_monotonic_ms();
    double interval_ms = progress->is_terminal ? TERMINAL_INTERVAL_MS : LINE_INTERVAL_MS;
    double elapsed_ms = now_ms - progress->started_ms;
    if (progress->is_quiet || elapsed_ms < FIRST_MS || now_ms - progress->shown_ms < interval_ms) {
        return;
    }
    progress->shown_ms = now_ms;
    double share = fraction >= 0 ? fraction : total > 0 ? (double)done / (double)total : -1;
    if (progress->is_terminal && share >= 0) {
        write_bar(share);
    } else if (progress->is_terminal) {
        (void)fputs("\r\033[K", stderr);
    }
    (void)fprintf(stderr, "%lld", (long long)done);
    if (total > 0) {
        (void)fprintf(stderr, " of %lld", (long long)total);
    }
    (void)fprintf(stderr, " %s, %.1f/s", progress->what, 1e3 * (double)done / elapsed_ms);
    write_time_left(share, elapsed_ms / 1e3);
    if (!progress->is_terminal) {
        (void)fputc('\n', stderr);
    }
    progress->has_bar = progress->is_terminal;
    (void)fflush(stderr);
}

void progress_stop(struct progress *progress)
{
    if (progress->has_bar) {
        (void)fputs("\r\033[K", stderr);
        (void)fflush(stderr);
    }
    progress->has_bar = false;
}
