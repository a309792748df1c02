/* waiting: the sequences of one model that wait to run, best first.
 *
 * A binary heap on (rank, arrival): adding, removing and the first cost nothing that grows faster
 * than the logarithm of those that wait, and a step that admits nobody costs nothing at all.
 * Thread: engine.
 */
#ifndef PIPELINE_ENGINE_WAITING_H
#define PIPELINE_ENGINE_WAITING_H

#include "pipeline/engine/sequence_state.h"

struct waiting {
    struct sequence_state **heap; // [capacity]
    int count;
    int capacity;
};

/* False when there is no memory. */
bool waiting_open(struct waiting *waiting, int capacity);
void waiting_close(struct waiting *waiting);

void waiting_add(struct waiting *waiting, struct sequence_state *state);
void waiting_remove(struct waiting *waiting, struct sequence_state *state);
/* NULL when nobody waits. */
struct sequence_state *waiting_first(const struct waiting *waiting);

#endif
