/* profile: the time of each operation of a backend, by putting a table of timed operations in the
 * place of its own. One backend of a process at a time. Thread: the backend's.
 *
 * Times are kept apart for steps with parts of prompts and for steps that only decode, told by
 * their number of rows. The CPU backend has done an operation when it returns; for a backend that
 * has not, the times would be those of asking for it. */
#ifndef BENCH_PROFILE_H
#define BENCH_PROFILE_H

#include "kernels/backend.h"

enum { PROFILE_PROMPT, PROFILE_DECODE, PROFILE_KINDS };

struct profile_shape {
    int outputs;
    int inputs;
};

enum { PROFILE_SHAPES = 2 };

struct profile_entry {
    const char *operation;
    struct profile_shape shapes[PROFILE_SHAPES]; // of its weights; 0 where there is none
    struct {
        double ms;
        double products; // multiplications of its matrix products
    } sums[PROFILE_KINDS];
};

/* Until the backend is closed. A step of at most decode_rows_max rows is one that decodes. */
void profile_attach(struct backend *backend, int decode_rows_max);
void profile_reset(void);
/* -> how many entries; those of operations that did not run have no time. */
int profile_entries(const struct profile_entry **entries_out);

struct profile_steps {
    int count;
    double rows;
    double ms; // from the start of each to the start of the next
};
struct profile_steps profile_steps(int kind);

#endif
