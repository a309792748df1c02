/* offsets: the struct, for offsets.c and for the test that compares and copies whole states. */
#ifndef WORKER_OFFSETS_INTERNAL_H
#define WORKER_OFFSETS_INTERNAL_H

#include "worker/attempts.h"
#include "worker/offsets.h"

struct offsets_word {
    uint64_t undone;
    uint64_t included; // in the commit that is prepared or under way; undone as well
};

/* No pointers: a copy of the bytes is a copy of the state. */
struct offsets {
    size_t window;
    uint32_t epoch;
    bool is_over;
    bool is_sent;      // a commit is under way
    bool wants_commit; // the broker does not know all yet
    int64_t start;     // where the assignment began; -1: not known
    int64_t lowest;    // the lowest undone offset; == end when there is none; -1: nothing is known
    int64_t next;      // one past the highest offset that was delivered or passed over
    int64_t end;       // one past the highest known offset; bits beyond it are 0
    size_t unfinished; // undone and delivered, so below next
    size_t awaited;    // undone by the map and not delivered yet, so at or above next
    size_t included;
    int64_t suspect_end;   // suspects lie below
    int64_t reach;         // what runs lies below: the last confirmed commit says so
    int64_t position_sent; // of the commit under way
    int64_t reach_sent;
    struct attempts attempts;
    // A ring over the window; the bit of an offset is offset % window.
    struct offsets_word words[]; // [window / 64]
};

#endif
