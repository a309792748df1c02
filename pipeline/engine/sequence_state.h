/* sequence_state: what the engine knows of a sequence beside its public struct.
 *
 * Every submitted sequence has a small `sequence_state` until it finishes; while it runs it also
 * has a `running_sequence`, which holds its KV blocks. A preempted sequence gives the second back
 * and keeps the first, and with it its place in the order.
 *
 *     submit -> inbox -> waiting <-> running -> finished
 *
 * Thread: engine, but for the members that the inbox guards.
 */
#ifndef PIPELINE_ENGINE_SEQUENCE_STATE_H
#define PIPELINE_ENGINE_SEQUENCE_STATE_H

#include <stdbool.h>
#include <stdint.h>

#include "pipeline/engine/engine.h"
#include "pipeline/engine/token_counts.h"

/* An order without starvation must not let newcomers pass for ever, so every wish is worth time:
 * - a sequence without a deadline is placed as if it were due PATIENCE_MS after its submission;
 * - a millisecond less for each token that it may put out, up to LONG_TOKENS: of those submitted
 *   together the long ones run first, and none is left to run alone at the end;
 * - one step of priority puts a sequence back by PRIORITY_MS, which outweighs any deadline of a
 *   sequence submitted up to PATIENCE_MS before.
 * Nothing submitted later than PATIENCE_MS and PRIORITY_MS times the difference of priority can
 * overtake. For the sake of a shared prefix (look_ahead.h) a sequence may run before others that it
 * is up to LOOK_AHEAD_MS behind, which is added to that bound. */
enum {
    PATIENCE_MS = 3600 * 1000,
    PRIORITY_MS = 2 * PATIENCE_MS,
    LONG_TOKENS = 10000,
    LOOK_AHEAD_MS = 60 * 1000,
};

struct running_sequence;
struct sequence_state;

/* A waiting sequence's place in the order of prompts: the members of struct prefix_order. */
struct prefix_links {
    uint64_t key;
    uint32_t weight;
    struct sequence_state *left;
    struct sequence_state *right;
    struct sequence_state *previous;
    struct sequence_state *next;
};

struct sequence_state {
    struct sequence *sequence; // NULL while the state is free
    int64_t rank_ms;           // the order of running: lower first, then by arrival
    uint64_t arrival;
    bool is_urgent;                   // the rank is a deadline
    struct prefix_links prefix;       // while it waits
    uint64_t deferred_step;           // of struct look_ahead; not to be admitted in it
    int waiting_index;                // in the heap of struct waiting, -1 when not there
    struct running_sequence *running; // NULL unless running

    // Guarded by the inbox.
    enum finish_reason asked; // FINISH_NONE, or what another thread wants
    bool asked_only_waiting;  // and only while the sequence has run no step
    struct sequence_state *previous;
    struct sequence_state *next;
};

/* Invariant between steps: computed_count < known_count; the blocks cover at least computed_count
 * positions, and the first published_count blocks are published or shared. */
struct running_sequence {
    struct sequence *sequence;
    struct sequence_state *state;
    int32_t *blocks; // [blocks_max] the block table
    int blocks_count;
    int found_count;    // of them, in the prefix cache at admission
    int known_count;    // tokens: prompt and output so far
    int computed_count; // positions whose K and V are in the cache
    int published_count;
    bool is_ready;     // in the present step: its next token may be sampled
    uint64_t identity; // of the last published block
    struct token_counts counts;
};

/* Fills a free state. The times are the same moment on two clocks: the process's monotonic one and
 * Unix time, which deadlines use. */
void sequence_state_init(struct sequence_state *state, struct sequence *sequence, uint64_t arrival,
                         int64_t unix_ms);

/* True when `a` runs before `b` and is preempted after it. */
static inline bool sequence_state_precedes(const struct sequence_state *a,
                                           const struct sequence_state *b)
{
    return a->rank_ms != b->rank_ms ? a->rank_ms < b->rank_ms : a->arrival < b->arrival;
}

/* Tokens [first, first + count) of prompt and output: borrowed from the sequence where they stand
 * together, else copied to `scratch`. */
const int32_t *sequence_tokens(const struct sequence *sequence, int first, int count,
                               int32_t *scratch);

/* True when sampling needs the counts of the output's tokens. */
bool sequence_has_penalty(const struct sequence *sequence);

#endif
