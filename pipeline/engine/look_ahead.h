/* look_ahead: which of the waiting sequences runs next.
 *
 * Two orders over the same sequences: by rank (struct waiting), and by prompt (struct
 * prefix_order). When one is admitted, its neighbour by prompt becomes its follower. The next one
 * is a follower, if it begins with more of the same tokens as the one that it follows than the
 * first by rank does, and else that first: so a group goes on while its prefix is in the cache, a
 * backlog runs as a walk through the tree of its prefixes, and no prefix is computed, evicted and
 * computed again.
 *
 * A sequence whose prefix is just being computed is deferred to a later step; other groups go on
 * meanwhile, which is why there are several followers.
 *
 * Nobody starves: a follower passes only sequences that it is at most LOOK_AHEAD_MS behind by rank,
 * and none whose rank is its deadline.
 *
 * The cost does not grow with those that wait, but for logarithms. Thread: engine.
 */
#ifndef PIPELINE_ENGINE_LOOK_AHEAD_H
#define PIPELINE_ENGINE_LOOK_AHEAD_H

#include "pipeline/engine/prefix_order.h"
#include "pipeline/engine/waiting.h"

enum { FOLLOWERS_MAX = 8 };

struct follower {
    struct sequence_state *state; // waiting, or NULL
    int shared_count;             // tokens in whole blocks, with the one that it follows
    // The first by rank when they were last compared, and whether the follower came before it.
    const struct sequence_state *compared;
    bool has_won;
};

struct look_ahead {
    struct waiting waiting;
    struct prefix_order order;
    bool is_enabled;
    int block_tokens;
    struct follower followers[FOLLOWERS_MAX];
    int oldest_follower; // the one to give up when all are in use
    uint64_t step;       // of those deferred
};

/* False when there is no memory. */
bool look_ahead_open(struct look_ahead *look_ahead, int capacity, int block_tokens,
                     bool is_enabled);
void look_ahead_close(struct look_ahead *look_ahead);

int look_ahead_count(const struct look_ahead *look_ahead);
void look_ahead_add(struct look_ahead *look_ahead, struct sequence_state *state);
void look_ahead_remove(struct look_ahead *look_ahead, struct sequence_state *state);

/* A new step: those that were deferred may run. */
void look_ahead_begin(struct look_ahead *look_ahead);
/* The one to run next, or NULL. */
struct sequence_state *look_ahead_next(struct look_ahead *look_ahead);
/* Not in this step. */
void look_ahead_defer(struct look_ahead *look_ahead, struct sequence_state *state);
/* It runs, and leaves the waiting ones. */
void look_ahead_admit(struct look_ahead *look_ahead, struct sequence_state *state);

#endif
