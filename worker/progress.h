/* progress: how far a long command is, on stderr: a bar with rate and time left on a terminal, a
 * line every few seconds otherwise, nothing when it is quiet. Thread: one at a time. */
#ifndef WORKER_PROGRESS_H
#define WORKER_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

struct progress {
    const char *what; // "records"
    bool is_quiet;
    bool is_terminal;
    bool has_bar; // something is on the terminal's line
    double started_ms;
    double shown_ms;
};

/* `what` names what is counted, static text. Quiet: --json, or tests. */
void progress_start(struct progress *progress, const char *what, bool is_quiet);
/* Cheap to call for each record: shows something a few times a second at most. `total` 0: not
 * known. `fraction`, where it is >= 0, stands for done / total (bytes of a file). */
void progress_show(struct progress *progress, int64_t done, int64_t total, double fraction);
/* Clears the bar. */
void progress_stop(struct progress *progress);

#endif
